package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// A mutant is one fault.
type mutant struct {
	ID            int
	File          string // relative to where the command runs
	Line          int
	Func          string // the function that it is in
	Kind          string
	Before, After string // the line of the source
	Status        status
	By            string `json:",omitempty"` // the test that has failed
}

type status string

const (
	killed     status = "killed"
	timedOut   status = "timed out"
	notCovered status = "not covered"
	survived   status = "survived"
)

// instrumenter puts the mutants of one file into its text. It only inserts text,
// and replaces operators by commas: every line keeps its number, and what the
// compiler says of a line is true of the original.
type instrumenter struct {
	name    string
	src     []byte
	pkg     *types.Package
	info    *types.Info
	file    *token.File
	imports map[string]string // the name that a package has in this file, by path
	wanted  func(*mutant) bool
	next    *int // the number of the last mutant

	mutants []*mutant
	edits   []edit
	stack   []ast.Node
	marks   map[ast.Node]mark
	fn      string
}

// edit replaces del bytes at a place by a text. Of several at one place those
// that close something come first, and otherwise the first one.
type edit struct {
	at, del int
	text    string
	closes  bool
}

// mark is what the parent of a node knows of it.
type mark struct {
	role role
	skip bool       // nothing in it is mutated
	want types.Type // of a value
	one  bool       // a condition: deleting the only statement that hangs on it says the same as "never"
}

type role uint8

const (
	none      role = iota
	condition      // of an if or a case
	loop           // the condition of a for
	truth          // a bool that is returned, or put into a field
	conjunct       // an operand of &&
	disjunct       // an operand of ||
	part           // of a condition that is mutated as a whole
	statement      // one of a list of statements
	value          // what is returned, or put into a field
)

// instrument finds the mutants of the file.
func (in *instrumenter) instrument(f *ast.File) {
	in.marks = map[ast.Node]mark{}
	in.imports = map[string]string{}
	for _, spec := range f.Imports {
		if obj, ok := in.info.Implicits[spec].(*types.PkgName); ok {
			in.imports[obj.Imported().Path()] = obj.Name()
		} else if obj, ok := in.info.Defs[spec.Name].(*types.PkgName); ok && obj.Name() != "." {
			in.imports[obj.Imported().Path()] = obj.Name()
		}
	}
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
			in.fn = fn.Name.Name
			in.stack = []ast.Node{fn}
			in.walk(fn.Body)
		}
	}
}

// walk visits a node and everything below it. What is inserted before a node is
// noted on the way down and what comes after it on the way up, so that edits at
// one place nest.
func (in *instrumenter) walk(root ast.Node) {
	var after []func()
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil {
			after[len(after)-1]()
			after = after[:len(after)-1]
			in.stack = in.stack[:len(in.stack)-1]
			return true
		}
		if in.marks[n].skip {
			return false
		}
		finish, descend := in.visit(n)
		if descend {
			in.stack = append(in.stack, n)
			after = append(after, finish)
		} else {
			finish()
		}
		return descend
	})
}

