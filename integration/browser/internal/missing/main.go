// Command missing prints a line if the browser that the tests need is not installed.
package main

import (
	"fmt"

	"github.com/actorpool/actorpool/integration/browser/internal/chromium"
)

func main() {
	if _, err := chromium.Find(); err != nil {
		fmt.Println(err)
	}
}
