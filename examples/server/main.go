// Server is a platform in one program: an engine on a file, behind the paths of IO's API, with the organizations, services and citizens of
// a seed.
//
//	server [-addr HOST:PORT] [-seed FILE] [-db FILE]
//
// It is for trying clients out, and listens on this machine alone: whoever has a token of the seed is that citizen. Without -seed it takes
// the example that is part of the program, without -db a database that is removed at the end.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/remotecontent"
)

//go:embed seed.json
var example []byte

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(underGoRun(ctx), os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// underGoRun is ctx, which also ends with the go command that runs the program from its cache: that one keeps SIGTERM to itself.
func underGoRun(ctx context.Context) context.Context {
	exe, err := os.Executable()
	if err != nil || !strings.Contains(exe, "go-build") {
		return ctx
	}
	ctx, stop := context.WithCancel(ctx)
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent {
			time.Sleep(50 * time.Millisecond)
		}
		stop()
	}()
	return ctx
}

// run is the program without its process; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "address of this machine to listen at; port 0: any that is free")
	file := flags.String("seed", "", "JSON file with organizations, services and citizens (default: an example)")
	db := flags.String("db", "", "database file, made if missing (default: one that is removed at the end)")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && flags.NArg() > 0:
		fmt.Fprintln(stderr, "server: there are flags, and no arguments")
		return 2
	case err != nil:
		return 2
	}
	if err := server(ctx, *addr, *file, *db, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "server:", err)
		return 1
	}
	return 0
}

func server(ctx context.Context, addr, file, db string, stdout, stderr io.Writer) (err error) {
	s, err := readSeed(file)
	if err != nil {
		return err
	}
	ln, err := listen(addr)
	if err != nil {
		return err
	}
	defer ln.Close()

	// The engine: one file, two channels that stand for providers of e-mail and push, and a gateway that stands for pagoPA.
	if db == "" {
		dir, err := os.MkdirTemp("", "server-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		db = filepath.Join(dir, "server.db")
	}
	logger := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	delivered := appio.ChannelFunc(func(context.Context, appio.Delivery) error { return nil })
	creditors := &sandbox{debts: s.debts, paid: map[pagopa.RPTID]time.Time{}}
	eng, err := appio.Open(db, &appio.Options{Logger: logger, FeedDays: 30, Payments: creditors, Channels: []appio.Route{
		{Name: appio.Email, Channel: delivered, Unique: true},
		{Name: appio.Push, Channel: delivered, Default: appio.Generic, Secure: appio.Generic, Unvalidated: true, Interrupts: true, ByCode: true},
	}})
	if err != nil {
		return err
	}
	defer func() {
		if e := eng.Close(); err == nil {
			err = e
		}
	}()
	keys, err := s.plant(ctx, eng)
	if err != nil {
		return err
	}
	// What messages have in their senders' systems is fetched from systems on this machine, too, at any port and without TLS.
	remote, err := remotecontent.New(eng, &remotecontent.Options{
		Insecure: true, Ports: everyPort(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	})
	if err != nil {
		return err
	}

	// The door. Deliveries are made beside it, until both are told to stop.
	mail := mailbox{"http://" + ln.Addr().String() + "/confirm/", stderr}
	paths := http.NewServeMux()
	paths.Handle("/", translated(keys, httpapi.Handler(eng, &httpapi.Options{Citizen: s.login, Validate: mail.validate, Remote: remote, Logger: logger})))
	paths.HandleFunc("GET /confirm/{token}", confirm(eng))
	paths.Handle("/operator/", office{eng, creditors}.routes())
	srv := &http.Server{
		Handler:           paths,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return eng.Run(ctx) })
	g.Go(func() error { return handOut(ctx, eng, db+".downloads", stderr) })
	g.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if srv.Shutdown(last) != nil { // a client that does not end
			return srv.Close()
		}
		return nil
	})
	fmt.Fprintf(stdout, "listening on http://%s\n", ln.Addr())
	return g.Wait()
}

// listen listens at an address that only this machine can reach: the seed's keys and tokens are no secrets.
func listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("-addr must be HOST:PORT: %w", err)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return nil, errors.New("-addr must be a loopback address, such as 127.0.0.1:8080: this example lets everybody in who reaches it")
	}
	return net.Listen("tcp", net.JoinHostPort(host, port))
}

func everyPort() (all []uint16) {
	for p := range 1 << 16 {
		all = append(all, uint16(p))
	}
	return all
}
