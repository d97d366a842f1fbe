package sqlpool

import (
	"container/list"
	"context"
	"database/sql/driver"
	"io"
	"reflect"
	"slices"
	"strings"
)

// statements are the prepared statements of a session that nobody uses at the moment: at
// most one for each text, and at most limit. The list has the latest at its front.
type statements struct {
	limit int
	texts map[string]*list.Element
	order list.List
	// era ends when the statements are retired: one that was lent before is not kept.
	era int
	// retired are statements that nobody gets any more. They are closed when the session
	// is returned: until then rows may be open, which would be in the way of that.
	retired []driver.Stmt
}

// kept is a statement in the list.
type kept struct {
	query string
	inner driver.Stmt
}

// take removes a statement for its only user; nil: there is none.
func (s *statements) take(query string) driver.Stmt {
	found := s.texts[query]
	if found == nil {
		return nil
	}
	delete(s.texts, query)
	return s.order.Remove(found).(kept).inner
}

// keep takes a statement back, and closes the one that is too many.
func (s *statements) keep(query string, inner driver.Stmt) error {
	if s.limit == 0 || s.texts[query] != nil {
		return inner.Close()
	}
	if s.texts == nil {
		s.texts = make(map[string]*list.Element)
	}
	s.texts[query] = s.order.PushFront(kept{query, inner})
	if s.order.Len() <= s.limit {
		return nil
	}
	oldest := s.order.Remove(s.order.Back()).(kept)
	delete(s.texts, oldest.query)
	return oldest.inner.Close()
}

// retire has all statements prepared anew.
func (s *statements) retire() {
	s.era++
	for s.order.Len() > 0 {
		s.retired = append(s.retired, s.order.Remove(s.order.Back()).(kept).inner)
	}
	clear(s.texts)
}

// sweep closes the retired statements. Their errors say nothing that is not known.
func (s *statements) sweep() {
	for _, inner := range s.retired {
		_ = inner.Close()
	}
	s.retired = nil
}

// changesSession says whether a query may change what others mean on its connection.
func changesSession(query string) bool {
	for {
		for query != "" && (query[0] <= ' ' || query[0] == '(' || query[0] == ';') {
			query = query[1:]
		}
		end := ""
		switch {
		case strings.HasPrefix(query, "--"), strings.HasPrefix(query, "#"):
			end = "\n"
		case strings.HasPrefix(query, "/*") && !strings.HasPrefix(query, "/*!"):
			end = "*/"
		default:
			return query != "" && !beginsHarmless(query)
		}
		_, query, _ = strings.Cut(query, end)
	}
}

// beginsHarmless says whether the first word of a query leaves the meaning of other queries
// alone. USE, SET, ALTER, DISCARD and whatever else may change it, or end statements.
func beginsHarmless(query string) bool {
	var word [9]byte // as long as the longest of them
	n := 0
	for ; n < len(query) && 'A' <= query[n] && query[n] <= 'z'; n++ {
		if n == len(word) {
			return false
		}
		word[n] = query[n]
		if 'a' <= query[n] {
			word[n] -= 'a' - 'A'
		}
	}
	switch string(word[:n]) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN",
		"DESCRIBE", "CALL", "EXEC", "EXECUTE", "COPY", "BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE",
		"LOCK", "LISTEN", "NOTIFY":
		return true
	}
	return false
}

// PrepareContext implements driver.ConnPrepareContext.
func (c *handle) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	inner := c.s.stmts.take(query)
	if inner != nil && ctx.Err() != nil {
		return nil, c.cancelled(ctx, query, inner)
	}
	if inner == nil {
		var err error
		inner, err = use(ctx, c, func() (driver.Stmt, error) { return c.prepareAnew(ctx, query) })
		if err != nil {
			return nil, err
		}
	}
	st := &stmt{c: c, inner: inner, text: query, era: c.s.stmts.era}
	c.lent = append(c.lent, st)
	if converter, ok := inner.(driver.ColumnConverter); ok { //nolint:staticcheck // drivers still have it
		return &converting{st, converter}, nil
	}
	return st, nil
}

