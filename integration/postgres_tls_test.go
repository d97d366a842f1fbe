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
	"github.com/actorpool/actorpool/messages"
)

// certificate is a self-signed one, with its key.
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

// file gives the name of a file with the certificate, for those who trust it.
func (c certificate) file(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "root.crt")
	require.NoError(t, os.WriteFile(name, c.cert, 0o600))
	return name
}

// speakTLS makes the server show a certificate, until the test ends.
func (s *postgres) speakTLS(t *testing.T, c certificate) {
	t.Helper()
	require.NoError(t, errors.Join(s.WriteFile("server.crt", c.cert), s.WriteFile("server.key", c.key)))
	s.offerTLS(t, c)
	t.Cleanup(func() { s.offerTLS(t, certificate{}) })
}

// offerTLS turns TLS on, or off if there is no certificate, and waits until the
// server shows it to those who come.
func (s *postgres) offerTLS(t *testing.T, c certificate) {
	t.Helper()
	for _, statement := range []string{fmt.Sprintf("ALTER SYSTEM SET ssl = %v", c.cert != nil), "SELECT pg_reload_conf()"} {
		_, err := s.admin.Exec(within(t, patience), statement)
		require.NoError(t, err)
	}
	cfg, err := pgx.ParseConfig(s.DSN("postgres", "") + " sslmode=prefer")
	require.NoError(t, err)
	eventually(t, func() error {
		var shown []byte
		cfg.TLSConfig.VerifyConnection = func(state tls.ConnectionState) error {
			shown = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: state.PeerCertificates[0].Raw})
			return nil
		}
		conn, err := pgx.ConnectConfig(within(t, patience), cfg)
		if err != nil {
			return err
		}
		return errors.Join(equal("certificate", string(shown), string(c.cert)), goodbye(within(t, patience), conn))
	})
}

// verifying is the address for those who want to see a certificate that they
// trust.
func (s *postgres) verifying(root string) string {
	return s.DSN("app", "") + " sslmode=verify-full sslrootcert=" + root
}

// A certificate that is not trusted is fatal by the default. Whoever the connect
// was for sees what is wrong with it, and so do those who come during the backoff.
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
			s.speakTLS(t, test.shown)
			if test.trusted == nil {
				test.trusted = &test.shown
			}
			for mode, backoff := range map[string]client.BackoffMode{"wait": client.BackoffWait, "fail fast": client.BackoffFailFast} {
				cfg := s.configDSN(s.verifying(test.trusted.file(t)))
				cfg.Backoff = client.Backoff{Base: time.Minute, Cap: time.Minute, Jitter: client.NoJitter, Mode: backoff}
				pool, ledger := start(t, cfg)
				_, err := pool.Get(within(t, patience))
				require.ErrorIs(t, err, messages.ErrConnectFailed, mode)
				require.ErrorAs(t, err, test.cause, "%s: %v", mode, err)
				assert.ErrorContains(t, err, "x509: ", mode)
				assert.Equal(t, messages.ClassFatal, class(err), mode)

				_, err = pool.Get(within(t, patience))
				var backingOff *messages.BackoffError
				require.ErrorAs(t, err, &backingOff, mode)
				assert.ErrorAs(t, err, test.cause, mode)
				assert.Equal(t, messages.StateBackoff, pool.Stats().State, mode)
				assert.EqualValues(t, 1, pool.Stats().Connects, mode)
				eventually(t, func() error { return equal("backoffs", len(ledger.of(messages.PoolBackoff)), 1) })
				agrees(t, pool, s.count)
			}
		})
	}
}

// One that is trusted does its work; and when the server shows another, a pool
// that has connections goes on with those.
func TestPostgresCertificateThatIsTrusted(t *testing.T) {
	s := needPostgres(t)
	tomorrow := time.Now().Add(24 * time.Hour)
	first := selfSigned(t, "127.0.0.1", tomorrow)
	s.speakTLS(t, first)
	cfg := s.configDSN(s.verifying(first.file(t)))
	cfg.Capacity = 2
	pool, ledger := start(t, cfg)
	encrypted := func(ctx context.Context, conn *pgx.Conn) error {
		var ssl bool
		err := conn.QueryRow(ctx, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&ssl)
		return errors.Join(err, equal("encrypted", ssl, true))
	}
	require.NoError(t, pool.Do(within(t, patience), encrypted))

	s.speakTLS(t, selfSigned(t, "127.0.0.1", tomorrow))
	lease, err := pool.Get(within(t, patience)) // the one there is
	require.NoError(t, err)
	_, err = pool.Get(within(t, patience)) // one more
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
	require.NoError(t, encrypted(within(t, patience), lease.Conn()))
	require.NoError(t, lease.Put())
	require.NoError(t, pool.Do(within(t, patience), encrypted))
	eventually(t, func() error { return equal("backoffs", len(ledger.of(messages.PoolBackoff)), 1) })
	agrees(t, pool, s.count)
}