// visit makes the mutants of a node. finish writes what comes after the node.
func (in *instrumenter) visit(n ast.Node) (finish func(), descend bool) {
	closing := ""
	open := func(format string, args ...any) {
		in.edit(n.Pos(), 0, format, args...)
		closing = ")" + closing
	}
	finish = func() {
		if closing != "" {
			in.edits = append(in.edits, edit{at: in.offset(n.End()), text: closing, closes: true})
		}
	}
	m := in.marks[n]
	if e, ok := n.(ast.Expr); ok {
		tv := in.info.Types[e]
		if tv.IsType() || tv.IsBuiltin() {
			return finish, false
		}
		if tv.Value != nil {
			in.constant(e, tv, open)
			return finish, false
		}
		in.role(e, m, open)
	}
	switch n := n.(type) {
	case *ast.GenDecl:
		return finish, n.Tok == token.VAR
	case *ast.BlockStmt:
		in.statements(n.List)
	case *ast.CommClause:
		in.statements(n.Body)
	case *ast.SwitchStmt:
		for _, c := range n.Body.List {
			for _, e := range c.(*ast.CaseClause).List {
				if n.Tag == nil {
					in.marks[e] = mark{role: condition}
				} else {
					in.marks[e] = mark{skip: true}
				}
			}
		}
	case *ast.CaseClause:
		in.statements(n.Body)
	case *ast.IfStmt:
		one := n.Else == nil && len(n.Body.List) == 1 && in.deletable(n.Body.List[0])
		in.marks[n.Cond] = mark{role: condition, one: one}
	case *ast.ForStmt:
		if n.Cond != nil {
			in.marks[n.Cond] = mark{role: loop}
		}
	case *ast.ReturnStmt:
		if results := in.results(); results != nil && results.Len() == len(n.Results) {
			for i, e := range n.Results {
				in.marks[e] = mark{role: value, want: results.At(i).Type()}
			}
		}
	case *ast.CompositeLit:
		in.literal(n)
	case *ast.ParenExpr:
		if m.role != none {
			in.marks[n.X] = mark{role: part}
		}
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			in.marks[n.X] = mark{role: part}
		}
	case *ast.BinaryExpr:
		in.binary(n, open)
	case *ast.CallExpr:
		if fn, ok := n.Fun.(*ast.Ident); ok && (fn.Name == "min" || fn.Name == "max") && in.info.Types[n.Fun].IsBuiltin() {
			other := map[string]string{"min": "max", "max": "min"}[fn.Name]
			if id := in.add("min and max swapped", n.Fun.Pos(), n.Fun.End(), other); id > 0 {
				name := map[string]string{"min": "mutantMin", "max": "mutantMax"}[fn.Name]
				in.edit(n.Fun.Pos(), int(n.Lparen+1-n.Fun.Pos()), "%s(%d, ", name, id)
			}
		}
	}
	if s, ok := n.(ast.Stmt); ok && m.role == statement && in.deletable(s) {
		if id := in.add("statement deleted", s.Pos(), s.End(), ""); id > 0 {
			in.edit(s.Pos(), 0, "if !mutantOn(%d) { ", id)
			closing = " }"
		}
	}
	return finish, true
}

// constant mutates a literal: an integer is one more, a bool is the other one.
func (in *instrumenter) constant(e ast.Expr, tv types.TypeAndValue, open func(string, ...any)) {
	switch e := e.(type) {
	case *ast.BasicLit:
		basic, ok := tv.Type.Underlying().(*types.Basic)
		if !ok || e.Kind != token.INT || basic.Info()&types.IsInteger == 0 || e.Value == "0" && isDuration(tv.Type) {
			return // one nanosecond more than nothing is no fault that matters
		}
		if name, ok := in.typeName(tv.Type); ok {
			more := e.Value + "+1"
			if n, err := strconv.ParseInt(e.Value, 10, 64); err == nil {
				more = strconv.FormatInt(n+1, 10)
			}
			if id := in.add("one more", e.Pos(), e.End(), more); id > 0 {
				open("mutantMore[%s](%d, ", name, id)
			}
		}
	case *ast.Ident:
		if other, ok := map[string]string{"true": "false", "false": "true"}[e.Name]; ok && in.isBool(e) {
			if id := in.add("bool flipped", e.Pos(), e.End(), other); id > 0 {
				open("mutantNot(%d, ", id)
			}
		}
	}
}

