package app

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// lookAgain is how long a certificate file is not looked at again.
const lookAgain = time.Second

// A certificate is a pair of files, read again when they change. A pair that
// cannot be used, one file already new and the other not yet, leaves the old one
// in place.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	current *tls.Certificate
	stamp   string
	looked  time.Time
}

func newCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	if _, err := c.get(nil); err != nil {
		return nil, fmt.Errorf("AMLPROXY_TLS_CERT_FILE: %w", err)
	}
	return c, nil
}

// get is a tls.Config's GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.current != nil && now.Sub(c.looked) < lookAgain {
		return c.current, nil
	}
	c.looked = now
	stamp, err := stampOf(c.certFile, c.keyFile)
	if err == nil && (c.current == nil || stamp != c.stamp) {
		var fresh tls.Certificate
		if fresh, err = tls.LoadX509KeyPair(c.certFile, c.keyFile); err == nil {
			c.current, c.stamp = &fresh, stamp
		}
	}
	if c.current == nil {
		return nil, err
	}
	return c.current, nil
}

// stampOf changes when one of the files does.
func stampOf(files ...string) (string, error) {
	var stamp string
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		stamp += fmt.Sprint(info.ModTime().UnixNano(), info.Size(), ";")
	}
	return stamp, nil
}
