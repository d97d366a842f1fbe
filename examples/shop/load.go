package main

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// shopping sends requests, one after the other, until ctx ends. Of a hundred, two are reports and
// twenty are orders. There are pauses between them.
func shopping(ctx context.Context, address string) {
	own := &http.Client{Transport: &http.Transport{}}
	defer own.CloseIdleConnections()
	for work(ctx, rand.N(40*time.Millisecond)) == nil {
		method, path := http.MethodGet, "/products"
		switch dice := rand.IntN(100); {
		case dice < 2:
			path = "/report?pause=200ms"
		case dice < 22:
			method, path = http.MethodPost, "/orders?count=1&product="+[]string{"coffee", "cup", "tea"}[rand.IntN(3)]
		}
		request, err := http.NewRequestWithContext(ctx, method, address+path, nil)
		if err != nil {
			return
		}
		if answer, err := own.Do(request); err == nil { // what fails is seen on the page
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
	}
}
