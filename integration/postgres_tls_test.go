package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/actorpool/actorpool/client"
	"github.com/actorpool/actorpool/internal/testkit"
	"github.com/actorpool/actorpool/messages"
)

// certificate is a self-signed certificate with its key.
type certificate struct{ cert, key []byte }

func selfSigned(t *testing.T, address string, expires time.Time) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "a server"},
		NotBefore:    time.Now().Add(-48 * time.Hour),
		NotAfter:     expires,
		IPAddresses:  []net.IP{net.ParseIP(address)},
		IsCA:         true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return certificate{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

// file writes the certificate to a file, for sslrootcert, and returns its name.
func (c certificate) file(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "root.crt")
	require.NoError(t, os.WriteFile(name, c.cert, 0o600))
	return name
}

// useCertificate makes the server use a certificate, until the test ends.
func (s *postgres) useCertificate(t *testing.T, c certificate) {
	t.Helper()
	require.NoError(t, errors.Join(s.WriteFile("server.crt", c.cert), s.WriteFile("server.key", c.key)))
	s.setTLS(t, c)
	t.Cleanup(func() { s.setTLS(t, certificate{}) })
}

// setTLS turns TLS on, or off if there is no certificate, and waits until new connections get
// the certificate.
func (s *postgres) setTLS(t *testing.T, c certificate) {
	t.Helper()
	for _, statement := range []string{fmt.Sprintf("ALTER SYSTEM SET ssl = %v", c.cert != nil), "SELECT pg_reload_conf()"} {
		_, err := s.admin.Exec(within(t, longTimeout), statement)
		require.NoError(t, err)
	}
	cfg, err := pgx.ParseConfig(s.DSN("postgres", "") + " sslmode=prefer")
	require.NoError(t, err)
	testkit.Eventually(t, func() error {
		var shown []byte
		cfg.TLSConfig.VerifyConnection = func(state tls.ConnectionState) error {
			shown = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: state.PeerCertificates[0].Raw})
			return nil
		}
		conn, err := pgx.ConnectConfig(within(t, longTimeout), cfg)
		if err != nil {
			return err
		}
		return errors.Join(equal("certificate", string(shown), string(c.cert)), closeAndWait(within(t, longTimeout), conn))
	})
}

// verifying returns the connection string of a client that verifies the server's certificate.
func (s *postgres) verifying(root string) string {
	return s.DSN("app", "") + " sslmode=verify-full sslrootcert=" + root
}

// A certificate that is not trusted is ClassFatal by the default Classify. The Get for which the
// connect was made fails with the reason, and so do Gets during the backoff.
func TestPostgresCertificateThatIsNotTrusted(t *testing.T) {
	s := needPostgres(t)
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-24*time.Hour)
	for name, test := range map[string]struct {
		shown   certificate
		trusted *certificate // nil: the one that is shown
		cause   any
	}{
		"another root":    {selfSigned(t, "127.0.0.1", tomorrow), new(selfSigned(t, "127.0.0.1", tomorrow)), new(x509.UnknownAuthorityError)},
		"another address": {selfSigned(t, "192.0.2.1", tomorrow), nil, new(x509.HostnameError)},
		"expired":         {selfSigned(t, "127.0.0.1", yesterday), nil, new(x509.CertificateInvalidError)},
	} {
		t.Run(name, func(t *testing.T) {
			s.useCertificate(t, test.shown)
			if test.trusted == nil {
				test.trusted = &test.shown
			}
			for mode, backoff := range map[string]client.BackoffMode{"wait": client.BackoffWait, "fail fast": client.BackoffFailFast} {
				cfg := s.configDSN(s.verifying(test.trusted.file(t)))
				cfg.Backoff = client.Backoff{Base: time.Minute, Cap: time.Minute, Jitter: client.NoJitter, Mode: backoff}
				pool, recorder := start(t, cfg)
				_, err := pool.Get(within(t, longTimeout))
				require.ErrorIs(t, err, messages.ErrConnectFailed, mode)
				require.ErrorAs(t, err, test.cause, "%s: %v", mode, err)
				assert.Contains(t, fmt.Sprintf("%+v", err), "x509: ", mode)
				assert.Equal(t, messages.ClassFatal, class(err), mode)

				_, err = pool.Get(within(t, longTimeout))
				var backingOff *messages.BackoffError
				require.ErrorAs(t, err, &backingOff, mode)
				assert.ErrorAs(t, err, test.cause, mode)
				assert.Equal(t, messages.StateBackoff, pool.Stats().State, mode)
				assert.EqualValues(t, 1, pool.Stats().Connects, mode)
				testkit.Eventually(t, func() error { return equal("backoffs", len(recorder.of(messages.PoolBackoff)), 1) })
				agrees(t, pool, s.count)
			}
		})
	}
}

// With a trusted certificate the connection is encrypted. When the server changes its
// certificate, the pool still lends the connections that are open.
func TestPostgresCertificateThatIsTrusted(t *testing.T) {
	s := needPostgres(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	first := selfSigned(t, "127.0.0.1", tomorrow)
	s.useCertificate(t, first)
	cfg := s.configDSN(s.verifying(first.file(t)))
	cfg.Capacity = 2
	pool, recorder := start(t, cfg)
	encrypted := func(ctx context.Context, conn *pgx.Conn) error {
		var ssl bool
		err := conn.QueryRow(ctx, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&ssl)
		return errors.Join(err, equal("encrypted", ssl, true))
	}
	require.NoError(t, pool.Do(within(t, longTimeout), encrypted))

	s.useCertificate(t, selfSigned(t, "127.0.0.1", tomorrow))
	lease, err := pool.Get(within(t, longTimeout)) // the connection that is open
	require.NoError(t, err)
	_, err = pool.Get(context.Background()) // a new connection; with a deadline it would keep its place (G18)
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
	require.NoError(t, encrypted(within(t, longTimeout), lease.Conn()))
	require.NoError(t, lease.Put())
	require.NoError(t, pool.Do(within(t, longTimeout), encrypted))
	testkit.Eventually(t, func() error { return equal("backoffs", len(recorder.of(messages.PoolBackoff)), 1) })
	agrees(t, pool, s.count)
}
