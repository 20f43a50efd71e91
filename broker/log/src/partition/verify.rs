//! Reads, verifies and writes again one segment's unproven bytes (`durability.md` R4, R6).
//!
//! *Verify* means CRC and chain: the first base offset is the segment's name, each next is the last
//! plus one (greater only where holes are allowed), epochs never fall, and a batch ends exactly at
//! the mark. What always holds: only bytes that passed are written again, and they are the very
//! bytes that were checked, not a second reading of them.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::File;
use millrace_protocol::records::{self, BatchHeader};

use crate::segment::tail::End;
use crate::segment::walk::follows;

/// How much is read at once when batches are smaller.
const CHUNK: u64 = 1 << 20;

/// What to verify.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    /// The segment's name: the base offset of its first batch.
    pub(crate) base: i64,
    /// Whether offsets may be missing between batches.
    pub(crate) holes: bool,
    /// Where to begin: whole batches are proven up to here.
    pub(crate) from: End,
    /// The leader epoch of the batch before; -1 when unknown.
    pub(crate) epoch: i32,
    /// A batch must end exactly here; `None` when no mark lies in this segment.
    pub(crate) mark: Option<u64>,
    /// Whether the proven bytes are written again in place.
    pub(crate) write_again: bool,
}

/// Why verification ended where it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Everything in the file is good.
    End,
    /// The file ends inside a batch whose beginning looks right.
    Incomplete,
    /// Only zeros follow, up to the end of the file.
    Zeros,
    /// Something else: a wrong checksum, a broken chain, a header that is none.
    Bad(String),
}

/// What verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Whole good batches up to here.
    pub(crate) end: End,
    /// The leader epoch of the last good batch.
    pub(crate) epoch: i32,
    /// Why it ended there.
    pub(crate) stop: Stop,
}

/// What is done with the good bytes that begin at a byte of the file.
pub(crate) type Good<'a> = dyn FnMut(&[u8], u64) -> io::Result<()> + Send + 'a;

/// Verifies `file` from `check.from` to its end. `seen` is told every good batch, in order.
pub(crate) async fn verify(
    file: &Arc<dyn File>,
    check: &Check,
    seen: &mut (dyn FnMut(&BatchHeader) + Send),
) -> io::Result<Verified> {
    let len = file.len()?;
    let mut good = |bytes: &[u8], at: u64| {
        if check.write_again {
            write_again(file, bytes, at)?;
        }
        Ok(())
    };
    verify_upto(file, len, check, &mut good, seen).await
}

/// The same up to byte `len`, which the file has; `good` gets the bytes that passed, in order.
pub(crate) async fn verify_upto(
    file: &Arc<dyn File>,
    len: u64,
    check: &Check,
    good: &mut Good<'_>,
    seen: &mut (dyn FnMut(&BatchHeader) + Send),
) -> io::Result<Verified> {
    let mut proof = Proof::new(file, len, check);
    let stop = loop {
        let at = proof.chain.end.bytes;
        let (passed, stop) = proof.step(seen).await?;
        if !passed.is_empty() {
            good(&passed, at)?;
        }
        if let Some(stop) = stop {
            break stop;
        }
    };
    let end = proof.chain.end;
    let stop = match stop {
        Stop::Bad(_) | Stop::Incomplete if zeros(file, end.bytes, len).await? => Stop::Zeros,
        stop @ (Stop::End | Stop::Incomplete | Stop::Zeros | Stop::Bad(_)) => stop,
    };
    Ok(Verified {
        end,
        epoch: proof.chain.epoch,
        stop,
    })
}

/// A verification on its way through a file.
pub(crate) struct Proof<'a> {
    file: &'a Arc<dyn File>,
    len: u64,
    /// Most bytes read at once, where the first batch is not longer.
    chunk: u64,
    chain: Chain<'a>,
}

impl<'a> Proof<'a> {
    /// From `check.from` up to byte `len`, which the file has.
    pub(crate) fn new(file: &'a Arc<dyn File>, len: u64, check: &'a Check) -> Self {
        let chain = Chain {
            check,
            end: check.from,
            epoch: check.epoch,
        };
        Self {
            file,
            len,
            chunk: CHUNK,
            chain,
        }
    }

    /// The same, which reads so many bytes at once, and whole batches that are longer.
    pub(crate) fn in_chunks(self, bytes: u64) -> Self {
        Self {
            chunk: bytes,
            ..self
        }
    }

    /// Whole good batches up to here.
    pub(crate) fn end(&self) -> End {
        self.chain.end
    }

