//go:build !linux

package punctual

func newAlarm() alarm { return newPlain() }
