package page

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Options are what a [Handler] may show, and to whom. The zero value is safe: it shows
// neither stacks nor settings, and answers only requests to the loopback interface.
type Options struct {
	// Hosts are the hosts under which the page may be reached, besides those of the
	// loopback interface: names or addresses, "ops.example.com" for any port or
	// "ops.example.com:8080" for that one. A request for another host is answered with 421
	// Misdirected Request: otherwise a foreign page could read this one, by a name of its
	// own that leads to your server (DNS rebinding). Default: none.
	Hosts []string
	// Stacks shows the stacks of holders and waiters, which say where in the program
	// they are. A pool has them only if its Config captures them: see Config.LeakAfter of
	// package client. Default: they are left out.
	Stacks bool
	// Settings shows settings as text. Default: each is shown by its type and a short
	// hash, which tells settings apart, and is another one in every Handler.
	Settings bool
	// Redact is applied to every label, to the text of every error, to every suspicion, to
	// the note on the capacity and to the names of a fleet's members before it is shown or
	// written: in the page, as text and as JSON. It gets
	// at most the first 4,096 bytes. It is called on goroutines of the page, several at
	// once, and a panic in it leaves a text that says so. Default: nothing is changed.
	Redact func(string) string
}

// host is one of Options.Hosts; an empty port means any.
type host struct{ name, port string }

// splitHost takes a host, with or without a port, apart. The name is in lower case and
// has neither brackets nor a dot at its end.
func splitHost(s string) host {
	name, port, err := net.SplitHostPort(s)
	if err != nil {
		name, port = s, ""
		if len(s) > 1 && s[0] == '[' && s[len(s)-1] == ']' {
			name = s[1 : len(s)-1]
		}
	}
	return host{strings.TrimSuffix(strings.ToLower(name), "."), port}
}

// hostsOf reads Options.Hosts.
func hostsOf(list []string) []host {
	hosts := make([]host, len(list))
	for i, s := range list {
		hosts[i] = splitHost(s)
		if !hosts[i].valid() {
			panic(fmt.Sprintf("actorpool: page: Options.Hosts: %q is not a host, nor a host and a port from 1 to 65535", s))
		}
	}
	return hosts
}

func (h host) valid() bool {
	if h.port != "" {
		if n, err := strconv.ParseUint(h.port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	if _, err := netip.ParseAddr(h.name); err == nil {
		return true
	}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	return h.name != "" && strings.Trim(h.name, letters) == ""
}

// allowed says whether the page may be reached under the host of a request.
func allowed(hosts []host, requested string) bool {
	got := splitHost(requested)
	if got.name == "localhost" {
		return true
	}
	if a, err := netip.ParseAddr(got.name); err == nil && a.Unmap().IsLoopback() {
		return true
	}
	for _, h := range hosts {
		if h.name == got.name && (h.port == "" || h.port == got.port) {
			return true
		}
	}
	return false
}
