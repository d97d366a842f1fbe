package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
)

// TestServePage: the page is at the address that is printed, and gone when it has ended.
func TestServePage(t *testing.T) {
	server := miniredis.RunT(t)
	pool, err := newPool(server.Addr(), 1, &connections{}, &watch{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close(t.Context())
	var said strings.Builder
	d := &demo{pool: pool, screen: newScreen(&said, false)}
	end, err := d.servePage("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(strings.TrimPrefix(said.String(), "the live page: "))
	answer, err := http.Get(address + "text")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil || !strings.HasPrefix(string(text), `pool "quickstart": state=ready capacity=1`) {
		t.Errorf("%q, %v", text, err)
	}
	end()
	if answer, err := http.Get(address); err == nil {
		_ = answer.Body.Close()
		t.Error("the page is still served")
	}
	http.DefaultClient.CloseIdleConnections()

	if _, err := d.servePage("localhost:nonsense"); err == nil || !strings.Contains(err.Error(), "-http") {
		t.Errorf("a bad address: %v", err)
	}
	if end, err := d.servePage(""); err != nil {
		t.Error(err)
	} else {
		end()
	}
}
