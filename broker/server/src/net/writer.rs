//! The outgoing side of a connection: replies in the order of their requests.
//!
//! A reply that is not complete yet holds back all behind it. Replies that are complete together
//! are sent together. What a request reserved is freed when its reply has been handed over, so a
//! client that does not read its replies is not read from either. A client that is slow to take
//! replies for whose room others wait loses its connection.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_host::{Alarm, BoxFuture, Mono, Piece, Rope, WriteHalf};
use millrace_probe::{Bug, planted};
use tokio::sync::OwnedSemaphorePermit;

use super::reader::Held;
use super::replies::Replies;
use super::slow::{Served, SlowLog, Stages};
use super::{Room, Shared};
use crate::context::ConnectionInfo;
use crate::metrics::ApiMetrics;
use crate::outcome::{Close, CloseReason, Reply};

/// Replies are gathered into one send up to this many.
const TOGETHER_MAX: usize = 16;

/// What a device says that can't read.
const EIO: i32 = 5;

/// Length, correlation id and an empty tag section.
const HEADER_BYTES_MAX: usize = 9;

/// What is kept of a request until its answer was sent.
pub(crate) struct Asked {
    /// The version it speaks.
    pub(crate) api_version: i16,
    /// What the client calls itself.
    pub(crate) client_id: Arc<str>,
    /// Its length.
    pub(crate) request_bytes: u64,
    /// What its answer repeats.
    pub(crate) correlation_id: i32,
    /// Whether the response header ends in tags.
    pub(crate) response_tags: bool,
    /// When it had arrived.
    pub(crate) received: Mono,
    /// When its effect began, behind others of its connection.
    pub(crate) begun: Mono,
}

impl Asked {
    /// The same, of `connection` and with an answer of so many bytes.
    pub(crate) fn served<'a>(
        &'a self,
        connection: &'a ConnectionInfo,
        response_bytes: u64,
    ) -> Served<'a> {
        Served {
            connection,
            client_id: &self.client_id,
            api_version: self.api_version,
            request_bytes: self.request_bytes,
            response_bytes,
        }
    }
}

/// A request whose effect has ended and whose reply is to be sent.
pub(crate) struct Entry {
    /// The reply, or the wait for it.
    pub(crate) reply: Pending,
    /// The request.
    pub(crate) asked: Asked,
    /// When its effect had ended.
    pub(crate) done: Mono,
    /// The counters of the API.
    pub(crate) metrics: Arc<ApiMetrics>,
    /// The request's place among those in progress; all places, for a barrier.
    pub(crate) _slots: OwnedSemaphorePermit,
    /// What a long request reserved, if its memory is still in use.
    pub(crate) _held: Option<Held>,
    /// What the reply reserved.
    pub(crate) room: Arc<Room>,
}

/// A reply now or later.
pub(crate) enum Pending {
    /// Complete.
    Ready(Reply),
    /// Waiting for its condition.
    Wait(BoxFuture<'static, Reply>),
}

impl Pending {
    async fn finish(&mut self) -> Reply {
        match self {
            Self::Ready(reply) => std::mem::take(reply),
            Self::Wait(wait) => wait.await,
        }
    }

    /// The reply, if it is complete now.
    async fn finish_now(&mut self) -> Option<Reply> {
        match self {
            Self::Ready(reply) => Some(std::mem::take(reply)),
            Self::Wait(wait) => {
                poll_fn(|cx| match wait.as_mut().poll(cx) {
                    Poll::Ready(reply) => Poll::Ready(Some(reply)),
                    Poll::Pending => Poll::Ready(None),
                })
                .await
            }
        }
    }
}

/// Sends the replies of one connection.
pub(crate) struct Writer {
    write: Box<dyn WriteHalf>,
    shared: Arc<Shared>,
    info: Arc<ConnectionInfo>,
    alarm: Alarm,
}

/// Replies on their way out together, and what is freed when they have left.
#[derive(Default)]
struct Batch {
    rope: Rope,
    bytes: u64,
    entries: Vec<(Entry, Answered)>,
}

/// What is kept of a reply on its way out.
#[derive(Clone, Copy)]
struct Answered {
    bytes: u64,
    asked_wait: Duration,
}

impl Batch {
    fn add(&mut self, entry: Entry, reply: Reply) -> Result<(), Close> {
        let header = header(&entry, reply.len())?;
        entry.room.shrink_to(reply.memory_bytes());
        let answered = Answered {
            bytes: reply.len(),
            asked_wait: reply.asked_wait,
        };
        self.bytes += header.len() as u64 + answered.bytes;
        self.rope.push(Piece::Bytes(header));
        self.rope
            .extend(reply.body.into_iter().filter(|piece| !piece.is_empty()));
        self.entries.push((entry, answered));
        Ok(())
    }
}

impl Writer {
    /// Sends by `write`, to the client that `info` knows.
    pub(crate) fn new(
        shared: Arc<Shared>,
        write: Box<dyn WriteHalf>,
        info: Arc<ConnectionInfo>,
    ) -> Self {
        let alarm = Alarm::new(Arc::clone(&shared.host.clock));
        Self {
            write,
            shared,
            info,
            alarm,
        }
    }

    /// Sends the reply of every entry, in order, until there can be no more of them.
    pub(crate) async fn run(mut self, replies: &Replies) -> Result<(), Close> {
        let mut next = None;
        loop {
            let entry = match next.take() {
                Some(entry) => entry,
                None => match replies.next().await {
                    Some(entry) => entry,
                    None => break,
                },
            };
            let batch = gather(entry, replies, &mut next).await?;
            self.send(batch).await?;
        }
        self.write.shutdown().await.map_err(|error| gone(&error))
    }

