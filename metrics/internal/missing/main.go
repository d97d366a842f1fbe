// Command missing prints a line for each program that the tests need and that is not
// installed.
package main

import (
	"fmt"

	"github.com/actorpool/actorpool/metrics/internal/server"
)

func main() {
	if _, err := server.Find("prometheus"); err != nil {
		fmt.Println(err)
	}
}
