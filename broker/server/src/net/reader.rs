//! The incoming side of a connection: bytes to frames, within limits.
//!
//! What always holds: no more than [`FREE_BYTES`] of a frame are read before its length is
//! reserved, from the connection's own limit and from the node's budget; memory is at most in
//! proportion to the bytes the client sent (a frame of up to about 1 MiB gets its buffer at once
//! when it is reserved); a frame that was begun arrives whole before `request.read.timeout.ms`, or
//! the connection ends. While requests are in progress the socket is read only so far that a
//! hang-up is noticed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use millrace_host::{Alarm, Mono, ReadHalf};
use millrace_protocol::frame::{FrameLimits, LEN_BYTES, announced_len};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Shared;
use super::budget::{FREE_BYTES, Reservation};
use super::buffers::{LARGE_BYTES, STREAM_BYTES};
use crate::outcome::{Close, CloseReason};

/// Bytes read ahead of the requests in progress, only to see whether the client is still there.
const READ_AHEAD_BYTES: usize = 4 * 1024;

/// A frame that holds a part of the budget for which others wait must bring at least
/// [`PACE_BYTES`] in this time, or its connection ends.
const PACE_INTERVAL: Duration = Duration::from_secs(1);
const PACE_BYTES: usize = 64 * 1024;

/// One request as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Header and body, without the length field.
    pub(crate) bytes: Bytes,
    /// What the frame reserved; `None` for one short enough to need no reservation.
    pub(crate) held: Option<Held>,
}

/// What a long frame holds until its memory is free again.
#[derive(Debug)]
pub(crate) struct Held {
    _connection: OwnedSemaphorePermit,
    _budget: Reservation,
}

