//! Batches that go one way: from memory or a file on one end to memory or a file on the other.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use millrace_host::Clock;
use rustix::fs::{Advice, fadvise, sendfile};

use super::{Kind, Pass, Work};
use crate::cpu::{cpu_time, thread_cpu_time};
use crate::payload::Noise;

/// Two ends of a connection over loopback: who sends, who receives.
pub(super) fn ends() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    let (receiver, _) = listener.accept()?;
    sender.set_nodelay(true)?;
    receiver.set_nodelay(true)?;
    Ok((sender, receiver))
}

/// Incompressible bytes that are the same in every run.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Noise(0x9e37_79b9_7f4a_7c15).fill(&mut bytes);
    bytes
}

/// Moves the batches.
pub(super) fn pass(clock: &dyn Clock, kind: Kind, file: &File) -> io::Result<Pass> {
    let batch = pattern(kind.batch_bytes);
    if kind.work == Work::Sendfile {
        fill(file, &batch, kind)?;
    }
    let (sender, receiver) = ends()?;
    let before = (clock.now().mono, cpu_time(std::process::id())?);
    let (sent, received) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| send_all(kind, sender, file, &batch));
        let received = receive_all(kind, receiver, file);
        let sent = sending
            .join()
            .map_err(|_| io::Error::other("the sending side panicked"))?;
        Ok::<_, io::Error>((sent?, received?))
    })?;
    let elapsed = clock.now().mono.since(before.0);
    let cpu_both = cpu_time(std::process::id())?.saturating_sub(before.1);
    if received.bytes != (kind.batch_bytes * kind.batches) as u64 {
        return Err(io::Error::other("the floor lost bytes"));
    }
    Ok(Pass {
        bytes: received.bytes,
        batches: kind.batches as u64,
        elapsed,
        cpu: if kind.work == Work::Sendfile {
            sent
        } else {
            received.cpu
        },
        cpu_both,
        latencies: None,
    })
}

/// Writes what will be sent.
fn fill(mut file: &File, batch: &[u8], kind: Kind) -> io::Result<()> {
    for _ in 0..kind.batches {
        file.write_all(batch)?;
    }
    if kind.cold {
        file.sync_all()?;
        fadvise(file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

/// Sends all; gives the CPU time of doing it.
fn send_all(kind: Kind, mut sender: TcpStream, file: &File, batch: &[u8]) -> io::Result<Duration> {
    let before = thread_cpu_time()?;
    let mut offset = 0;
    for _ in 0..kind.batches {
        if kind.work == Work::Sendfile {
            let upto = offset + batch.len() as u64;
            while offset < upto {
                let left = (upto - offset) as usize;
                if sendfile(sender.as_fd(), file, Some(&mut offset), left)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        } else {
            sender.write_all(batch)?;
        }
    }
    sender.shutdown(std::net::Shutdown::Write)?;
    Ok(thread_cpu_time()?.saturating_sub(before))
}

/// What the receiving side saw.
struct Received {
    bytes: u64,
    cpu: Duration,
}

fn receive_all(kind: Kind, mut receiver: TcpStream, mut file: &File) -> io::Result<Received> {
    let before = thread_cpu_time()?;
    let mut buf = vec![0; kind.batch_bytes];
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let mut filled = 0;
        while filled < buf.len() {
            match receiver.read(&mut buf[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            // Folded, so that the work can't be optimised away.
            std::hint::black_box(crc);
            let cpu = thread_cpu_time()?.saturating_sub(before);
            return Ok(Received { bytes, cpu });
        }
        bytes += filled as u64;
        if matches!(kind.work, Work::Write | Work::WriteSync) {
            crc ^= crc32c::crc32c(&buf[..filled]);
            file.write_all(&buf[..filled])?;
        }
        if kind.work == Work::WriteSync {
            file.sync_data()?;
        }
    }
}
