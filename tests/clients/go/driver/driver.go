// Package driver is what the Go clients' drivers in the client matrix share: the command line, the
// scenarios, and the records that are sent and held against what is read. A client is an
// implementation of Client.
//
// A driver is run as PROGRAM BOOTSTRAP SCENARIO PREFIX; every topic and group that it makes begins
// with PREFIX. It ends with 0 and the line `pass`, or `n/a: FUNCTION`; else it says what it expected.
package driver

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

// Patience is what any wait ends by.
const Patience = 60 * time.Second

var (
	// Bootstrap is where the broker listens.
	Bootstrap string
	scenario  string
	prefix    string
)

// Main runs the scenario of the command line with a client that is made then.
func Main(make func() Client) {
	Bootstrap, scenario, prefix = os.Args[1], os.Args[2], os.Args[3]
	run, known := map[string]func(Client){
		"topics":         topics,
		"codecs":         codecs,
		"records":        records,
		"idempotent":     idempotent,
		"assign":         assign,
		"group":          func(client Client) { share(client, Membership{}) },
		"cooperative":    func(client Client) { share(client, Membership{Cooperative: true}) },
		"static":         fixed,
		"offsets":        offsets,
		"delete-records": deleteRecords,
		"large":          large,
		"admin":          admin,
		"restart":        restarted,
	}[scenario]
	if !known {
		Fail("no scenario called %s", scenario)
	}
	run(make())
	fmt.Println("pass")
}

// Fail ends the program: something isn't as it must be.
func Fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

// Lacks ends the program: the client has no such function.
func Lacks(function string) {
	fmt.Println("n/a: " + function)
	os.Exit(0)
}

// Check fails by an error.
func Check(err error, what string) {
	if err != nil {
		Fail("%s: %v", what, err)
	}
}

// Must is a value that came without an error.
func Must[T any](value T, err error) T {
	Check(err, "it failed")
	return value
}

func expect(holds bool, format string, values ...any) {
	if !holds {
		Fail(format, values...)
	}
}

func equal[T comparable](found, wanted T, what string) {
	expect(found == wanted, "%s is %v, not %v", what, found, wanted)
}

// until waits for a condition, which is asked again and again.
func until(what string, holds func() bool) {
	for deadline := time.Now().Add(Patience); !holds(); time.Sleep(10 * time.Millisecond) {
		expect(time.Now().Before(deadline), "%s: not within %v", what, Patience)
	}
}

// restart has the broker killed and started again.
func restart() {
	fmt.Println("restart")
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	Check(err, "the answer to restart")
	equal(answer, "restarted\n", "the answer to restart")
}