    /// The leader epoch of the last good batch.
    pub(crate) fn epoch(&self) -> i32 {
        self.chain.epoch
    }

    /// Reads on: some whole good batches, and why it ends behind them if it does. `seen` is told
    /// each of them.
    pub(crate) async fn step(
        &mut self,
        seen: &mut (dyn FnMut(&BatchHeader) + Send),
    ) -> io::Result<(Bytes, Option<Stop>)> {
        let at = self.chain.end.bytes;
        if at >= self.len {
            return Ok((Bytes::new(), Some(Stop::End)));
        }
        let chunk = read_batches(self.file, at, (self.len, self.chunk)).await?;
        let (passed, stop) = self.chain.take(&chunk, self.len, seen);
        let is_stuck = stop.is_none() && passed == 0;
        let stuck = || Stop::Bad("the file is shorter than it was".to_owned());
        Ok((chunk.slice(..passed), stop.or(is_stuck.then(stuck))))
    }
}

/// A chunk from `at` that holds at least the first batch whole, if the file does.
async fn read_batches(
    file: &Arc<dyn File>,
    at: u64,
    (len, chunk): (u64, u64),
) -> io::Result<Bytes> {
    let left = len - at;
    let chunk = file.read_at(at, left.min(chunk) as usize).await?;
    let size = BatchHeader::parse(&chunk).map_or(0, |header| header.size() as u64);
    if size > chunk.len() as u64 && size <= left {
        return file.read_at(at, size as usize).await;
    }
    Ok(chunk)
}

fn write_again(file: &Arc<dyn File>, bytes: &[u8], at: u64) -> io::Result<()> {
    let written = file.write_vectored_at(&[IoSlice::new(bytes)], at)?;
    if written < bytes.len() {
        return Err(io::Error::from(io::ErrorKind::WriteZero));
    }
    Ok(())
}

async fn zeros(file: &Arc<dyn File>, from: u64, len: u64) -> io::Result<bool> {
    let mut at = from;
    while at < len {
        let chunk = file.read_at(at, (len - at).min(CHUNK) as usize).await?;
        if chunk.is_empty() || chunk.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += chunk.len() as u64;
    }
    Ok(true)
}

/// How far the chain of batches is proven.
struct Chain<'a> {
    check: &'a Check,
    end: End,
    epoch: i32,
}

impl Chain<'_> {
    /// Takes the good batches off the front of `chunk`: how many bytes they are, and why it ended
    /// (`None`: the rest of the chunk needs more bytes behind it).
    fn take(
        &mut self,
        chunk: &[u8],
        len: u64,
        seen: &mut (dyn FnMut(&BatchHeader) + Send),
    ) -> (usize, Option<Stop>) {
        let mut at = 0;
        while at < chunk.len() {
            let rest = &chunk[at..];
            let left = len - self.end.bytes;
            if rest.len() < records::HEADER_LEN {
                let inside = (rest.len() as u64) < left;
                return (at, (!inside).then_some(Stop::Incomplete));
            }
            let header = match BatchHeader::parse(rest) {
                Ok(header) => header,
                Err(error) => return (at, Some(Stop::Bad(error.to_string()))),
            };
            if let Err(what) = self.follows(&header) {
                return (at, Some(Stop::Bad(what)));
            }
            let size = header.size();
            if size as u64 > left {
                return (at, Some(Stop::Incomplete));
            }
            if size > rest.len() {
                return (at, None);
            }
            if !records::verify_crc(&rest[..size]) {
                return (at, Some(Stop::Bad("wrong checksum".to_owned())));
            }
            seen(&header);
            at += size;
            self.end = End {
                bytes: self.end.bytes + size as u64,
                offset: header.last_offset().saturating_add(1),
            };
            self.epoch = self.epoch.max(header.partition_leader_epoch);
        }
        (at, None)
    }

    /// Whether a batch with this header may stand at the end of the chain.
    fn follows(&self, header: &BatchHeader) -> Result<(), String> {
        let next = if self.end.bytes == 0 {
            self.check.base
        } else {
            self.end.offset
        };
        let base = header.base_offset;
        if !follows(base, next, self.check.holes) {
            return Err(format!("base offset {base} where {next} is due"));
        }
        if header.partition_leader_epoch < self.epoch {
            return Err(format!(
                "leader epoch {} after {}",
                header.partition_leader_epoch, self.epoch
            ));
        }
        let end = self.end.bytes + header.size() as u64;
        if self
            .check
            .mark
            .is_some_and(|mark| self.end.bytes < mark && mark < end)
        {
            return Err("no batch ends at the durable mark".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
