// Says what go-spiffe gets from a Workload API, for tests/judges.rs.
//
//	judge fetch ENDPOINT    asks once, says one line, and ends
//	judge watch ENDPOINT    says a line for each state and each error, until standard input ends
//
// A line is "svid ID certificates N serial HEX bundles DOMAIN:AUTHORITIES,… expires SECONDS" for a state whose SVID is
// verified against the bundle of its trust domain, and "error REASON" for anything else.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// What has not been answered by then never will be.
const limit = 20 * time.Second

func main() {
	if len(os.Args) != 3 || (os.Args[1] != "fetch" && os.Args[1] != "watch") {
		fmt.Fprintln(os.Stderr, "usage: judge fetch|watch ENDPOINT")
		os.Exit(2)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(os.Args[2]))
	if err != nil {
		report(err)
		os.Exit(1)
	}
	defer client.Close()
	if os.Args[1] == "fetch" {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		state, err := client.FetchX509Context(ctx)
		if err != nil {
			report(err)
			return
		}
		judge(state)
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := client.WatchX509Context(ctx, watcher{}); ctx.Err() == nil {
		report(err)
	}
}

type watcher struct{}

func (watcher) OnX509ContextUpdate(state *workloadapi.X509Context) { judge(state) }

func (watcher) OnX509ContextWatchError(err error) { report(err) }

// The default SVID, once it is verified.
func judge(state *workloadapi.X509Context) {
	svid := state.DefaultSVID()
	id, _, err := x509svid.Verify(svid.Certificates, state.Bundles)
	if err != nil {
		report(err)
		return
	}
	if id != svid.ID {
		report(fmt.Errorf("verified as %s, but parsed as %s", id, svid.ID))
		return
	}
	leaf := svid.Certificates[0]
	var bundles []string
	for _, bundle := range state.Bundles.Bundles() {
		bundles = append(bundles, fmt.Sprintf("%s:%d", bundle.TrustDomain().Name(), len(bundle.X509Authorities())))
	}
	sort.Strings(bundles)
	fmt.Printf("svid %s certificates %d serial %x bundles %s expires %d\n",
		id, len(svid.Certificates), leaf.SerialNumber, strings.Join(bundles, ","), leaf.NotAfter.Unix())
}

// One line, whatever the error has.
func report(err error) {
	fmt.Println("error", strings.Join(strings.Fields(err.Error()), " "))
}
