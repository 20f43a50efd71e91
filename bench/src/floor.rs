//! What the machine itself needs: the same bytes received, checked, written, synced and sent with
//! nothing of a broker around them. Every figure of the broker is read against these.

mod echo;
mod passing;

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use millrace_host::Clock;

use crate::report::{figure, latencies, per_second};
use crate::text;

/// What the floor is measured with.
#[derive(Args, Clone, Debug)]
pub(crate) struct FloorArguments {
    /// Where the files go: the file system that a broker would use.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Only these.
    #[arg(long, value_delimiter = ',')]
    work: Vec<Work>,
    /// Bytes of each batch; the kinds that sync are measured with each of these.
    #[arg(long, value_delimiter = ',', default_value = "1000000")]
    batch_bytes: Vec<usize>,
    /// How many batches each pass moves.
    #[arg(long, default_value_t = 1000)]
    batches: usize,
    /// How many passes of each kind; the median is printed.
    #[arg(long, default_value_t = 3)]
    passes: usize,
    /// What a record is, where something is given for each.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Drops a file that is sent from the page cache first.
    #[arg(long)]
    cold: bool,
}

/// What one pass of the floor does with each batch.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Reads it from the socket.
    Receive,
    /// Reads it, checks its CRC-32C, writes it to a file.
    Write,
    /// The same, and a sync after each batch.
    WriteSync,
    /// Sends it from a file with `sendfile`.
    Sendfile,
    /// As `write-sync`, then answers; the next batch is sent behind the answer.
    EchoSync,
}

/// One measured pass.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    /// Bytes moved.
    bytes: u64,
    /// Batches moved.
    batches: u64,
    /// Wall time.
    elapsed: Duration,
    /// CPU time of the end that does what a broker would.
    cpu: Duration,
    /// CPU time of both ends, in this process.
    cpu_both: Duration,
    /// From the first byte of a batch to its answer, in microseconds, where there is one.
    latencies: Option<Histogram<u64>>,
}

/// What a pass is of.
#[derive(Clone, Copy, Debug)]
struct Kind {
    work: Work,
    batch_bytes: usize,
    batches: usize,
    cold: bool,
}

/// Measures every kind of work and prints the median pass of each.
pub(crate) fn run(clock: &dyn Clock, arguments: &FloorArguments) -> Result<(), String> {
    let dir = tempfile::tempdir_in(&arguments.dir)
        .map_err(|error| format!("{}: {error}", arguments.dir.display()))?;
    let works = if arguments.work.is_empty() {
        Work::value_variants()
    } else {
        &arguments.work[..]
    };
    // One kind alone needs no name: its figures are called what a broker's are.
    let is_only = works.len() == 1 && arguments.batch_bytes.len() == 1;
    for work in works {
        let sizes = match work {
            Work::WriteSync | Work::EchoSync => &arguments.batch_bytes[..],
            Work::Receive | Work::Write | Work::Sendfile => &arguments.batch_bytes[..1],
        };
        for batch_bytes in sizes {
            let kind = Kind {
                work: *work,
                batch_bytes: *batch_bytes,
                batches: arguments.batches.max(1),
                cold: arguments.cold,
            };
            let mut passes = Vec::new();
            for _ in 0..arguments.passes.max(1) {
                passes.push(measure(clock, kind, dir.path()).map_err(text)?);
            }
            passes.sort_by_key(|pass| pass.elapsed);
            let name = if is_only {
                String::new()
            } else {
                format!("{}, {batch_bytes} B: ", work.name())
            };
            passes[passes.len() / 2].print(&name, arguments.record_bytes);
        }
    }
    Ok(())
}

impl Pass {
    fn print(&self, name: &str, record_bytes: usize) {
        let rate = |count| per_second(count, self.elapsed);
        let mb = format!("{:.1}", rate(self.bytes) / 1e6);
        figure(&format!("{name}values per second"), &mb, "MB/s");
        figure(&format!("{name}bytes per second"), &mb, "MB/s");
        let batches = format!("{:.0}", rate(self.batches));
        figure(&format!("{name}batches per second"), batches, "/s");
        let records = self.bytes as f64 / record_bytes.max(1) as f64;
        let of_records = format!("{:.0}", records / self.elapsed.as_secs_f64().max(1e-9));
        figure(&format!("{name}records per second"), of_records, "/s");
        // The names of a broker's figures, so that rows of a table can stand side by side.
        for (what, cpu) in [("broker", self.cpu), ("both ends'", self.cpu_both)] {
            let cpu = cpu.as_secs_f64();
            let each = format!("{:.3}", cpu * 1e6 / records);
            figure(&format!("{name}{what} cpu per million"), each, "s");
            let each = format!("{:.3}", cpu * 1e9 / self.bytes as f64);
            figure(&format!("{name}{what} cpu per GB"), each, "s");
        }
        if let Some(histogram) = &self.latencies {
            latencies(&format!("{name}latency"), histogram);
        }
    }
}

impl Work {
    /// The row's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Write => "receive, crc, write",
            Self::WriteSync => "receive, crc, write, sync",
            Self::Sendfile => "sendfile",
            Self::EchoSync => "echo with write and sync",
        }
    }
}

/// Moves batches over loopback in the way of a kind; files go to `dir`.
fn measure(clock: &dyn Clock, kind: Kind, dir: &Path) -> io::Result<Pass> {
    let path = dir.join("floor");
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)?;
    let pass = match kind.work {
        Work::EchoSync => echo::pass(clock, kind, &file),
        Work::Receive | Work::Write | Work::WriteSync | Work::Sendfile => {
            passing::pass(clock, kind, &file)
        }
    };
    std::fs::remove_file(&path)?;
    pass
}
