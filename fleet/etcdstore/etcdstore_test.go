package etcdstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/etcdstore"
	"github.com/actorpool/actorpool/fleet/store/storetest"
	"github.com/actorpool/actorpool/messages"
)

func TestEtcdIsAStore(t *testing.T) {
	storetest.Run(t, etcdstore.New(etcd(t)), "conformance-", 2*time.Second)
}

// member makes a member over etcd whose connections cost nothing.
func member(t *testing.T, etcd *clientv3.Client, change func(*fleet.Config)) (*client.Pool[*conn], *fleet.Member, error) {
	t.Helper()
	cfg := fleet.Config{Key: "db", Budget: 3, TTL: 2 * time.Second, Store: etcdstore.New(etcd), Name: "test"}
	change(&cfg)
	return fleet.New(t.Context(), client.Config[*conn]{Connect: func(context.Context) (*conn, error) { return new(conn), nil }}, cfg)
}

type conn struct{}

func (*conn) Close() error { return nil }

func TestATTLThatEtcdDoesNotKeepIsAnErrorOfNew(t *testing.T) {
	_, _, err := member(t, etcd(t, "--election-timeout", "5000", "--heartbeat-interval", "500"), func(*fleet.Config) {})
	require.ErrorContains(t, err, "a TTL of 2s is less than etcd keeps, which is ")
	require.ErrorContains(t, err, "raise TTL, or lower etcd's election-timeout")
}

func TestALedgerThatCannotBeReadIsAnErrorOfNew(t *testing.T) {
	etcd := etcd(t)
	const row, sum = "restore it, or delete it when its member has ended", "restore it, or delete the ledger when all members have ended"
	for i, c := range []struct{ key, value, is, whatToDo string }{
		{"sum", "{", `sum" cannot be read`, sum},
		{"q/other", "no row", `q/other" cannot be read`, row},
		{"q/other", `{"charge":1,"target":2}`, `q/other" has target 2 and charge 1`, row},
		{"m/other", "[]", `m/other" cannot be read`, row},
		{"foreign", "1", `foreign" is no part of a ledger`, "delete it"},
	} {
		key := fmt.Sprintf("ledger-%d", i)
		_, err := etcd.Put(t.Context(), "actorpool/fleet/"+key+"/"+c.key, c.value)
		require.NoError(t, err)
		_, _, err = member(t, etcd, func(cfg *fleet.Config) { cfg.Key = key })
		require.ErrorContains(t, err, c.is)
		require.ErrorContains(t, err, c.whatToDo)
	}
}

// A member that cannot be sure of its share holds nothing once its lease may have ended.
func TestAMemberWhoseRowCannotBeReadHoldsNothingInTheEnd(t *testing.T) {
	etcd := etcd(t)
	pool, m, err := member(t, etcd, func(*fleet.Config) {})
	require.NoError(t, err)
	lease, err := pool.Get(t.Context())
	require.NoError(t, err)
	_, err = etcd.Put(t.Context(), "actorpool/fleet/db/q/"+m.Status().Incarnation, "no row")
	require.NoError(t, err)
	require.Eventually(t, func() bool { s := m.Status(); return s.Phase == "hard" && s.Held == 0 }, 20*time.Second, 10*time.Millisecond, "%v", m.Status())
	require.ErrorContains(t, m.Status().Err, "cannot be read")
	require.ErrorIs(t, lease.Put(), messages.ErrLeaseEnded)
	require.Contains(t, m.Stats().CapacityNote, "all is closed")
	require.NoError(t, m.Leave(t.Context()), "to leave, it needs to read nothing")
	<-m.Done()
}

// etcd starts a server of its own, in a temporary folder.
func etcd(t *testing.T, options ...string) *clientv3.Client {
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
	server.Args = append(server.Args, options...)
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
