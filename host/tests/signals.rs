//! The two signals that ask for a clean end. A process of its own, since signals are everybody's.

use std::time::Duration;

use millrace_host::real::{Options, RealHost, Signal, Signals};
use rustix::process::{Signal as Number, getpid, kill_process};

#[test]
fn both_signals_are_told_and_end_nothing_by_themselves() {
    let machine = RealHost::start(&Options::default()).unwrap();
    machine.block_on(async {
        let mut signals = Signals::listen().unwrap();
        for (number, told) in [
            (Number::TERM, Signal::Terminate),
            (Number::INT, Signal::Interrupt),
        ] {
            kill_process(getpid(), number).unwrap();
            assert_eq!(signals.next().await, told);
        }
    });
    machine.stop(Duration::from_secs(5));
}
