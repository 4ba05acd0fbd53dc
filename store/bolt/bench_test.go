package bolt

import (
	"context"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(strconv.Itoa(writers)+"writers", func(b *testing.B) {
			s := openAt(b, filepath.Join(b.TempDir(), "doorward.db"))
			var n atomic.Int64
			b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
			update := func() {
				key := strconv.FormatInt(n.Add(1)%10_000, 10)
				err := s.Update(context.Background(), func(tx authn.Tx) error {
					return tx.PutCounter(authn.Counter{Key: key, Count: 1})
				})
				if err != nil {
					b.Error(err)
				}
			}
			if writers == 1 {
				for b.Loop() {
					update()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					update()
				}
			})
		})
	}
}

func BenchmarkSession(b *testing.B) {
	s := openAt(b, filepath.Join(b.TempDir(), "doorward.db"))
	err := s.Update(b.Context(), func(tx authn.Tx) error {
		for i := range 1000 {
			err := tx.PutSession(authn.Session{
				ID: "s" + strconv.Itoa(i), User: "u", CreatedAt: time.Now(), End: time.Now(),
				Chain: &authn.Chain{TagKey: make([]byte, 32), CurHash: make([]byte, 32)},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		err := s.View(context.Background(), func(tx authn.Tx) error { _, err := tx.Session("s500"); return err })
		if err != nil {
			b.Fatal(err)
		}
	}
}
