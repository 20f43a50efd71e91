//! Sending a rope over TCP: gathered writes for bytes, `sendfile` for file slices.
//!
//! A worker sends only file bytes that are resident; what is not goes through the cold pool, one
//! chunk at a time, so that a slow device never holds a worker. A slice is vouched for before each
//! chunk, and after the last one before anything that follows it leaves.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::fs::sendfile;
use rustix::io::{Errno, ReadWriteFlags, preadv2, retry_on_intr};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pools::Pools;
use crate::{FileSlice, Piece, Rope};

/// Most byte pieces gathered into one system call.
const GATHER_MAX: usize = 64;

/// Most file bytes of one `sendfile`, and of one residency probe.
const CHUNK_BYTES: u64 = 256 << 10;

/// Sends all of `rope`, in order.
pub(super) async fn send(stream: &Arc<TcpStream>, pools: &Pools, rope: Rope) -> io::Result<()> {
    let mut rest = &rope[..];
    while let Some((first, others)) = rest.split_first() {
        match first {
            Piece::Bytes(_) => {
                let run = rest
                    .iter()
                    .take_while(|piece| matches!(piece, Piece::Bytes(_)))
                    .count();
                let (bytes, after) = rest.split_at(run);
                // Bytes followed by a file wait in the socket for its first ones: one packet.
                let more = after.iter().any(|piece| !piece.is_empty());
                send_bytes(stream, bytes, more).await?;
                rest = after;
            }
            Piece::File(slice) => {
                send_file(stream, pools, slice).await?;
                rest = others;
            }
        }
    }
    Ok(())
}

/// Tries `operation` whenever the socket may take bytes, until it does.
async fn when_writable<T>(
    stream: &TcpStream,
    mut operation: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        stream.writable().await?;
        match stream.try_io(Interest::WRITABLE, &mut operation) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn send_bytes(stream: &TcpStream, mut pieces: &[Piece], more: bool) -> io::Result<()> {
    let mut skip = 0;
    loop {
        while let Some(Piece::Bytes(first)) = pieces.first()
            && skip >= first.len()
        {
            skip -= first.len();
            pieces = &pieces[1..];
        }
        if pieces.is_empty() {
            return Ok(());
        }
        skip += when_writable(stream, || gather(stream, pieces, skip, more)).await?;
    }
}

/// One `sendmsg` of as many pieces as it takes, from byte `skip` of the first.
fn gather(stream: &TcpStream, pieces: &[Piece], skip: usize, more: bool) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); GATHER_MAX];
    let mut count = 0;
    for (slot, piece) in slices.iter_mut().zip(pieces) {
        if let Piece::Bytes(bytes) = piece {
            *slot = IoSlice::new(&bytes[if count == 0 { skip } else { 0 }..]);
            count += 1;
        }
    }
    let mut flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    flags.set(SendFlags::MORE, more || pieces.len() > GATHER_MAX);
    let sent = retry_on_intr(|| {
        sendmsg(
            stream,
            &slices[..count],
            &mut SendAncillaryBuffer::default(),
            flags,
        )
    })?;
    Ok(sent)
}

async fn send_file(stream: &Arc<TcpStream>, pools: &Pools, slice: &FileSlice) -> io::Result<()> {
    let Some(descriptor) = slice.file.descriptor() else {
        return send_copied(stream, slice).await;
    };
    let mut offset = slice.offset;
    let mut left = slice.len;
    while left > 0 {
        let count = left.min(CHUNK_BYTES);
        // The socket first: with a slow reader, what is resident or vouched for now may not be when
        // it matters.
        stream.writable().await?;
        slice.vouched.check()?;
        let sent = if resident(descriptor, offset, count) {
            try_send(stream, descriptor, offset, count)
        } else {
            let (stream, slice) = (Arc::clone(stream), slice.clone());
            let chunk = pools.cold.start(move || {
                // It may have waited for long, and a page that a failed sync dropped comes here.
                slice.vouched.check()?;
                let descriptor = slice.file.descriptor();
                let descriptor = descriptor.ok_or(io::ErrorKind::Unsupported)?;
                try_send(&stream, descriptor, offset, count)
            });
            chunk.await
        };
        match sent {
            Ok(0) => return Err(short(slice)),
            Ok(sent) => {
                offset += sent;
                left -= sent;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    slice.vouched.check()
}

fn try_send(
    stream: &TcpStream,
    file: BorrowedFd<'_>,
    mut offset: u64,
    count: u64,
) -> io::Result<u64> {
    stream.try_io(Interest::WRITABLE, || {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(retry_on_intr(|| sendfile(stream, file, Some(&mut offset), count))? as u64)
    })
}

/// Whether the first and the last byte of the range are in the page cache. The pages between
/// were nearly always read or written along with them; if not, the worker waits for the device
/// this once.
fn resident(file: BorrowedFd<'_>, offset: u64, count: u64) -> bool {
    let probe = |at| {
        let mut byte = [0];
        let read = retry_on_intr(|| {
            preadv2(
                file,
                &mut [IoSliceMut::new(&mut byte)],
                at,
                ReadWriteFlags::NOWAIT,
            )
        });
        !matches!(read, Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS))
    };
    probe(offset) && (count == 1 || probe(offset + (count - 1)))
}

/// For a file without a descriptor: through memory, a chunk at a time.
async fn send_copied(stream: &TcpStream, slice: &FileSlice) -> io::Result<()> {
    let mut done = 0;
    while done < slice.len {
        let count = (slice.len - done).min(CHUNK_BYTES) as usize;
        let bytes = slice.file.read_at(slice.offset + done, count).await?;
        if bytes.is_empty() {
            return Err(short(slice));
        }
        slice.vouched.check()?;
        done += bytes.len() as u64;
        send_bytes(stream, &[Piece::Bytes(bytes)], false).await?;
    }
    slice.vouched.check()
}

fn short(slice: &FileSlice) -> io::Error {
    let path = slice.file.path().display();
    let end = slice.offset + slice.len;
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{path} ends before byte {end}, which was promised to the other side"),
    )
}
