package actors_test

import "context"

var ctx = context.Background()
