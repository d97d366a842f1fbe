package actors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/actorpool/actorpool/messages"
)

// Classify is the default of Config.Classify: what a failed connect means.
//
//   - A cancelled context says nothing about the server: ClassIgnore.
//   - A refusal that will not pass by itself is ClassFatal: a name that cannot be
//     resolved, a certificate that is not trusted, a password that is wrong, a
//     database that does not exist. The refusals of PostgreSQL are recognised by
//     their SQLSTATE (classes 28 and 3D), those of Redis by their error code.
//   - Everything else is ClassOverload: refused, reset, unreachable, timed out,
//     ended in the handshake, too many connections, a panic, or not recognised.
//
// Both of the latter start a backoff. Errors of connections that stand already,
// from a check, a reset or a setting, say nothing about new connects:
// ClassIgnore.
func Classify(phase messages.Phase, err error) messages.Class {
	switch {
	case phase != messages.PhaseConnect, errors.Is(err, context.Canceled):
		return messages.ClassIgnore
	case unresolved(err), untrusted(err), unauthorised(err):
		return messages.ClassFatal
	}
	return messages.ClassOverload
}

func unresolved(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && !dns.IsTimeout
}

// untrusted recognises what is wrong with certificates, on either side.
func untrusted(err error) bool {
	var (
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
		remote    *net.OpError // the alert of the other side, whose type is not exported
	)
	return errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &hostname) ||
		errors.As(err, &invalid) || errors.As(err, &alert) ||
		errors.As(err, &remote) && remote.Op == "remote error" && strings.Contains(remote.Err.Error(), "certificate")
}

// unauthorised recognises refusals of PostgreSQL's drivers, which give the
// SQLSTATE of an error, and of Redis, whose errors begin with a code.
func unauthorised(err error) bool {
	var sql interface{ SQLState() string }
	if errors.As(err, &sql) {
		state := sql.SQLState()
		return strings.HasPrefix(state, "28") || strings.HasPrefix(state, "3D")
	}
	for ; err != nil; err = errors.Unwrap(err) {
		for _, code := range []string{"WRONGPASS ", "NOAUTH ", "NOPERM ", "ERR invalid password", "ERR AUTH "} {
			if strings.HasPrefix(err.Error(), code) {
				return true
			}
		}
	}
	return false
}
