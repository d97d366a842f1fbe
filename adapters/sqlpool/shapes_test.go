package sqlpool

import "database/sql/driver"

// The names of the bits.
var (
	setA    = []string{"ExecerContext", "Execer", "QueryerContext", "Queryer", "ConnPrepareContext", "NamedValueChecker"}
	setB    = []string{"Pinger", "ConnBeginTx", "Validator", "SessionResetter"}
	setStmt = []string{"StmtExecContext", "StmtQueryContext", "NamedValueChecker", "ColumnConverter"}
)

// shapeB gives a connection one of the 16 sets of the other interfaces, in the order of setB.
// It has queries with a context, too.
func shapeB(c *fakeConn, set int) driver.Conn {
	switch set {
	case 1:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPinger
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPinger)(c)}
	case 2:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cBeginTx
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cBeginTx)(c)}
	case 3:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPinger
			*cBeginTx
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPinger)(c), (*cBeginTx)(c)}
	case 4:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cValidator
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cValidator)(c)}
	case 5:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPinger
			*cValidator
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPinger)(c), (*cValidator)(c)}
	case 6:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cBeginTx
			*cValidator
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cBeginTx)(c), (*cValidator)(c)}
	case 7:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPinger
			*cBeginTx
			*cValidator
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPinger)(c), (*cBeginTx)(c), (*cValidator)(c)}
	case 8:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cSessionResetter
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cSessionResetter)(c)}
	case 9:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPinger
			*cSessionResetter
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPinger)(c), (*cSessionResetter)(c)}
	case 10:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cBeginTx
			*cSessionResetter
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cBeginTx)(c), (*cSessionResetter)(c)}
	case 11:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPinger
			*cBeginTx
			*cSessionResetter
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPinger)(c), (*cBeginTx)(c), (*cSessionResetter)(c)}
	case 12:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cValidator
			*cSessionResetter
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cValidator)(c), (*cSessionResetter)(c)}
	case 13:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPinger
			*cValidator
			*cSessionResetter
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPinger)(c), (*cValidator)(c), (*cSessionResetter)(c)}
	case 14:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cBeginTx
			*cValidator
			*cSessionResetter
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cBeginTx)(c), (*cValidator)(c), (*cSessionResetter)(c)}
	case 15:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPinger
			*cBeginTx
			*cValidator
			*cSessionResetter
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPinger)(c), (*cBeginTx)(c), (*cValidator)(c), (*cSessionResetter)(c)}
	}
	return struct {
		*fakeConn
		*cExecerContext
		*cQueryerContext
	}{c, (*cExecerContext)(c), (*cQueryerContext)(c)}
}

// shapeStmt gives a statement one of the 16 sets of its interfaces, in the order of setStmt.
func shapeStmt(s *fakeStmt, set int) driver.Stmt {
	switch set {
	case 1:
		return struct {
			*fakeStmt
			*sExecContext
		}{s, (*sExecContext)(s)}
	case 2:
		return struct {
			*fakeStmt
			*sQueryContext
		}{s, (*sQueryContext)(s)}
	case 3:
		return struct {
			*fakeStmt
			*sExecContext
			*sQueryContext
		}{s, (*sExecContext)(s), (*sQueryContext)(s)}
	case 4:
		return struct {
			*fakeStmt
			*sChecker
		}{s, (*sChecker)(s)}
	case 5:
		return struct {
			*fakeStmt
			*sExecContext
			*sChecker
		}{s, (*sExecContext)(s), (*sChecker)(s)}
	case 6:
		return struct {
			*fakeStmt
			*sQueryContext
			*sChecker
		}{s, (*sQueryContext)(s), (*sChecker)(s)}
	case 7:
		return struct {
			*fakeStmt
			*sExecContext
			*sQueryContext
			*sChecker
		}{s, (*sExecContext)(s), (*sQueryContext)(s), (*sChecker)(s)}
	case 8:
		return struct {
			*fakeStmt
			*sConverter
		}{s, (*sConverter)(s)}
	case 9:
		return struct {
			*fakeStmt
			*sExecContext
			*sConverter
		}{s, (*sExecContext)(s), (*sConverter)(s)}
	case 10:
		return struct {
			*fakeStmt
			*sQueryContext
			*sConverter
		}{s, (*sQueryContext)(s), (*sConverter)(s)}
	case 11:
		return struct {
			*fakeStmt
			*sExecContext
			*sQueryContext
			*sConverter
		}{s, (*sExecContext)(s), (*sQueryContext)(s), (*sConverter)(s)}
	case 12:
		return struct {
			*fakeStmt
			*sChecker
			*sConverter
		}{s, (*sChecker)(s), (*sConverter)(s)}
	case 13:
		return struct {
			*fakeStmt
			*sExecContext
			*sChecker
			*sConverter
		}{s, (*sExecContext)(s), (*sChecker)(s), (*sConverter)(s)}
	case 14:
		return struct {
			*fakeStmt
			*sQueryContext
			*sChecker
			*sConverter
		}{s, (*sQueryContext)(s), (*sChecker)(s), (*sConverter)(s)}
	case 15:
		return struct {
			*fakeStmt
			*sExecContext
			*sQueryContext
			*sChecker
			*sConverter
		}{s, (*sExecContext)(s), (*sQueryContext)(s), (*sChecker)(s), (*sConverter)(s)}
	}
	return s
}
