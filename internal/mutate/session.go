package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// session is one run of the command.
type session struct {
	options
	temp     string
	listed   map[string]*listed // every package that matters, by import path
	targets  []*listed          // those that are mutated
	original map[string]string  // the name of the file that an instrumented one stands for
	unusable map[string]bool    // lines, as file:line, of which a mutant does not compile
	mutants  []*mutant
	binaries []*binary
	trials   []*trial // the quickest first
}

// listed is a package as the go command lists it.
type listed struct {
	ImportPath, Name, Dir, Export string
	GoFiles, Deps                 []string
	DepOnly                       bool
}

// binary is the compiled tests of one package.
type binary struct {
	path, dir string
	args      []string
}

// trial is one test, and what is known of it without a mutant.
type trial struct {
	binary  *binary
	name    string
	took    time.Duration
	reached map[int]bool
}

// prepare finds the mutants, and compiles the tests.
func prepare(o options) (s *session, err error) {
	s = &session{options: o, unusable: map[string]bool{}}
	if len(s.tests) == 0 {
		s.tests = s.packages
	}
	if s.temp, err = os.MkdirTemp("", "mutate"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.clean()
		}
	}()
	if s.listed, err = s.list(append([]string{"-deps", "-export"}, s.packages...)); err != nil {
		return nil, err
	}
	for _, p := range s.listed {
		if !p.DepOnly {
			s.targets = append(s.targets, p)
		}
	}
	slices.SortFunc(s.targets, func(a, b *listed) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	// A mutant whose code does not compile is left out with its whole line: that
	// is simpler than to know beforehand.
	for range 5 {
		if err = s.instrument(); err != nil {
			return nil, err
		}
		if len(s.mutants) == 0 {
			return s, nil
		}
		again, err := s.compile()
		if err != nil || !again {
			return s, err
		}
	}
	return nil, errors.New("the instrumented code does not compile")
}

func (s *session) clean() { _ = os.RemoveAll(s.temp) }

func (s *session) goCommand(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = s.dir
	return cmd
}

func (s *session) list(args []string) (map[string]*listed, error) {
	cmd := s.goCommand(append([]string{"list", "-json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	packages := map[string]*listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &listed{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages[p.ImportPath] = p
	}
}

// instrument writes the instrumented files, and the overlay that puts them in
// the place of the originals.
func (s *session) instrument() error {
	s.mutants = nil
	last := 0
	replace := map[string]string{}
	s.original = map[string]string{}
	write := func(original string, text []byte) error {
		path := filepath.Join(s.temp, fmt.Sprintf("%d.go", len(replace)))
		replace[original] = path
		s.original[path] = s.relative(original)
		return os.WriteFile(path, text, 0o644)
	}
	for _, p := range s.targets {
		fset := token.NewFileSet()
		var files []*ast.File
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			files = append(files, f)
		}
		info := &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{},
			Uses: map[*ast.Ident]types.Object{}, Implicits: map[ast.Node]types.Object{},
		}
		conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
			if dep := s.listed[path]; dep != nil && dep.Export != "" {
				return os.Open(dep.Export)
			}
			return nil, fmt.Errorf("no export data of %s", path)
		})}
		pkg, err := conf.Check(p.ImportPath, fset, files, info)
		if err != nil {
			return err
		}
		for _, f := range files {
			path := fset.File(f.Pos()).Name()
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name := s.relative(path)
			in := &instrumenter{
				name: name, src: src, pkg: pkg, info: info, file: fset.File(f.Pos()), next: &last,
				wanted: func(m *mutant) bool {
					place := fmt.Sprintf("%s:%d", name, m.Line)
					return !s.unusable[place] && (s.only == nil || s.only.MatchString(place)) &&
						(s.skip == nil || !s.skip.MatchString(place)) && (s.again == nil || s.again[m.key()])
				},
			}
			in.instrument(f)
			s.mutants = append(s.mutants, in.mutants...)
			if err := write(path, in.text()); err != nil {
				return err
			}
		}
	}
	for _, p := range s.targets {
		if err := write(filepath.Join(p.Dir, "mutant_switch.go"), switchFile(p.Name, last)); err != nil {
			return err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	return os.WriteFile(s.overlay(), text, 0o644)
}

func (s *session) overlay() string { return filepath.Join(s.temp, "overlay.json") }

// relative is a file's name as seen from where the command runs.
func (s *session) relative(path string) string {
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return path
	}
	if name, err := filepath.Rel(dir, path); err == nil {
		return filepath.ToSlash(name)
	}
	return path
}

