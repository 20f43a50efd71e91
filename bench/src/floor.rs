//! What the machine itself needs: the same bytes received, checked, written, synced and sent with
//! nothing of a broker around them. Every figure of the broker is read against these.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_host::Clock;

use clap::Args;

use crate::cpu::cpu_time;
use crate::payload::Noise;
use crate::report::{figure, per_second};
use crate::text;

/// What the floor is measured with.
#[derive(Args, Clone, Debug)]
pub(crate) struct FloorArguments {
    /// Where the files go: the file system that a broker would use.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Bytes of each batch.
    #[arg(long, default_value_t = 1_000_000)]
    batch_bytes: usize,
    /// How many batches each pass moves.
    #[arg(long, default_value_t = 1000)]
    batches: usize,
    /// How many passes of each kind; the median is printed.
    #[arg(long, default_value_t = 3)]
    passes: usize,
}

/// Measures every kind of work and prints the median pass of each.
pub(crate) fn run(clock: &dyn Clock, arguments: &FloorArguments) -> Result<(), String> {
    let dir = tempfile::tempdir_in(&arguments.dir)
        .map_err(|error| format!("{}: {error}", arguments.dir.display()))?;
    for work in Work::ALL {
        let mut passes = Vec::new();
        for _ in 0..arguments.passes.max(1) {
            let pass = measure(
                clock,
                work,
                dir.path(),
                arguments.batch_bytes,
                arguments.batches,
            );
            passes.push(pass.map_err(text)?);
        }
        passes.sort_by_key(|pass| pass.elapsed);
        let median = passes[passes.len() / 2];
        let rate = per_second(median.bytes, median.elapsed) / 1e6;
        figure(work.name(), format!("{rate:.0}"), "MB/s");
        let cpu = median.cpu.as_secs_f64() * KIB_MILLION / median.bytes as f64;
        figure("  cpu per million KiB", format!("{cpu:.3}"), "s, both ends");
    }
    Ok(())
}

/// Bytes of a million records of 1 KiB.
const KIB_MILLION: f64 = 1024.0 * 1e6;

/// What one pass of the floor does with each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Reads it from the socket.
    Receive,
    /// Reads it, checks its CRC-32C, writes it to a file.
    Write,
    /// The same, and a sync after each batch.
    WriteSync,
    /// Sends it from a file with `sendfile`.
    Sendfile,
}

impl Work {
    /// All of them, in the order in which they are printed.
    pub(crate) const ALL: [Self; 4] = [Self::Receive, Self::Write, Self::WriteSync, Self::Sendfile];

    /// The row's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Write => "receive, crc, write",
            Self::WriteSync => "receive, crc, write, sync",
            Self::Sendfile => "sendfile",
        }
    }
}

/// One measured pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    /// Bytes moved.
    pub(crate) bytes: u64,
    /// Wall time.
    pub(crate) elapsed: Duration,
    /// CPU time of both ends, in this process.
    pub(crate) cpu: Duration,
}

/// Moves `batches` batches of `batch_bytes` over loopback in the way of `work`; files go to `dir`.
fn measure(
    clock: &dyn Clock,
    work: Work,
    dir: &Path,
    batch_bytes: usize,
    batches: usize,
) -> io::Result<Pass> {
    let batch = pattern(batch_bytes);
    let path = dir.join("floor");
    let file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)?;
    if work == Work::Sendfile {
        (&file).write_all(&batch)?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    sender.set_nodelay(true)?;
    let before = (clock.now().mono, cpu_time(std::process::id())?);
    let checksum = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send_all(work, sender, &file, &batch, batches));
        let received = receive_all(work, receiver, &file, batch_bytes);
        sending
            .join()
            .map_err(|_| io::Error::other("the sending side panicked"))??;
        received
    })?;
    let after = (clock.now().mono, cpu_time(std::process::id())?);
    std::fs::remove_file(&path)?;
    if checksum.bytes != (batch_bytes * batches) as u64 {
        return Err(io::Error::other("the floor lost bytes"));
    }
    Ok(Pass {
        bytes: checksum.bytes,
        elapsed: after.0.since(before.0),
        cpu: after.1.saturating_sub(before.1),
    })
}

/// Incompressible bytes that are the same in every run.
fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Noise(0x9e37_79b9_7f4a_7c15).fill(&mut bytes);
    bytes
}

fn send_all(
    work: Work,
    mut sender: TcpStream,
    file: &File,
    batch: &[u8],
    batches: usize,
) -> io::Result<()> {
    for _ in 0..batches {
        if work == Work::Sendfile {
            let mut offset = 0;
            while (offset as usize) < batch.len() {
                let left = batch.len() - offset as usize;
                let sent = rustix::fs::sendfile(sender.as_fd(), file, Some(&mut offset), left)?;
                if sent == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        } else {
            sender.write_all(batch)?;
        }
    }
    sender.shutdown(std::net::Shutdown::Write)
}

/// What the receiving side saw; the CRC is folded so that the work can't be optimised away.
#[derive(Debug, Default)]
struct Received {
    bytes: u64,
    crc: u32,
}

fn receive_all(
    work: Work,
    mut receiver: TcpStream,
    file: &File,
    batch_bytes: usize,
) -> io::Result<Received> {
    let mut buf = vec![0; batch_bytes];
    let mut received = Received::default();
    loop {
        let mut filled = 0;
        while filled < buf.len() {
            match receiver.read(&mut buf[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            std::hint::black_box(received.crc);
            return Ok(received);
        }
        received.bytes += filled as u64;
        if matches!(work, Work::Write | Work::WriteSync) {
            received.crc ^= crc32c::crc32c(&buf[..filled]);
            (&mut &*file).write_all(&buf[..filled])?;
        }
        if work == Work::WriteSync {
            file.sync_data()?;
        }
    }
}
