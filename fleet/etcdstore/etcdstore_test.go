package etcdstore_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/actorpool/actorpool/fleet/etcdstore"
	"github.com/actorpool/actorpool/fleet/store/storetest"
)

func TestEtcdIsAStore(t *testing.T) {
	client := etcd(t)
	storetest.Run(t, etcdstore.New(client), "conformance-", 2*time.Second)
}

func TestARowThatIsWrongIsAnErrorThatNamesIt(t *testing.T) {
	client := etcd(t)
	s := etcdstore.New(client)
	_, err := s.Open(t.Context(), "a", 5)
	require.NoError(t, err)
	put := func(incarnation, row string) {
		_, err := client.Put(t.Context(), "actorpool/fleet/a/q/"+incarnation, row)
		require.NoError(t, err)
	}
	for _, c := range []struct{ row, text string }{
		{`{"charge":1,"target":1,"slot":-1}`, `"actorpool/fleet/a/q/two" has slot -1`},
		{`{"charge":1,"target":1,"slot":3}`, `the rows "actorpool/fleet/a/q/one" and "actorpool/fleet/a/q/two" both have slot 3`},
		{`{"charge":1,"target":2,"slot":0}`, `"actorpool/fleet/a/q/two" has target 2 and charge 1`},
		{`3`, `the value of "actorpool/fleet/a/q/two" cannot be read`},
	} {
		put("one", `{"charge":1,"target":1,"slot":3}`)
		put("two", c.row)
		_, err = s.Snapshot(t.Context(), "a")
		require.ErrorContains(t, err, c.text)
	}
}

// etcd starts a server of its own, in a temporary folder.
func etcd(t *testing.T) *clientv3.Client {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("etcd is not installed: apt-get install etcd-server")
		}
		t.Skip("etcd is not installed: apt-get install etcd-server")
	}
	address := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		return fmt.Sprintf("http://%s", l.Addr())
	}
	clients, peers := address(), address()
	server := exec.Command(program, "--name", "one", "--data-dir", t.TempDir(), "--listen-client-urls", clients, "--advertise-client-urls", clients,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "one="+peers)
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{clients}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}