// cancelled keeps a statement whose user has given up.
func (c *handle) cancelled(ctx context.Context, query string, inner driver.Stmt) error {
	c.guard(func() { _ = c.s.stmts.keep(query, inner) })
	return ctx.Err()
}

func (c *handle) prepareAnew(ctx context.Context, query string) (driver.Stmt, error) {
	if c.s.preparer != nil {
		return c.s.preparer.PrepareContext(ctx, query)
	}
	inner, err := c.s.Prepare(query)
	if err == nil && ctx.Err() != nil {
		_ = inner.Close()
		err = ctx.Err()
	}
	return inner, err
}

// stmt is a prepared statement, lent to one user until its Close.
type stmt struct {
	c      *handle
	inner  driver.Stmt
	text   string
	era    int
	rows   int  // not closed yet
	failed bool // it is not kept
	closed bool
}

// converting is a stmt of a driver whose statements have a ColumnConverter. Its presence
// makes a difference: database/sql converts arguments in another way.
type converting struct {
	*stmt
	converter driver.ColumnConverter //nolint:staticcheck // drivers still have it
}

// ColumnConverter implements driver.ColumnConverter.
func (s *converting) ColumnConverter(column int) (converter driver.ValueConverter) {
	if s.closed {
		return driver.DefaultParameterConverter
	}
	s.c.guard(func() { converter = s.converter.ColumnConverter(column) })
	return converter
}

// Close keeps the statement for its next user, unless it has failed. After the connection
// was returned it does nothing: somebody else may hold that.
func (s *stmt) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	c := s.c
	if i := slices.Index(c.lent, s); i >= 0 {
		c.lent = slices.Delete(c.lent, i, i+1)
	}
	if c.ended() {
		return nil
	}
	var err error
	c.guard(func() {
		if s.failed || s.rows > 0 || s.era != c.s.stmts.era {
			err = s.inner.Close()
		} else {
			err = c.s.stmts.keep(s.text, s.inner)
		}
	})
	return err
}

// NumInput implements driver.Stmt.
func (s *stmt) NumInput() (n int) {
	if s.closed || s.c.ended() {
		return -1
	}
	s.c.guard(func() { n = s.inner.NumInput() })
	return n
}

// CheckNamedValue implements driver.NamedValueChecker: that of the statement, or else that
// of its connection, which database/sql does not ask beside this.
func (s *stmt) CheckNamedValue(value *driver.NamedValue) (err error) {
	if s.closed {
		return driver.ErrSkip
	}
	checker, ok := s.inner.(driver.NamedValueChecker)
	if !ok {
		return s.c.CheckNamedValue(value)
	}
	s.c.guard(func() { err = checker.CheckNamedValue(value) })
	return err
}

// Exec implements driver.Stmt.
func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

// Query implements driver.Stmt.
func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

// named is the opposite of unnamed.
func named(values []driver.Value) []driver.NamedValue {
	args := make([]driver.NamedValue, len(values))
	for i, value := range values {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	return args
}

// ExecContext implements driver.StmtExecContext.
func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	with, ok := s.inner.(driver.StmtExecContext)
	values, err := unnamed(ctx, ok, args)
	if err != nil {
		return nil, err
	}
	return run(ctx, s, func() (result driver.Result, err error) {
		if with != nil {
			result, err = with.ExecContext(ctx, args)
		} else {
			result, err = s.inner.Exec(values) //nolint:staticcheck // drivers still have it
		}
		return s.c.read(result, err), err
	})
}

// QueryContext implements driver.StmtQueryContext.
func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	with, ok := s.inner.(driver.StmtQueryContext)
	values, err := unnamed(ctx, ok, args)
	if err != nil {
		return nil, err
	}
	inner, err := run(ctx, s, func() (driver.Rows, error) {
		if with != nil {
			return with.QueryContext(ctx, args)
		}
		return s.inner.Query(values) //nolint:staticcheck // drivers still have it
	})
	if err != nil {
		return nil, err
	}
	s.rows++
	return s.c.guarded(inner, s), nil
}