// role mutates an expression as what its parent needs it for.
func (in *instrumenter) role(e ast.Expr, m mark, open func(string, ...any)) {
	if m.role == value && in.isBool(e) && types.Identical(m.want, types.Typ[types.Bool]) {
		m.role = truth
	}
	if m.role == none && in.isBool(e) {
		switch b := e.(type) { // a bool that is passed on or kept
		case *ast.BinaryExpr:
			m.role = truth
		case *ast.UnaryExpr:
			if b.Op == token.NOT {
				m.role = truth
			}
		}
	}
	fixed := func(kind string, b bool) {
		if id := in.add(kind, e.Pos(), e.End(), strconv.FormatBool(b)); id > 0 {
			open("mutant%s(%d, ", map[bool]string{true: "True", false: "False"}[b], id)
		}
	}
	switch m.role {
	case condition, truth, loop:
		if !in.isBool(e) {
			return
		}
		if m.role != loop { // it would not end
			fixed("always true", true)
		}
		if !m.one {
			fixed("always false", false)
		}
	case conjunct, disjunct:
		if !in.isBool(e) {
			return
		}
		fixed("operand dropped", m.role == conjunct)
	case value:
		if lit, ok := e.(*ast.CompositeLit); ok && len(lit.Elts) == 0 {
			return // it is zero
		}
		if name, ok := in.typeName(m.want); ok && !in.info.Types[e].IsNil() {
			if id := in.add("zero value", e.Pos(), e.End(), zero(m.want)); id > 0 {
				open("mutantZero[%s](%d, ", name, id)
			}
		}
	}
}

// zero is how the zero value of a type is shown.
func zero(t types.Type) string {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Info()&types.IsString != 0 {
			return `""`
		}
		return "0"
	case *types.Struct, *types.Array:
		return "{}"
	}
	return "nil"
}

// binary mutates an operator, and marks the operands of && and ||.
func (in *instrumenter) binary(b *ast.BinaryExpr, open func(string, ...any)) {
	call := func(kind, other, format string) {
		if id := in.add(kind, b.OpPos, b.OpPos+token.Pos(len(b.Op.String())), other); id > 0 {
			open(format, id)
			in.edit(b.OpPos, len(b.Op.String()), ",")
		}
	}
	switch b.Op {
	case token.LAND, token.LOR:
		for _, e := range []ast.Expr{b.X, b.Y} {
			if inner, ok := e.(*ast.BinaryExpr); ok && inner.Op == b.Op {
				in.marks[e] = mark{role: part}
				continue
			}
			in.marks[e] = mark{role: map[token.Token]role{token.LAND: conjunct, token.LOR: disjunct}[b.Op]}
		}
	case token.SHL, token.SHR: // the type of a constant in it depends on where it stands
		in.marks[b.X], in.marks[b.Y] = mark{skip: true}, mark{skip: true}
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		other := map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}[b.Op]
		name := map[token.Token]string{token.LSS: "Less", token.LEQ: "AtMost", token.GTR: "Greater", token.GEQ: "AtLeast"}[b.Op]
		call("boundary", other, "mutant"+name+"(%d, ")
	case token.ADD, token.SUB, token.MUL, token.QUO:
		basic, ok := in.info.TypeOf(b).Underlying().(*types.Basic)
		if !ok || basic.Info()&types.IsNumeric == 0 || basic.Info()&types.IsComplex != 0 {
			return
		}
		other := map[token.Token]string{token.ADD: "-", token.SUB: "+", token.MUL: "/", token.QUO: "*"}[b.Op]
		name := map[token.Token]string{token.ADD: "Plus", token.SUB: "Minus", token.MUL: "Times", token.QUO: "Over"}[b.Op]
		call("arithmetic", other, "mutant"+name+"(%d, ")
	}
}

// literal marks what is put into the fields of a struct. The keys of others must
// stay constants.
func (in *instrumenter) literal(n *ast.CompositeLit) {
	fields, ok := in.info.TypeOf(n).Underlying().(*types.Struct)
	for _, e := range n.Elts {
		kv, keyed := e.(*ast.KeyValueExpr)
		if !keyed {
			continue
		}
		in.marks[kv.Key] = mark{skip: true}
		if !ok {
			continue
		}
		for field := range fields.Fields() {
			if id, isName := kv.Key.(*ast.Ident); isName && field.Name() == id.Name {
				in.marks[kv.Value] = mark{role: value, want: field.Type()}
			}
		}
	}
}

func (in *instrumenter) statements(list []ast.Stmt) {
	for _, s := range list {
		in.marks[s] = mark{role: statement}
	}
}

