//go:build linux

package main

import (
	"context"
	"crypto/tls"
)

// measureBodies compares what larger bodies cost.
func measureBodies(ctx context.Context, b *bench) error {
	one, err := b.world.bare(ctx, b.world.address, "")
	if err != nil {
		return err
	}
	full, err := b.world.amlproxy(ctx, kind{log: "info", limits: true})
	if err != nil {
		return err
	}
	defer b.world.rest()
	token, err := b.world.bearer()
	if err != nil {
		return err
	}
	t := b.table("bodies", "Larger bodies", "", "CPU per request", "against bare", "requests/s", "against bare")
	for _, s := range []struct {
		name string
		shape
	}{
		{"100 KiB in, 1 KiB out", shape{path: "/models/model", field: token, body: 100 << 10}},
		{"1 KiB in, 1 MiB out", shape{path: "/models/model?size=1048576", field: token, body: 1 << 10}},
	} {
		if err := b.pair(ctx, t, s.name, one, full, s.shape, nil); err != nil {
			return err
		}
	}
	t.print(b.out)
	return nil
}

// pair compares two proxies with one kind of request.
func (b *bench) pair(ctx context.Context, t *table, name string, one, other *process, s shape, config *tls.Config) error {
	first, err := one.crowd(bare, shape{path: s.path, body: s.body}, config)
	if err != nil {
		return err
	}
	defer first.close()
	second, err := other.crowd(fullBearer, s, config)
	if err != nil {
		return err
	}
	defer second.close()
	rounds, err := compare(ctx, []*crowd{first, second}, b.rounds(12), rushing)
	if err != nil {
		return err
	}
	for i, c := range []*crowd{first, second} {
		t.row(name+": "+c.name, micro(value(rounds, i, slice.perRequest).median), ratio(rounds, i, 0, slice.perRequest).text(i),
			number(value(rounds, i, slice.rate).median), ratio(rounds, i, 0, slice.rate).text(i))
	}
	return nil
}

// measureTLS compares connections over TLS that stay open.
func measureTLS(ctx context.Context, b *bench) error {
	file, pool, err := b.world.certificate()
	if err != nil {
		return err
	}
	one, err := b.world.bare(ctx, b.world.address, file)
	if err != nil {
		return err
	}
	full, err := b.world.amlproxy(ctx, kind{log: "info", limits: true, tls: file})
	if err != nil {
		return err
	}
	defer b.world.rest()
	token, err := b.world.bearer()
	if err != nil {
		return err
	}
	t := b.table("tls", "Over TLS", "", "CPU per request", "against bare", "requests/s", "against bare")
	config := &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if err := b.pair(ctx, t, "1 KiB, TLS 1.3", one, full, scoring(token), config); err != nil {
		return err
	}
	t.print(b.out)
	return nil
}
