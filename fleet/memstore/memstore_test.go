package memstore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/actorpool/actorpool/fleet/memstore"
	"github.com/actorpool/actorpool/fleet/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAMemstoreIsAStore(t *testing.T) {
	s := memstore.New()
	defer s.Close()
	storetest.Run(t, s, "real", 500*time.Millisecond)
}

func TestAfterCloseEveryOperationFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		if _, err := s.Open(t.Context(), "a", 1); err != nil {
			t.Fatal(err)
		}
		m, err := s.Join(t.Context(), "a", "one", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		rows := m.Watch(t.Context())
		s.Close()
		if _, open := <-rows; open {
			t.Error("the watch goes on")
		}
		if _, err := s.Open(t.Context(), "a", 1); err == nil {
			t.Error("Open succeeds")
		}
		if err := m.Leave(t.Context()); err == nil {
			t.Error("Leave succeeds")
		}
	})
}
