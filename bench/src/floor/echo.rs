//! One batch in flight: it is received, checked, written, synced and answered, then comes the next.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

use millrace_host::Clock;

use super::passing::{ends, pattern};
use super::{Kind, Pass};
use crate::cpu::{cpu_time, thread_cpu_time};
use crate::report::{micros, new_histogram};

/// What an answer to a small produce request takes on the wire.
const ANSWER_BYTES: usize = 64;

/// Sends the batches one by one.
pub(super) fn pass(clock: &dyn Clock, kind: Kind, file: &File) -> io::Result<Pass> {
    let batch = pattern(kind.batch_bytes);
    let (sender, mut receiver) = ends()?;
    let mut latencies = new_histogram().map_err(io::Error::other)?;
    let before = (clock.now().mono, cpu_time(std::process::id())?);
    let cpu = std::thread::scope(|scope| {
        let answering = scope.spawn(move || answer_all(kind, &mut receiver, file));
        // Closed when this end fails, so that the other one does not wait.
        let mut sender = sender;
        let mut answer = [0; ANSWER_BYTES];
        for _ in 0..kind.batches {
            let sent = clock.now().mono;
            sender.write_all(&batch)?;
            sender.read_exact(&mut answer)?;
            latencies.saturating_record(micros(clock.now().mono.since(sent)));
        }
        answering
            .join()
            .map_err(|_| io::Error::other("the answering side panicked"))?
    })?;
    Ok(Pass {
        bytes: (kind.batch_bytes * kind.batches) as u64,
        batches: kind.batches as u64,
        elapsed: clock.now().mono.since(before.0),
        cpu,
        cpu_both: cpu_time(std::process::id())?.saturating_sub(before.1),
        latencies: Some(latencies),
    })
}

/// Answers every batch; gives the CPU time of doing it.
fn answer_all(kind: Kind, end: &mut (impl Read + Write), mut file: &File) -> io::Result<Duration> {
    let before = thread_cpu_time()?;
    let mut buf = vec![0; kind.batch_bytes];
    let mut answer = [0; ANSWER_BYTES];
    for _ in 0..kind.batches {
        end.read_exact(&mut buf)?;
        answer[..4].copy_from_slice(&crc32c::crc32c(&buf).to_be_bytes());
        file.write_all(&buf)?;
        file.sync_data()?;
        end.write_all(&answer)?;
    }
    Ok(thread_cpu_time()?.saturating_sub(before))
}
