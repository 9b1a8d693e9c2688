package push

import (
	"crypto/rand"
	"crypto/rsa"
	"sync"
)

// RSAKey is one for all tests: making one takes long.
var RSAKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})
