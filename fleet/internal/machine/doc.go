// Package machine decides what a member of a fleet may hold, and who gets how much of the
// budget. It is pure: time, rows and reports come in as arguments, and what is to be done
// goes out as values.
//
// Two parts do not know each other, and each is safe whatever the other does:
//
//   - A [Member] never holds more than its row charges. It believes a row until the
//     deadline that its own clock gives it, and no longer.
//   - A [Coordinator] never charges more than the budget. It lowers a charge only on a
//     promise of the member itself, made on this very row, or when the incarnation is
//     known to hold nothing any more.
package machine
