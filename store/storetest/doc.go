// Package storetest checks that a [store.Store] keeps the contract, and measures it.
//
// A store's own tests are ten lines:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return open(t, t.TempDir()) })
//	}
//
//	func TestStoreOnDisk(t *testing.T) { storetest.Reopen(t, Open) }
//
//	func FuzzStore(f *testing.F) {
//		f.Fuzz(func(t *testing.T, data []byte) {
//			s := open(t, t.TempDir())
//			defer s.Close()
//			storetest.Model(t, data, s)
//		})
//	}
//
//	func BenchmarkStore(b *testing.B) {
//		storetest.Bench(b, func(b *testing.B) store.Store { return open(b, b.TempDir()) })
//	}
//
// Every check is a subtest named by the rule that it checks, and says what the store did instead. There are no exceptions to
// switch on: a store that keeps the contract passes all of them.
//
// [Reopen] kills a process that is writing. The process is the test binary itself, started again to run nothing but the test
// that called Reopen, with an environment variable by which Reopen knows that it is to write until it is killed. So no hook
// in TestMain is needed; but what that test does before it calls Reopen is done in each such process too: call it first.
package storetest
