package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/appio-go/appio/internal/workload"
)

const (
	acceptBatch = 512 // requests in one transaction
	acceptors   = 3   // transactions at a time, so that one is decided while another is flushed
)

// An accepted message, as the contenders on PostgreSQL hand it to what delivers.
type accepted struct {
	request
	channels int
}

// acceptBoth is how both contenders on PostgreSQL accept: a batch of requests is one transaction of two round trips. The first
// reads what all of them are decided by; the second inserts what follows, one statement for each table, and commits. enqueue
// puts the deliveries into the same transaction. Who asked is answered after the commit.
func acceptBoth(ctx context.Context, pool *pgxpool.Pool, rs []request, enqueue func(pgx.Tx, *pgx.Batch, []accepted) error) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	citizens, services := make([]int32, len(rs)), make([]int32, len(rs))
	for i, r := range rs {
		citizens[i], services[i] = int32(r.citizen), int32(r.service)
	}
	found, err := tx.Query(ctx, `
		SELECT r.n, s.body, c.profile, p.body
		FROM unnest($1::int[], $2::int[]) WITH ORDINALITY AS r (citizen, service, n)
		LEFT JOIN service s ON s.id = r.service
		LEFT JOIN citizen c ON c.id = r.citizen
		LEFT JOIN preference p ON p.citizen = r.citizen AND p.service = r.service`, citizens, services)
	if err != nil {
		return err
	}
	answers := make([]answer, len(rs))
	var yes []accepted
	var no int
	var m struct { // columns
		id                []int64
		citizen, service  []int32
		content, decision [][]byte
	}
	refused := m
	var n int64
	var service, profile, preference []byte
	_, err = pgx.ForEachRow(found, []any{&n, &service, &profile, &preference}, func() error {
		r := rs[n-1]
		ok, channels, decision := decide(service, profile, preference)
		if !ok {
			refused.id = append(refused.id, r.id)
			refused.citizen = append(refused.citizen, int32(r.citizen))
			refused.service = append(refused.service, int32(r.service))
			refused.decision = append(refused.decision, decision)
			no++
			return nil
		}
		answers[n-1].channels = channels
		yes = append(yes, accepted{r, channels})
		m.id = append(m.id, r.id)
		m.citizen = append(m.citizen, int32(r.citizen))
		m.service = append(m.service, int32(r.service))
		m.content = append(m.content, content(workload.Message(workload.Person(r.citizen), r.n)))
		m.decision = append(m.decision, decision)
		return nil
	})
	if err != nil {
		return err
	}
	b := &pgx.Batch{}
	if len(yes) > 0 {
		b.Queue(`INSERT INTO message SELECT id, citizen, service, 1, content, decision
			FROM unnest($1::bigint[], $2::int[], $3::int[], $4::bytea[], $5::bytea[]) AS r (id, citizen, service, content, decision)`,
			m.id, m.citizen, m.service, m.content, m.decision)
		if err := enqueue(tx, b, yes); err != nil {
			return err
		}
	}
	if no > 0 {
		b.Queue(`INSERT INTO refusal SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::bytea[])`,
			refused.id, refused.citizen, refused.service, refused.decision)
	}
	b.Queue("COMMIT")
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	for i, r := range rs {
		r.answer <- answers[i]
	}
	return nil
}
