package sqlpool

import "database/sql/driver"

// shapeA gives a connection one of the 64 sets of the interfaces that database/sql asks for
// when it runs a query: one bit each, in the order of setA.
func shapeA(c *fakeConn, set int) driver.Conn {
	switch set {
	case 1:
		return struct {
			*fakeConn
			*cExecerContext
		}{c, (*cExecerContext)(c)}
	case 2:
		return struct {
			*fakeConn
			*cExecer
		}{c, (*cExecer)(c)}
	case 3:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
		}{c, (*cExecerContext)(c), (*cExecer)(c)}
	case 4:
		return struct {
			*fakeConn
			*cQueryerContext
		}{c, (*cQueryerContext)(c)}
	case 5:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c)}
	case 6:
		return struct {
			*fakeConn
			*cExecer
			*cQueryerContext
		}{c, (*cExecer)(c), (*cQueryerContext)(c)}
	case 7:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryerContext
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryerContext)(c)}
	case 8:
		return struct {
			*fakeConn
			*cQueryer
		}{c, (*cQueryer)(c)}
	case 9:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryer
		}{c, (*cExecerContext)(c), (*cQueryer)(c)}
	case 10:
		return struct {
			*fakeConn
			*cExecer
			*cQueryer
		}{c, (*cExecer)(c), (*cQueryer)(c)}
	case 11:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryer
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryer)(c)}
	case 12:
		return struct {
			*fakeConn
			*cQueryerContext
			*cQueryer
		}{c, (*cQueryerContext)(c), (*cQueryer)(c)}
	case 13:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cQueryer
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cQueryer)(c)}
	case 14:
		return struct {
			*fakeConn
			*cExecer
			*cQueryerContext
			*cQueryer
		}{c, (*cExecer)(c), (*cQueryerContext)(c), (*cQueryer)(c)}
	case 15:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryerContext
			*cQueryer
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryerContext)(c), (*cQueryer)(c)}
	case 16:
		return struct {
			*fakeConn
			*cPrepareContext
		}{c, (*cPrepareContext)(c)}
	case 17:
		return struct {
			*fakeConn
			*cExecerContext
			*cPrepareContext
		}{c, (*cExecerContext)(c), (*cPrepareContext)(c)}
	case 18:
		return struct {
			*fakeConn
			*cExecer
			*cPrepareContext
		}{c, (*cExecer)(c), (*cPrepareContext)(c)}
	case 19:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cPrepareContext
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cPrepareContext)(c)}
	case 20:
		return struct {
			*fakeConn
			*cQueryerContext
			*cPrepareContext
		}{c, (*cQueryerContext)(c), (*cPrepareContext)(c)}
	case 21:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPrepareContext
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPrepareContext)(c)}
	case 22:
		return struct {
			*fakeConn
			*cExecer
			*cQueryerContext
			*cPrepareContext
		}{c, (*cExecer)(c), (*cQueryerContext)(c), (*cPrepareContext)(c)}
	case 23:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryerContext
			*cPrepareContext
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryerContext)(c), (*cPrepareContext)(c)}
	case 24:
		return struct {
			*fakeConn
			*cQueryer
			*cPrepareContext
		}{c, (*cQueryer)(c), (*cPrepareContext)(c)}
	case 25:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryer
			*cPrepareContext
		}{c, (*cExecerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c)}
	case 26:
		return struct {
			*fakeConn
			*cExecer
			*cQueryer
			*cPrepareContext
		}{c, (*cExecer)(c), (*cQueryer)(c), (*cPrepareContext)(c)}
	case 27:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryer
			*cPrepareContext
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryer)(c), (*cPrepareContext)(c)}
	case 28:
		return struct {
			*fakeConn
			*cQueryerContext
			*cQueryer
			*cPrepareContext
		}{c, (*cQueryerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c)}
	case 29:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cQueryer
			*cPrepareContext
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c)}
	case 30:
		return struct {
			*fakeConn
			*cExecer
			*cQueryerContext
			*cQueryer
			*cPrepareContext
		}{c, (*cExecer)(c), (*cQueryerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c)}
	case 31:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryerContext
			*cQueryer
			*cPrepareContext
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c)}
	case 32:
		return struct {
			*fakeConn
			*cChecker
		}{c, (*cChecker)(c)}
	case 33:
		return struct {
			*fakeConn
			*cExecerContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cChecker)(c)}
	case 34:
		return struct {
			*fakeConn
			*cExecer
			*cChecker
		}{c, (*cExecer)(c), (*cChecker)(c)}
	case 35:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cChecker
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cChecker)(c)}
	case 36:
		return struct {
			*fakeConn
			*cQueryerContext
			*cChecker
		}{c, (*cQueryerContext)(c), (*cChecker)(c)}
	case 37:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cChecker)(c)}
	case 38:
		return struct {
			*fakeConn
			*cExecer
			*cQueryerContext
			*cChecker
		}{c, (*cExecer)(c), (*cQueryerContext)(c), (*cChecker)(c)}
	case 39:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryerContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryerContext)(c), (*cChecker)(c)}
	case 40:
		return struct {
			*fakeConn
			*cQueryer
			*cChecker
		}{c, (*cQueryer)(c), (*cChecker)(c)}
	case 41:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryer
			*cChecker
		}{c, (*cExecerContext)(c), (*cQueryer)(c), (*cChecker)(c)}
	case 42:
		return struct {
			*fakeConn
			*cExecer
			*cQueryer
			*cChecker
		}{c, (*cExecer)(c), (*cQueryer)(c), (*cChecker)(c)}
	case 43:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryer
			*cChecker
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryer)(c), (*cChecker)(c)}
	case 44:
		return struct {
			*fakeConn
			*cQueryerContext
			*cQueryer
			*cChecker
		}{c, (*cQueryerContext)(c), (*cQueryer)(c), (*cChecker)(c)}
	case 45:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cQueryer
			*cChecker
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cQueryer)(c), (*cChecker)(c)}
	case 46:
		return struct {
			*fakeConn
			*cExecer
			*cQueryerContext
			*cQueryer
			*cChecker
		}{c, (*cExecer)(c), (*cQueryerContext)(c), (*cQueryer)(c), (*cChecker)(c)}
	case 47:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryerContext
			*cQueryer
			*cChecker
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryerContext)(c), (*cQueryer)(c), (*cChecker)(c)}
	case 48:
		return struct {
			*fakeConn
			*cPrepareContext
			*cChecker
		}{c, (*cPrepareContext)(c), (*cChecker)(c)}
	case 49:
		return struct {
			*fakeConn
			*cExecerContext
			*cPrepareContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 50:
		return struct {
			*fakeConn
			*cExecer
			*cPrepareContext
			*cChecker
		}{c, (*cExecer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 51:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cPrepareContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 52:
		return struct {
			*fakeConn
			*cQueryerContext
			*cPrepareContext
			*cChecker
		}{c, (*cQueryerContext)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 53:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cPrepareContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 54:
		return struct {
			*fakeConn
			*cExecer
			*cQueryerContext
			*cPrepareContext
			*cChecker
		}{c, (*cExecer)(c), (*cQueryerContext)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 55:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryerContext
			*cPrepareContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryerContext)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 56:
		return struct {
			*fakeConn
			*cQueryer
			*cPrepareContext
			*cChecker
		}{c, (*cQueryer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 57:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryer
			*cPrepareContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 58:
		return struct {
			*fakeConn
			*cExecer
			*cQueryer
			*cPrepareContext
			*cChecker
		}{c, (*cExecer)(c), (*cQueryer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 59:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryer
			*cPrepareContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 60:
		return struct {
			*fakeConn
			*cQueryerContext
			*cQueryer
			*cPrepareContext
			*cChecker
		}{c, (*cQueryerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 61:
		return struct {
			*fakeConn
			*cExecerContext
			*cQueryerContext
			*cQueryer
			*cPrepareContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cQueryerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 62:
		return struct {
			*fakeConn
			*cExecer
			*cQueryerContext
			*cQueryer
			*cPrepareContext
			*cChecker
		}{c, (*cExecer)(c), (*cQueryerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	case 63:
		return struct {
			*fakeConn
			*cExecerContext
			*cExecer
			*cQueryerContext
			*cQueryer
			*cPrepareContext
			*cChecker
		}{c, (*cExecerContext)(c), (*cExecer)(c), (*cQueryerContext)(c), (*cQueryer)(c), (*cPrepareContext)(c), (*cChecker)(c)}
	}
	return c
}