    async fn send(&mut self, batch: Batch) -> Result<(), Close> {
        let Batch {
            rope,
            bytes,
            entries,
        } = batch;
        let clock = &self.shared.host.clock;
        let limits = &self.shared.limits;
        let start = clock.now().mono;
        let end = start + limits.idle_timeout;
        let pace = limits.read_timeout;
        // Those that hold any hold it of one budget, so the first speaks for all.
        let room = entries.iter().find(|(entry, _)| entry.room.is_held());
        let room = room.map(|(entry, _)| Arc::clone(&entry.room));
        let mut ring = room.as_ref().map_or(end, |_| end.min(start + pace));
        self.alarm.set(Some(ring));
        let mut sending = pin!(self.write.send(rope));
        let alarm = &mut self.alarm;
        poll_fn(|cx| {
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(sent.or_else(|error| failed(&error)));
            }
            while alarm.poll(cx).is_ready() {
                if ring >= end {
                    let detail = "replies not taken within connections.max.idle.ms";
                    return Poll::Ready(Err(Close::new(CloseReason::SendTimeout, detail)));
                }
                if room.as_ref().is_some_and(|room| room.is_wanted()) {
                    let detail = "replies that hold room for which others wait were not taken \
                                  within request.read.timeout.ms";
                    return Poll::Ready(Err(Close::new(CloseReason::SendTimeout, detail)));
                }
                ring = end.min(ring + pace);
                alarm.set(Some(ring));
            }
            Poll::Pending
        })
        .await?;
        self.shared.metrics.sent_bytes.inc_by(bytes);
        let now = clock.now().mono;
        count(&self.shared.slow, &self.info, &entries, start..now);
        Ok(())
    }
}

/// Counts where the time of each of these went that were on their way to one client.
fn count(
    slow: &SlowLog,
    connection: &ConnectionInfo,
    entries: &[(Entry, Answered)],
    sending: Range<Mono>,
) {
    let send = sending.end.since(sending.start);
    for (entry, answered) in entries {
        let metrics = &entry.metrics;
        let wait = sending.start.since(entry.done);
        metrics.wait.observe(wait.as_secs_f64());
        metrics.send.observe(send.as_secs_f64());
        let whole = sending.end.since(entry.asked.received);
        metrics.seconds.observe(whole.as_secs_f64());
        let stages = Stages {
            queue: entry.asked.begun.since(entry.asked.received),
            effect: entry.done.since(entry.asked.begun),
            asked: answered.asked_wait,
            wait: wait.saturating_sub(answered.asked_wait),
            send,
        };
        let served = entry.asked.served(connection, answered.bytes);
        slow.served(sending.end, metrics, stages, served);
    }
}

/// Waits for the reply of `entry`, and takes along the replies behind it that are complete too.
/// The first that is not complete becomes `next`.
async fn gather(
    mut entry: Entry,
    replies: &Replies,
    next: &mut Option<Entry>,
) -> Result<Batch, Close> {
    let mut batch = Batch::default();
    let reply = entry.reply.finish().await;
    batch.add(entry, reply)?;
    while batch.entries.len() < TOGETHER_MAX {
        let Some(mut entry) = replies.try_next() else {
            break;
        };
        let Some(reply) = entry.reply.finish_now().await else {
            *next = Some(entry);
            break;
        };
        batch.add(entry, reply)?;
    }
    Ok(batch)
}

fn header(entry: &Entry, body_len: u64) -> Result<Bytes, Close> {
    let tags = u64::from(entry.asked.response_tags);
    let len = i32::try_from(body_len + 4 + tags).map_err(|_| {
        Close::new(
            CloseReason::Internal,
            format!("a reply of {body_len} bytes fits no frame"),
        )
    })?;
    let mut header = BytesMut::with_capacity(HEADER_BYTES_MAX);
    header.put_i32(len);
    header.put_i32(entry.asked.correlation_id);
    if entry.asked.response_tags {
        header.put_u8(0);
    }
    Ok(header.freeze())
}

/// What a send that failed means: the reply is there by half, and nothing may follow it.
fn failed(error: &std::io::Error) -> Result<(), Close> {
    let of_file = error.kind() == ErrorKind::UnexpectedEof || error.raw_os_error() == Some(EIO);
    if of_file && planted(Bug::HalfReplyAfterShortRegion) {
        return Ok(());
    }
    Err(gone(error))
}

/// A file region that came up short, or for which nobody vouches any more, is our fault; anything
/// else is the client or the machine.
fn gone(error: &std::io::Error) -> Close {
    let ours = [ErrorKind::UnexpectedEof, ErrorKind::InvalidData];
    let reason = if ours.contains(&error.kind()) {
        CloseReason::Internal
    } else {
        CloseReason::PeerGone
    };
    Close::new(reason, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_that_cant_be_sent_is_our_fault() {
        let vouched = millrace_host::Vouched::default();
        assert!(vouched.check().is_ok());
        vouched.withdraw();
        let withdrawn = gone(&vouched.check().unwrap_err());
        assert_eq!(withdrawn.reason, CloseReason::Internal);
        assert!(withdrawn.detail.contains("log directory failed"));
        let short = gone(&ErrorKind::UnexpectedEof.into());
        assert_eq!(short.reason, CloseReason::Internal);
        let left = gone(&ErrorKind::BrokenPipe.into());
        assert_eq!(left.reason, CloseReason::PeerGone);
    }
}
