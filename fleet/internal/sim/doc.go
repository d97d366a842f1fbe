// Package sim runs members and coordinators of a fleet in virtual time, against a network
// that loses, delays and repeats, processes that crash and freeze, and a server that is
// slow to notice. It looks at every step whether the server has more connections than the
// budget. The same seed gives the same run.
package sim
