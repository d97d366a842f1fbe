// Package browser has the tests of the live page (package page) in a real browser:
// Chromium, which they start without a window. They look at the page of the demo during
// its outage, and at pages of pools that are in any state and say anything. With
// -pictures they write the pictures of the documents.
//
//	go test .
//	go test . -run Pictures -pictures
package browser
