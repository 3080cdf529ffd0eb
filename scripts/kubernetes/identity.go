package kubernetes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority is the cluster's certificate authority, with files in a folder.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// pair is a certificate with its key, both in PEM, and where they are.
type pair struct {
	cert, key         []byte
	certFile, keyFile string
}

// lifetime is of certificates: longer than any cluster of a test lives.
const lifetime = 30 * 24 * time.Hour

func newAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a := &authority{dir: dir}
	p, err := a.issue("ca", x509.Certificate{
		Subject: pkix.Name{CommonName: "cluster"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(p.cert)
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, err
	}
	block, _ = pem.Decode(p.key)
	a.key, err = x509.ParseECPrivateKey(block.Bytes)
	return a, err
}

// file is where the authority's certificate is.
func (a *authority) file() string { return filepath.Join(a.dir, "ca.crt") }

// user makes the certificate of a user in a group.
func (a *authority) user(name, group string) (pair, error) {
	return a.issue(name, x509.Certificate{
		Subject: pkix.Name{CommonName: name, Organization: []string{group}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// server makes the certificate of a server with these names and addresses.
func (a *authority) server(name string, names []string, addresses ...net.IP) (pair, error) {
	return a.issue(name, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: names, IPAddresses: addresses,
	})
}

// issue signs a certificate; the first one, by itself.
func (a *authority) issue(name string, c x509.Certificate) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return pair{}, err
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(lifetime)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = &c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, parent, key.Public(), signer)
	if err != nil {
		return pair{}, fmt.Errorf("signing the certificate of %s: %w", name, err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	p := pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), certFile: filepath.Join(a.dir, name+".crt"),
		key: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), keyFile: filepath.Join(a.dir, name+".key"),
	}
	if err := os.WriteFile(p.certFile, p.cert, 0o644); err != nil {
		return pair{}, err
	}
	return p, os.WriteFile(p.keyFile, p.key, 0o600)
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: causeway, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: user, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: causeway, context: {cluster: causeway, user: user}}]
current-context: causeway
`

// writeKubeconfig writes how a user reaches the API server.
func (a *authority) writeKubeconfig(path, server, user, group string) error {
	p, err := a.user(user, group)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(a.file())
	if err != nil {
		return err
	}
	encoded := base64.StdEncoding.EncodeToString
	return os.WriteFile(path, fmt.Appendf(nil, kubeconfig, server, encoded(ca), encoded(p.cert), encoded(p.key)), 0o600)
}
