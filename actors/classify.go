package actors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/actorpool/actorpool/messages"
)

// Classify is the default of Config.Classify: what a failed connect means.
//
//   - A cancelled context says nothing about the server: ClassIgnore.
//   - A name that does not exist, or a certificate that is not trusted, is a
//     refusal that will not pass by itself: ClassFatal.
//   - Everything else is ClassOverload: refused, reset, unreachable, timed out,
//     ended in the handshake, a panic, or not recognised.
//
// Errors of connections that stand already, from a check, a reset or a setting,
// say nothing about new connects: ClassIgnore.
func Classify(phase messages.Phase, err error) messages.Class {
	var (
		dns       *net.DNSError
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     tls.AlertError
	)
	switch {
	case phase != messages.PhaseConnect, errors.Is(err, context.Canceled):
		return messages.ClassIgnore
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return messages.ClassFatal
		}
		return messages.ClassOverload
	case errors.As(err, &verify), errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid),
		errors.As(err, &alert):
		return messages.ClassFatal
	}
	return messages.ClassOverload
}
