//! Requests over blocking sockets, one thread for each connection: the lightest client there is. An
//! executor's hand-overs between threads are of the size of what one request in flight takes.
//!
//! What always holds: a connection has at most its depth of requests without an answer, and a latency
//! counts from when its request was sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_host::Mono;

use super::pass::{Measured, Run};
use crate::report::micros;
use crate::wire;

/// Sends the requests with these numbers over so many connections to `address`, and waits for every
/// answer.
pub(super) fn pass(
    run: &Run,
    address: SocketAddr,
    connections: usize,
    numbers: Range<usize>,
) -> Result<Measured, String> {
    let ends = (0..connections.max(1)).map(|_| wire::connect(address));
    let ends = ends.collect::<Result<Vec<_>, _>>()?;
    let start = run.host.clock.now().mono;
    let next = AtomicUsize::new(numbers.start);
    let measured = std::thread::scope(|scope| {
        let threads: Vec<_> = ends
            .into_iter()
            .map(|ends| scope.spawn(|| connection(run, ends, (&next, numbers.end), start)))
            .collect();
        let mut all = Measured::new()?;
        for thread in threads {
            let of_connection = thread.join();
            let of_connection = of_connection.map_err(|_| "a connection's thread died")??;
            all.join(&of_connection)?;
        }
        Ok::<_, String>(all)
    });
    let mut measured = measured?;
    measured.elapsed = run.host.clock.now().mono.since(start);
    Ok(measured)
}

/// One connection's part: the next number that no other has taken, below an end.
fn connection(
    run: &Run,
    (mut sender, mut receiver): (wire::Sender, wire::Receiver),
    (next, end): (&AtomicUsize, usize),
    start: Mono,
) -> Result<Measured, String> {
    let (clock, call) = (&run.host.clock, run.payload.call);
    let mut measured = Measured::new()?;
    let mut open = VecDeque::with_capacity(run.depth);
    loop {
        while open.len() < run.depth {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                break;
            }
            open.push_back(clock.now().mono);
            sender.send(call, &run.payload.of(number).body)?;
        }
        let Some(from) = open.pop_front() else {
            return Ok(measured);
        };
        let answer = receiver.receive(call)?;
        let now = clock.now().mono;
        measured
            .latencies
            .saturating_record(micros(now.since(from)));
        measured.over_time.add(now.since(start), run.batch_records);
        wire::accepted(call, answer)?;
    }
}