// run executes a statement.
func run[T any](ctx context.Context, s *stmt, f func() (T, error)) (result T, err error) {
	if s.closed {
		return result, driver.ErrBadConn
	}
	defer s.c.ran(s.text)
	result, err = use(ctx, s.c, f)
	s.failed = s.failed || err != nil
	return result, err
}

// rows are a driver's, with a guard around what may go to the server. Their statement is lent
// to nobody else while they are open. The interfaces that rows may have beside driver.Rows
// have no effect if they answer as here where the driver's rows do not have them.
type rows struct {
	driver.Rows
	c      *handle
	s      *session
	stmt   *stmt // nil: there was none
	closed bool
}

func (c *handle) guarded(inner driver.Rows, st *stmt) driver.Rows {
	return &rows{Rows: inner, c: c, s: c.s, stmt: st}
}

// over says that the session is not the caller's any more.
func (r *rows) over() bool { return r.c.s != r.s || r.c.ended() }

// Close implements driver.Rows.
func (r *rows) Close() (err error) {
	if r.stmt != nil && !r.closed {
		r.stmt.rows--
	}
	r.closed = true
	if r.over() {
		return nil
	}
	defer r.c.caught()
	r.c.enter()
	err = r.Rows.Close()
	r.c.see(err)
	r.c.leave()
	return err
}

// Next implements driver.Rows.
func (r *rows) Next(row []driver.Value) (err error) {
	if r.over() {
		return driver.ErrBadConn
	}
	defer r.c.caught()
	r.c.enter()
	if err = r.Rows.Next(row); err != nil && err != io.EOF { //nolint:errorlint // database/sql compares it
		r.c.see(err)
		if r.stmt != nil {
			r.stmt.failed = true
		}
	}
	r.c.leave()
	return err
}

// HasNextResultSet implements driver.RowsNextResultSet.
func (r *rows) HasNextResultSet() bool {
	inner, ok := r.Rows.(driver.RowsNextResultSet)
	return ok && inner.HasNextResultSet()
}

// NextResultSet implements driver.RowsNextResultSet.
func (r *rows) NextResultSet() error {
	inner, ok := r.Rows.(driver.RowsNextResultSet)
	if !ok || r.over() {
		return io.EOF
	}
	defer r.c.caught()
	r.c.enter()
	err := inner.NextResultSet()
	if err != nil && err != io.EOF { //nolint:errorlint // database/sql compares it
		r.c.see(err)
	}
	r.c.leave()
	return err
}

// ColumnTypeScanType implements driver.RowsColumnTypeScanType.
func (r *rows) ColumnTypeScanType(column int) reflect.Type {
	if inner, ok := r.Rows.(driver.RowsColumnTypeScanType); ok {
		return inner.ColumnTypeScanType(column)
	}
	return reflect.TypeFor[any]()
}

// ColumnTypeDatabaseTypeName implements driver.RowsColumnTypeDatabaseTypeName.
func (r *rows) ColumnTypeDatabaseTypeName(column int) string {
	if inner, ok := r.Rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		return inner.ColumnTypeDatabaseTypeName(column)
	}
	return ""
}

// ColumnTypeLength implements driver.RowsColumnTypeLength.
func (r *rows) ColumnTypeLength(column int) (length int64, ok bool) {
	if inner, has := r.Rows.(driver.RowsColumnTypeLength); has {
		return inner.ColumnTypeLength(column)
	}
	return 0, false
}

// ColumnTypeNullable implements driver.RowsColumnTypeNullable.
func (r *rows) ColumnTypeNullable(column int) (nullable, ok bool) {
	if inner, has := r.Rows.(driver.RowsColumnTypeNullable); has {
		return inner.ColumnTypeNullable(column)
	}
	return false, false
}

// ColumnTypePrecisionScale implements driver.RowsColumnTypePrecisionScale.
func (r *rows) ColumnTypePrecisionScale(column int) (precision, scale int64, ok bool) {
	if inner, has := r.Rows.(driver.RowsColumnTypePrecisionScale); has {
		return inner.ColumnTypePrecisionScale(column)
	}
	return 0, 0, false
}