// deletable says whether the program still compiles without a statement.
func (in *instrumenter) deletable(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.ExprStmt:
		call, ok := s.X.(*ast.CallExpr)
		if !ok {
			return true
		}
		id, ok := call.Fun.(*ast.Ident)
		return !ok || id.Name != "panic"
	case *ast.AssignStmt:
		return s.Tok != token.DEFINE && slices.ContainsFunc(s.Lhs, func(e ast.Expr) bool {
			id, ok := e.(*ast.Ident)
			return !ok || id.Name != "_"
		})
	case *ast.BranchStmt:
		return s.Tok != token.FALLTHROUGH
	case *ast.IncDecStmt, *ast.SendStmt, *ast.DeferStmt, *ast.GoStmt:
		return true
	case *ast.ReturnStmt:
		return in.results() == nil
	}
	return false
}

// results are those of the function around, nil if it has none.
func (in *instrumenter) results() *types.Tuple {
	for _, n := range slices.Backward(in.stack) {
		var t types.Type
		switch n := n.(type) {
		case *ast.FuncLit:
			t = in.info.TypeOf(n)
		case *ast.FuncDecl:
			t = in.info.TypeOf(n.Name)
		default:
			continue
		}
		if r := t.(*types.Signature).Results(); r.Len() > 0 {
			return r
		}
		return nil
	}
	return nil
}

func isDuration(t types.Type) bool {
	named, ok := t.(*types.Named)
	return ok && named.Obj().Name() == "Duration" && named.Obj().Pkg().Path() == "time"
}

func (in *instrumenter) isBool(e ast.Expr) bool {
	b, ok := in.info.TypeOf(e).(*types.Basic)
	return ok && b.Info()&types.IsBoolean != 0
}

// typeName is how a type is written in this file; false: it cannot be.
func (in *instrumenter) typeName(t types.Type) (name string, ok bool) {
	ok = true
	name = types.TypeString(t, func(p *types.Package) string {
		if p == in.pkg {
			return ""
		}
		name, imported := in.imports[p.Path()]
		ok = ok && imported
		return name
	})
	return name, ok
}

func (in *instrumenter) edit(p token.Pos, del int, format string, args ...any) {
	in.edits = append(in.edits, edit{at: in.offset(p), del: del, text: fmt.Sprintf(format, args...)})
}

func (in *instrumenter) offset(p token.Pos) int { return in.file.Offset(p) }

// add notes a mutant which puts a text in the place of what is between two
// positions, and gives its number, or 0 if it is not wanted.
func (in *instrumenter) add(kind string, from, to token.Pos, text string) int {
	start, end := in.offset(from), in.offset(to)
	first := start - in.file.Position(from).Column + 1
	lines := func(s string) string {
		s, rest, more := strings.Cut(strings.TrimSpace(s), "\n")
		if more && rest != "" {
			s += " …"
		}
		return s
	}
	tail := end
	for tail < len(in.src) && in.src[tail] != '\n' {
		tail++
	}
	m := &mutant{
		ID: *in.next + 1, File: in.name, Line: in.file.Line(from), Func: in.fn, Kind: kind,
		Before: lines(string(in.src[first:tail])),
		After:  lines(string(in.src[first:start]) + text + string(in.src[end:tail])),
	}
	if !in.wanted(m) {
		return 0
	}
	*in.next++
	in.mutants = append(in.mutants, m)
	return m.ID
}

// text gives the instrumented file.
func (in *instrumenter) text() []byte {
	slices.SortStableFunc(in.edits, func(a, b edit) int {
		switch {
		case a.at != b.at || a.closes == b.closes:
			return cmp.Compare(a.at, b.at)
		case a.closes:
			return -1
		}
		return 1
	})
	var out []byte
	done := 0
	for _, e := range in.edits {
		out = append(out, in.src[done:e.at]...)
		out = append(out, e.text...)
		done = e.at + e.del
	}
	return append(out, in.src[done:]...)
}
