// Command missing prints a line for each server that the tests need and that is not
// installed.
package main

import (
	"fmt"

	"github.com/actorpool/actorpool/fleet/internal/servers"
)

func main() {
	for _, err := range servers.Missing() {
		fmt.Println(err)
	}
}
