package etcdstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/fleet"
	"github.com/actorpool/actorpool/fleet/etcdstore"
	"github.com/actorpool/actorpool/fleet/internal/servers"
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

// etcd starts a server of its own.
func etcd(t *testing.T, options ...string) *clientv3.Client {
	t.Helper()
	server := servers.Etcd(t, options...)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + server.Address}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}
