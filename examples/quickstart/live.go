package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/actorpool/actorpool/page"
)

// servePage serves the live page of the pool at an address, and prints it. The function
// that it returns ends that. Without an address nothing is served.
func (d *demo) servePage(address string) (end func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-http: %w", err)
	}
	pages := page.New(page.Options{}, d.pool)
	server := &http.Server{Handler: pages, ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	host, _, _ := net.SplitHostPort(address)
	if host == "" {
		host = "localhost"
	}
	port := listener.Addr().(*net.TCPAddr).Port
	d.screen.printf("the live page: http://%s/\n\n", net.JoinHostPort(host, strconv.Itoa(port)))
	return func() {
		_ = server.Close()
		pages.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			d.screen.printf("the live page has ended: %v\n", err)
		}
	}, nil
}