var compileError = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):\d+: .*`)

// compile builds the tests of those packages that depend on a mutated one. again:
// some lines were found unusable.
func (s *session) compile() (again bool, err error) {
	packages, err := s.list(append([]string{"-test"}, s.tests...))
	if err != nil {
		return false, err
	}
	s.binaries = nil
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		path, isTest := strings.CutSuffix(name, ".test") // the main package of the tests
		if !isTest || !slices.ContainsFunc(packages[name].Deps, s.mutated) {
			continue
		}
		b := &binary{path: filepath.Join(s.temp, fmt.Sprintf("%d.test", len(s.binaries))), dir: packages[name].Dir}
		cmd := s.goCommand("test", "-c", "-gcflags=-e", "-overlay", s.overlay(), "-o", b.path, path)
		if out, err := cmd.CombinedOutput(); err != nil {
			for _, m := range compileError.FindAllStringSubmatch(string(out), -1) {
				file := m[1] // the instrumented one, or that which it stands for
				if original, ok := s.original[file]; ok {
					file = original
				} else if filepath.IsAbs(file) {
					file = s.relative(file)
				}
				if place := filepath.ToSlash(filepath.Clean(file)) + ":" + m[2]; !s.unusable[place] {
					s.unusable[place], again = true, true
					s.log.Printf("left out, a mutant of it does not compile: %s: %s", place, m[0])
				}
			}
			if !again {
				err = fmt.Errorf("go test -c %s: %w\n%s", path, err, out)
			} else {
				err = nil
			}
			return again, err
		}
		b.args = s.arguments(b)
		s.binaries = append(s.binaries, b)
	}
	return false, nil
}

// mutated says whether a package, or a variant of it for tests, is a target.
func (s *session) mutated(path string) bool {
	path, _, _ = strings.Cut(path, " ")
	return slices.ContainsFunc(s.targets, func(p *listed) bool { return p.ImportPath == path })
}

// arguments are those of every run of a binary. Tests of rapid draw the same
// histories in each, write no file, and do not look for a shorter failure.
func (s *session) arguments(b *binary) []string {
	args := []string{"-test.failfast", "-test.count=1"}
	help := exec.Command(b.path, "-h")
	help.Dir = b.dir
	if out, _ := help.CombinedOutput(); bytes.Contains(out, []byte("-rapid.checks")) {
		args = append(args, "-rapid.nofailfile", "-rapid.shrinktime=0s", "-rapid.seed=1", fmt.Sprintf("-rapid.checks=%d", s.checks))
	}
	return args
}

// run runs some tests of one binary with a mutant, 0: none. memory bounds what
// a mutant can take that does not end.
func (b *binary) run(limit time.Duration, id int, reached string, names ...string) (out []byte, late bool, err error) {
	const memory = "4194304" // KiB
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	args := append([]string{"-c", "ulimit -v " + memory + ` 2>/dev/null; exec "$0" "$@"`, b.path}, b.args...)
	cmd := exec.CommandContext(ctx, "sh", append(args, "-test.run=^("+strings.Join(names, "|")+")$")...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "MUTANT="+strconv.Itoa(id), "MUTANTS_REACHED="+reached)
	cmd.WaitDelay = time.Second
	out, err = cmd.CombinedOutput()
	return out, ctx.Err() != nil, err
}

// learn runs each test alone without a mutant.
func (s *session) learn() error {
	for _, b := range s.binaries {
		cmd := exec.Command(b.path, "-test.list=^(Test|Example|Fuzz)")
		cmd.Dir = b.dir
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("list the tests of %s: %w", b.dir, err)
		}
		for name := range strings.FieldsSeq(string(out)) {
			s.trials = append(s.trials, &trial{binary: b, name: name, reached: map[int]bool{}})
		}
	}
	var mu sync.Mutex
	s.each(len(s.trials), func(i int) {
		t := s.trials[i]
		note := filepath.Join(s.temp, fmt.Sprintf("reached%d", i))
		err := os.WriteFile(note, nil, 0o644)
		var out []byte
		start := time.Now()
		if err == nil {
			out, _, err = t.binary.run(10*time.Minute, 0, note, t.name)
		}
		t.took = time.Since(start)
		text, _ := os.ReadFile(note)
		_ = os.Remove(note)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			s.log.Printf("not used, it fails without a mutant: %s: %v\n%s", t.name, err, out)
			return
		}
		for line := range strings.FieldsSeq(string(text)) {
			if id, err := strconv.Atoi(line); err == nil {
				t.reached[id] = true
			}
		}
	})
	if s.longest > 0 {
		s.trials = slices.DeleteFunc(s.trials, func(t *trial) bool {
			if t.took > s.longest {
				s.log.Printf("not used, it takes %v: %s", t.took.Round(time.Millisecond), t.name)
			}
			return t.took > s.longest
		})
	}
	slices.SortStableFunc(s.trials, func(a, b *trial) int { return cmp.Compare(a.took, b.took) })
	return nil
}

// each calls f for every number below n, so many at a time as there are jobs,
// until the command is interrupted.
func (s *session) each(n int, f func(int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range max(1, s.jobs) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := 0; i < n && s.ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
}

// judge finds out what becomes of every mutant.
func (s *session) judge() error {
	if len(s.mutants) == 0 {
		return nil
	}
	if err := s.learn(); err != nil {
		return err
	}
	s.log.Printf("%d mutants, %d tests", len(s.mutants), len(s.trials))
	var mu sync.Mutex
	done, alive, said := 0, 0, time.Now()
	killers := map[string]map[*trial]bool{} // by function
	s.each(len(s.mutants), func(i int) {
		m := s.mutants[i]
		mu.Lock()
		likely := maps.Clone(killers[m.File+m.Func])
		mu.Unlock()
		status, by := s.try(m, likely)
		mu.Lock()
		defer mu.Unlock()
		if s.ctx.Err() != nil {
			return // its tests may have been interrupted as well
		}
		m.Status = status
		if by != nil {
			m.By = by.name
			if killers[m.File+m.Func] == nil {
				killers[m.File+m.Func] = map[*trial]bool{}
			}
			killers[m.File+m.Func][by] = true
		}
		if done++; status == survived {
			alive++
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			s.log.Printf("%d of %d, %d survived", done, len(s.mutants), alive)
		}
	})
	return nil
}

// try runs the tests that reach a mutant until one fails: first those that have
// killed other mutants of the same function, and then all in groups that take
// longer and longer.
func (s *session) try(m *mutant, likely map[*trial]bool) (st status, by *trial) {
	var first, rest []*trial
	for _, t := range s.trials {
		switch {
		case !t.reached[m.ID]:
		case likely[t]:
			first = append(first, t)
		default:
			rest = append(rest, t)
		}
	}
	st = notCovered
	if len(first) > 0 {
		if st, by = s.attempt(m, first); st != survived {
			return st, by
		}
	}
	for budget := 250 * time.Millisecond; len(rest) > 0; budget *= 4 {
		n, sum := 1, rest[0].took
		for n < len(rest) && sum+rest[n].took <= budget {
			sum += rest[n].took
			n++
		}
		if st, by = s.attempt(m, rest[:n]); st != survived {
			return st, by
		}
		rest = rest[n:]
	}
	return st, nil
}

var failure = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// attempt runs some tests with a mutant. by is the one that has failed, if that is
// known.
func (s *session) attempt(m *mutant, trials []*trial) (st status, by *trial) {
	for _, b := range s.binaries {
		var names []string
		var usual time.Duration
		for _, t := range trials {
			if t.binary == b {
				names = append(names, t.name)
				usual += t.took
			}
		}
		if len(names) == 0 {
			continue
		}
		out, late, err := b.run(10*usual+s.slack, m.ID, "", names...)
		if err == nil {
			continue
		}
		failed := failure.FindSubmatch(out)
		for _, t := range trials {
			if t.binary == b && (len(names) == 1 || failed != nil && t.name == string(failed[1])) {
				by = t
			}
		}
		if late {
			return timedOut, by
		}
		return killed, by
	}
	return survived, nil
}
