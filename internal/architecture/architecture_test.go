package architecture

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	module  = "github.com/actorpool/actorpool"
	library = "github.com/asynkron/protoactor-go"
)

// The layers, from the bottom: what each folder may import of the project, and
// whether it may import the actor library.
var layers = map[string]struct {
	imports []string
	library []string // what of the actor library
}{
	"messages":                   {nil, []string{library + "/actor"}}, // for the type PID
	"supervisor":                 {nil, []string{library + "/actor"}},
	"actors/internal/machine":    {[]string{"messages"}, nil},
	"actors/internal/setmachine": {nil, nil},
	"actors":                     {[]string{"messages", "supervisor", "actors/internal/machine", "actors/internal/setmachine"}, []string{library + "/actor", library + "/ctxext"}},
	"actors/virtual":             {[]string{"messages", "actors/internal/machine"}, nil},
	"client":                     {[]string{"messages", "supervisor", "actors"}, []string{library + "/actor"}},
	"forecast":                   {[]string{"messages", "actors/virtual"}, nil},
	"page":                       {[]string{"messages"}, nil},
	"sim":                        {[]string{"messages", "actors", "actors/virtual", "client"}, nil},
	"pooltest":                   {[]string{"messages", "client"}, nil},
	"internal/lockfree":          {nil, nil},
	"internal/servers":           {nil, nil},
	"fleet/store":                {nil, nil},
	"fleet/internal/machine":     {[]string{"fleet/store"}, nil},
	"fleet/memstore":             {[]string{"fleet/store"}, nil},
	"fleet/etcdstore":            {[]string{"fleet/store"}, nil},
	"fleet/pgfence":              {[]string{"fleet"}, nil},
}

// What the layers must not use: locks anywhere, the clock but in one file, and
// in the machine anything that is not a pure decision.
var forbidden = []struct {
	what   string
	folder []string
	except []string
	names  []string
}{
	{
		what:   "locks guard nothing here: every change is a message to one owner",
		folder: []string{"actors/internal/machine", "actors/internal/setmachine", "actors", "actors/virtual", "client", "supervisor", "forecast", "page", "pooltest", "sim", "fleet", "fleet/internal/machine", "fleet/memstore", "fleet/etcdstore", "fleet/pgfence"},
		names:  []string{"sync.Mutex", "sync.RWMutex", "sync.Cond", "sync.NewCond"},
	},
	{
		what:   "the time is read in actors/clock.go only",
		folder: []string{"messages", "actors/internal/machine", "actors/internal/setmachine", "actors", "actors/virtual", "client", "sim", "supervisor", "forecast"},
		except: []string{"actors/clock.go"},
		names:  []string{"time.Now", "time.Since", "time.Until", "time.AfterFunc", "time.Sleep"},
	},
	{
		what:   "the machine only decides",
		folder: []string{"actors/internal/machine", "actors/internal/setmachine", "fleet/internal/machine", "forecast"},
		names: []string{
			"time.Now", "time.Since", "time.NewTimer", "time.NewTicker", "time.After", "time.Tick", "rand.Float64", "rand.IntN", "os.Stdout", "fmt.Println",
			"log.Print", "slog.Info", "go",
		},
	},
}

func TestEveryLayerImportsOnlyWhatIsBelowIt(t *testing.T) {
	for folder, layer := range layers {
		eachFile(t, folder, func(path string, file *ast.File) {
			for _, spec := range file.Imports {
				imported := strings.Trim(spec.Path.Value, `"`)
				switch {
				case strings.HasPrefix(imported, module):
					assert.Contains(t, layer.imports, strings.TrimPrefix(imported, module+"/"), path)
				case strings.HasPrefix(imported, library):
					assert.Contains(t, layer.library, imported, path)
				}
				if folder == "actors/internal/machine" || folder == "actors/internal/setmachine" {
					assert.NotContains(t, []string{"sync", "sync/atomic", "math/rand", "math/rand/v2", "log", "log/slog", "os", "net"}, imported, path)
				}
			}
		})
	}
}

func TestTheMessagesTakeNothingButThePIDFromTheActorLibrary(t *testing.T) {
	eachFile(t, "messages", func(path string, file *ast.File) {
		for _, name := range used(file) {
			if strings.HasPrefix(name, "actor.") {
				assert.Equal(t, "actor.PID", name, path)
			}
		}
	})
}

func TestNoLayerUsesWhatItsRulesForbid(t *testing.T) {
	for _, rule := range forbidden {
		for _, folder := range rule.folder {
			eachFile(t, folder, func(path string, file *ast.File) {
				if slices.Contains(rule.except, path) {
					return
				}
				for _, name := range used(file) {
					assert.NotContains(t, rule.names, name, "%s: %s", path, rule.what)
				}
			})
		}
	}
}

// eachFile parses the Go files of one folder, tests left out.
func eachFile(t *testing.T, folder string, f func(path string, file *ast.File)) {
	t.Helper()
	files := repository(t)
	names := codeOf(t, files)[folder]
	require.NotEmpty(t, names, "no Go files in %s", folder)
	for _, name := range names {
		f(name, parse(t, files, token.NewFileSet(), name))
	}
}

// used lists the qualified names in a file, "time.Now", and "go" for each go
// statement.
func used(file *ast.File) []string {
	var names []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok {
				names = append(names, pkg.Name+"."+n.Sel.Name)
			}
		case *ast.GoStmt:
			names = append(names, "go")
		}
		return true
	})
	return names
}

func TestOnlyTestsImportWhatIsForTests(t *testing.T) {
	files := repository(t)
	for folder, names := range codeOf(t, files) {
		if folder == "internal/testkit" || folder == "internal/simulation" || folder == "pooltest" {
			continue
		}
		for _, name := range names {
			for _, spec := range parse(t, files, token.NewFileSet(), name).Imports {
				assert.NotContains(t, spec.Path.Value, "internal/testkit", name)
				assert.NotContains(t, spec.Path.Value, "internal/simulation", name)
				assert.NotContains(t, spec.Path.Value, module+"/pooltest", name)
			}
		}
	}
}
