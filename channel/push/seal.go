package push

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// The form of RFC 8188 and RFC 8291: salt, record size, length of the key and the key, then one record.
const (
	recordSize = 4096             // as the header says it
	headerSize = 16 + 4 + 1 + 65  // bytes
	overhead   = headerSize + 1 + // what marks the end of the text
		16 // the tag
	maxBody = 4096 // bytes that each push service takes (RFC 8030, 7.2)
)

// seal encrypts a text for a browser (RFC 8291) and fills it up, so that the whole has size bytes whatever the text is. The text has
// at most size - overhead. own and salt must be fresh.
func seal(text []byte, size int, to *ecdh.PublicKey, auth []byte, own *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	shared, err := own.ECDH(to)
	if err != nil {
		return nil, err
	}
	mine := own.PublicKey().Bytes()
	input, err := hkdf.Key(sha256.New, shared, auth, "WebPush: info\x00"+string(to.Bytes())+string(mine), 32)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, input, salt, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, input, salt, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, size)
	out = append(out, salt...)
	out = binary.BigEndian.AppendUint32(out, recordSize)
	out = append(out, byte(len(mine)))
	out = append(out, mine...)
	padded := make([]byte, size-overhead+1)
	padded[copy(padded, text)] = 2 // the last record; zeros follow
	return gcm.Seal(out, nonce, padded, nil), nil
}