/// Reads one connection.
pub(crate) struct Reader {
    read: Box<dyn ReadHalf>,
    buf: BytesMut,
    shared: Arc<Shared>,
    /// Bytes in progress on this connection, in KiB.
    own_units: Arc<Semaphore>,
    own_units_total: u32,
    alarm: Alarm,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Reader {
    /// Reads from `read` until `end` is cancelled.
    pub(crate) fn new(
        shared: Arc<Shared>,
        read: Box<dyn ReadHalf>,
        end: CancellationToken,
    ) -> Self {
        let units = shared.limits.connection_bytes_max.div_ceil(1024);
        let own_units_total = u32::try_from(units).unwrap_or(u32::MAX).max(1);
        Self {
            read,
            buf: BytesMut::new(),
            own_units: Arc::new(Semaphore::new(own_units_total as usize)),
            own_units_total,
            alarm: Alarm::new(Arc::clone(&shared.host.clock)),
            end: Box::pin(end.cancelled_owned()),
            shared,
        }
    }

    /// The next frame, whole.
    pub(crate) async fn frame(&mut self) -> Result<Frame, Close> {
        if self.buf.is_empty() {
            self.alarm
                .set(Some(self.now() + self.shared.limits.idle_timeout));
            self.fill(STREAM_BYTES, CloseReason::Idle).await?;
        }
        let deadline = self.now() + self.shared.limits.read_timeout;
        self.alarm.set(Some(deadline));
        let len = loop {
            if let Some(len) = self.announced_len()? {
                break LEN_BYTES + len;
            }
            self.fill(STREAM_BYTES, CloseReason::ReadTimeout).await?;
        };
        if len <= FREE_BYTES {
            return self.short_frame(len).await;
        }
        self.long_frame(len, deadline).await
    }

    /// Waits for `event`, noticing the end of the connection and a client that hangs up.
    pub(crate) async fn while_watching<T>(
        &mut self,
        event: impl Future<Output = T>,
    ) -> Result<T, Close> {
        let mut event = pin!(event);
        poll_fn(|cx| {
            if let Poll::Ready(value) = event.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            self.poll_end(cx).map(Err)
        })
        .await
    }

    /// Takes back the memory of a frame that nobody reads any more.
    pub(crate) fn recycle(&self, bytes: Bytes) -> Result<(), Bytes> {
        self.shared.buffers.give(bytes.try_into_mut()?);
        Ok(())
    }

    /// The length of the frame that is being read, its length field not counted.
    fn announced_len(&self) -> Result<Option<usize>, Close> {
        let limits = FrameLimits {
            bytes_max: self.shared.limits.request_bytes_max,
            ..FrameLimits::REQUEST
        };
        match announced_len(&self.buf, limits) {
            Ok(len) => Ok(len.map(|len| len as usize)),
            Err(error) => {
                let detail = format!("{error} (socket.request.max.bytes). Is this a Kafka client?");
                Err(Close::new(CloseReason::FrameLength, detail))
            }
        }
    }

    fn now(&self) -> Mono {
        self.shared.host.clock.now().mono
    }

    async fn short_frame(&mut self, len: usize) -> Result<Frame, Close> {
        while self.buf.len() < len {
            self.make_room(len);
            self.fill(STREAM_BYTES, CloseReason::ReadTimeout).await?;
        }
        let mut frame = self.buf.split_to(len);
        frame.advance(LEN_BYTES);
        Ok(Frame {
            bytes: frame.freeze(),
            held: None,
        })
    }

    async fn long_frame(&mut self, len: usize, deadline: Mono) -> Result<Frame, Close> {
        self.make_room(FREE_BYTES);
        while self.buf.len() < FREE_BYTES {
            self.fill(FREE_BYTES - self.buf.len(), CloseReason::ReadTimeout)
                .await?;
        }
        let held = self.reserve(len).await?;
        let mut large = if len <= LARGE_BYTES {
            self.shared.buffers.large()
        } else {
            BytesMut::with_capacity(LARGE_BYTES)
        };
        large.extend_from_slice(&self.buf);
        let short = std::mem::replace(&mut self.buf, large);
        self.shared.buffers.give(short);
        self.rest_of_long_frame(len, deadline).await?;
        let mut frame = std::mem::take(&mut self.buf);
        frame.advance(LEN_BYTES);
        Ok(Frame {
            bytes: frame.freeze(),
            held: Some(held),
        })
    }

    /// Room for the frame, on this connection and on the node.
    async fn reserve(&mut self, len: usize) -> Result<Held, Close> {
        let shared = Arc::clone(&self.shared);
        let units = u32::try_from(len.div_ceil(1024)).unwrap_or(u32::MAX);
        let units = units.min(self.own_units_total);
        let own = Arc::clone(&self.own_units);
        let reserving = async move {
            let own = own.acquire_many_owned(units).await;
            let connection = own.expect("the connection's semaphore is never closed");
            let budget = shared.budget.reserve(len as u64).await;
            Held {
                _connection: connection,
                _budget: budget,
            }
        };
        let mut reserving = pin!(reserving);
        poll_fn(|cx| {
            if let Poll::Ready(held) = reserving.as_mut().poll(cx) {
                return Poll::Ready(Ok(held));
            }
            self.poll_stop(cx, CloseReason::ReadTimeout).map(Err)
        })
        .await
    }

    async fn rest_of_long_frame(&mut self, len: usize, deadline: Mono) -> Result<(), Close> {
        let mut pace_at = self.now() + PACE_INTERVAL;
        let mut pace_len = self.buf.len();
        while self.buf.len() < len {
            let missing = len - self.buf.len();
            if self.buf.capacity() == self.buf.len() {
                // Twice what the client sent so far.
                self.buf.reserve(missing.min(self.buf.len()));
            }
            self.alarm.set(Some(deadline.min(pace_at)));
            let limit = missing.min(self.buf.capacity() - self.buf.len());
            match self.fill(limit, CloseReason::ReadTimeout).await {
                Ok(()) => {}
                Err(close) if close.reason != CloseReason::ReadTimeout => return Err(close),
                Err(close) => {
                    let now = self.now();
                    let brought = self.buf.len() - pace_len;
                    let too_slow = brought < PACE_BYTES && self.shared.budget.is_wanted();
                    if now >= deadline || too_slow {
                        return Err(close);
                    }
                    pace_at = now + PACE_INTERVAL;
                    pace_len = self.buf.len();
                }
            }
        }
        Ok(())
    }

    /// Makes the stream buffer hold `len` bytes, at most [`STREAM_BYTES`], in one piece.
    fn make_room(&mut self, len: usize) {
        if self.buf.capacity() >= len || self.buf.try_reclaim(STREAM_BYTES) {
            return;
        }
        // Requests in progress still read the old buffer; it goes when they are done.
        let mut fresh = self.shared.buffers.stream();
        fresh.extend_from_slice(&self.buf);
        self.buf = fresh;
    }

    /// Reads what is there, at least one byte and at most `limit`. `late` is the reason when the
    /// alarm rings first.
    async fn fill(&mut self, limit: usize, late: CloseReason) -> Result<(), Close> {
        poll_fn(|cx| {
            if let Poll::Ready(close) = self.poll_stop(cx, late) {
                return Poll::Ready(Err(close));
            }
            self.poll_fill(cx, limit)
        })
        .await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<Result<(), Close>> {
        if self.buf.capacity() - self.buf.len() < limit.min(READ_AHEAD_BYTES) {
            self.make_room(STREAM_BYTES.min(self.buf.len() + limit));
        }
        let limit = limit.min(self.buf.capacity() - self.buf.len());
        match self.read.poll_read(cx, &mut self.buf, limit) {
            Poll::Pending => {
                if self.buf.is_empty() {
                    // An idle connection holds no buffer.
                    let buf = std::mem::take(&mut self.buf);
                    self.shared.buffers.give(buf);
                }
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => {
                Poll::Ready(Err(Close::new(CloseReason::PeerGone, "the client closed")))
            }
            Poll::Ready(Ok(count)) => {
                self.shared.metrics.received_bytes.inc_by(count as u64);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                Poll::Ready(Err(Close::new(CloseReason::PeerGone, error.to_string())))
            }
        }
    }

    fn poll_stop(&mut self, cx: &mut Context<'_>, late: CloseReason) -> Poll<Close> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Close::new(CloseReason::Stopping, "the broker stops"));
        }
        if self.alarm.poll(cx).is_ready() {
            let detail = if late == CloseReason::Idle {
                "no request for connections.max.idle.ms"
            } else {
                "a request did not arrive whole within request.read.timeout.ms"
            };
            return Poll::Ready(Close::new(late, detail));
        }
        Poll::Pending
    }

    /// Ready when the connection is to end while requests are in progress.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Close::new(CloseReason::Stopping, "the broker stops"));
        }
        while self.buf.len() < READ_AHEAD_BYTES {
            match self.poll_fill(cx, READ_AHEAD_BYTES - self.buf.len()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(close)) => return Poll::Ready(close),
            }
        }
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.buffers.give(std::mem::take(&mut self.buf));
    }
}
