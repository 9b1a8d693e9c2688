//go:build !plant

package appio

// planted names a bug that a test puts into the engine on purpose, to show that it would be caught. In a program there is
// none, and the code for it is left out.
const planted = ""
