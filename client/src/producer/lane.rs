//! What is on its way to one partition, in order: pure decisions, nothing is sent here.
//!
//! What always holds, with an idempotent producer:
//! - Sequence numbers follow each other without a gap within an epoch, in the order of the records.
//! - A batch is sent only when all before it were sent and are unanswered: what failed goes again
//!   before anything behind it.
//! - The first batch of an epoch goes alone, until one is stored: a broker that knows nothing of a
//!   producer takes any number from it, so what is behind could overtake one that is refused.
//! - A batch of which an attempt was lost may be stored, at any later time, and is never sent under
//!   another sequence number. When a number is lost (a batch was given up or refused), the lane
//!   *settles*: it sends nothing new, sends what may be stored once more as it was until its fate is
//!   known or can't be, and then gives all the rest numbers from 0 in a new epoch (KIP-360). So a
//!   retry can't double a record, and nothing overtakes.
//! - A batch that is too large for the broker goes again as two, in which each record keeps its number.
//!
//! Without idempotence one batch is in flight at a time: order is kept, and a retry may double.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millrace_host::Mono;
use millrace_probe::{Bug, planted};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::ProducerEpoch;
use millrace_protocol::records::{BatchBuilder, HEADER_LEN, Header, Options, sequence_after};

use super::batch::{Content, Queued, Stamp};
use super::buffers::{Buffers, Lent};
use super::delivery::{Delivery, Fate};
use super::queue::{Queue, Told};
use super::split;
use crate::{Error, ProducerIdentity};

/// Batches of one partition without an answer: brokers remember the sequence numbers of so many.
pub(super) const IN_FLIGHT_MAX: usize = 5;
/// What a record takes beside its content, at most: lengths, deltas, attributes.
const RECORD_OVERHEAD_MAX: usize = 36;

/// What a lane goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) idempotent: bool,
    pub(super) linger: Duration,
    pub(super) batch_bytes: usize,
    pub(super) request_bytes_max: usize,
    pub(super) delivery_timeout: Duration,
    pub(super) batch: Options,
}

/// A record to be appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [Header<'a>],
    pub(super) timestamp_ms: i64,
    /// What its report is to say.
    pub(super) tag: u64,
}

impl Entry<'_> {
    /// What it takes in a batch, at most.
    pub(super) fn bytes_max(&self) -> usize {
        let of_header =
            |header: &Header<'_>| header.key.len() + header.value.map_or(0, <[u8]>::len) + 10;
        RECORD_OVERHEAD_MAX
            + self.key.map_or(0, <[u8]>::len)
            + self.value.map_or(0, <[u8]>::len)
            + self.headers.iter().map(of_header).sum::<usize>()
    }
}

/// What a broker's answer, or its absence, says about one batch.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is stored.
    Stored { base_offset: Option<i64> },
    /// It is not stored by this attempt, and never will be.
    Refused(Error),
    /// The same, but its records may be in smaller ones.
    TooLarge(ErrorCode),
    /// It is not stored by this attempt: again.
    NotStored(Error),
    /// It may be stored or not: again.
    Unknown(Error),
    /// It is not stored by this attempt, since a batch before it is missing there.
    OutOfOrder(Error),
    /// It is not stored by this attempt, since the broker has newer or nothing of this identity.
    Fenced(Error),
}

impl Verdict {
    /// Whether another broker may lead the partition.
    pub(super) fn doubts_leader(&self) -> bool {
        match self {
            Self::Stored { .. } | Self::TooLarge(_) => false,
            Self::Refused(error)
            | Self::NotStored(error)
            | Self::Unknown(error)
            | Self::OutOfOrder(error)
            | Self::Fenced(error) => error.asks_for_metadata(),
        }
    }
}

/// A batch to be sent now.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) ticket: u64,
    pub(super) content: Content,
    pub(super) stamp: Option<Stamp>,
}

/// What a lane has for its leader.
#[derive(Debug)]
pub(super) enum Next {
    /// This batch.
    Send(Sending),
    /// Nothing before that time.
    At(Mono),
    /// Nothing before an answer or a record comes.
    Nothing,
    /// A producer id is needed first.
    NeedsIdentity,
}

/// Where a record went.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) delivery: Delivery,
    /// Whether there is something to do that there wasn't before.
    pub(super) wakes: bool,
}

#[derive(Debug)]
struct Open {
    builder: Box<BatchBuilder>,
    /// Its buffer was another batch's.
    _lent: Option<Lent>,
    since: Mono,
    /// What its records took of the producer's buffer.
    bytes: usize,
    fate: Arc<Fate>,
    tags: Vec<u64>,
}

/// What waits for one partition.
#[derive(Debug)]
pub(super) struct Lane {
    topic: Arc<str>,
    partition: i32,
    open: Option<Open>,
    /// The last batch was closed since it was full: so will the next.
    fills: bool,
    queue: VecDeque<Queued>,
    identity: Option<ProducerIdentity>,
    next_sequence: i32,
    settling: bool,
    /// Something of this epoch was stored.
    proven: bool,
    next_ticket: u64,
    failures: u32,
    not_before: Mono,
    /// Why nothing was stored since something was.
    error: Option<Error>,
    /// Where its records' fates are left, if somebody reads them.
    reports: Option<Arc<Queue>>,
}

impl Lane {
    pub(super) fn new(topic: Arc<str>, partition: i32, reports: Option<Arc<Queue>>) -> Self {
        Self {
            topic,
            partition,
            open: None,
            fills: false,
            queue: VecDeque::new(),
            identity: None,
            next_sequence: 0,
            settling: false,
            proven: false,
            next_ticket: 0,
            failures: 0,
            not_before: Mono::default(),
            error: None,
            reports,
        }
    }

    /// Its partition's number.
    pub(super) fn partition(&self) -> i32 {
        self.partition
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.queue.is_empty()
    }

    /// Failed attempts in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Takes a record in. It holds `entry.bytes_max()` of the producer's buffer until it is told.
    pub(super) fn append(
        &mut self,
        now: Mono,
        entry: &Entry<'_>,
        rules: &Rules,
        buffers: &mut Buffers,
    ) -> Appended {
        let bytes = entry.bytes_max();
        let full = |open: &Open| {
            open.builder.len() + bytes > rules.batch_bytes.min(rules.request_bytes_max)
        };
        let mut wakes = self.open.as_ref().is_some_and(full);
        if wakes {
            self.seal();
            self.fills = true;
        }
        let lent = if self.open.is_none() && self.fills {
            buffers.take()
        } else {
            None
        };
        let mut appended = self.push(now, entry, bytes, rules, lent);
        if appended.is_none() {
            // The batch can't take this timestamp or one more record: the next one can.
            self.seal();
            wakes = true;
            appended = self.push(now, entry, bytes, rules, None);
        }
        let (delivery, records) =
            appended.expect("an empty batch takes any record of bounded size");
        Appended {
            delivery,
            wakes: wakes || records == 1,
        }
    }

    fn push(
        &mut self,
        now: Mono,
        entry: &Entry<'_>,
        bytes: usize,
        rules: &Rules,
        lent: Option<(Vec<u8>, Lent)>,
    ) -> Option<(Delivery, usize)> {
        let open = self.open.get_or_insert_with(|| {
            let (buffer, lent) = lent.unzip();
            let buffer = buffer.unwrap_or_default();
            Open {
                builder: Box::new(BatchBuilder::in_buffer(rules.batch, buffer)),
                _lent: lent,
                since: now,
                bytes: 0,
                fate: Fate::new(&self.topic, self.partition),
                tags: Vec::new(),
            }
        });
        let index = open.builder.record_count();
        let Entry {
            key,
            value,
            headers,
            timestamp_ms,
            tag,
        } = *entry;
        open.builder.push(timestamp_ms, key, value, headers).ok()?;
        open.bytes += bytes;
        if self.reports.is_some() {
            open.tags.push(tag);
        }
        Some((Delivery::new(&open.fate, index), index + 1))
    }

    /// Sends what there is without waiting for more. Gives the fates of all that waits.
    pub(super) fn flush(&mut self) -> impl Iterator<Item = Arc<Fate>> {
        self.seal();
        self.queue.iter().map(|batch| Arc::clone(&batch.fate))
    }

    /// Closes the batch that is open.
    fn seal(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        // Grown by doubling, or in another one's buffer, it takes more than what is counted of it.
        open.builder.shrink();
        self.fills = false;
        let records = i32::try_from(open.builder.record_count());
        self.queue.push_back(Queued {
            ticket: self.next_ticket,
            records: records.expect("a batch has at most 2^31 records"),
            bytes: open.bytes,
            since: open.since,
            fate: open.fate,
            tags: open.tags,
            stamp: None,
            content: Some(Content::Collected(open.builder)),
            uncertain: false,
        });
        self.next_ticket += 1;
    }

    /// Gives the lane a fresh identity, as [`Next::NeedsIdentity`] asked.
    pub(super) fn identify(&mut self, identity: ProducerIdentity) {
        if self.identity.is_none() {
            self.identity = Some(identity);
            self.next_sequence = 0;
            self.proven = false;
        }
    }

    /// What to send now, if anything.
    pub(super) fn next(&mut self, now: Mono, rules: &Rules) -> Next {
        self.seal_when_due(now, rules);
        let in_flight = self.queue.iter().filter(|batch| batch.in_flight()).count();
        if self.settling && in_flight == 0 && !self.queue.iter().any(|batch| batch.uncertain) {
            self.begin_epoch();
        }
        let in_flight_max = if rules.idempotent && self.proven {
            IN_FLIGHT_MAX
        } else {
            1
        };
        if in_flight > 0 && self.settling {
            return Next::Nothing;
        }
        let settling = self.settling;
        let sendable = |batch: &Queued| !batch.in_flight() && (batch.uncertain || !settling);
        let Some(at) = self.queue.iter().position(sendable) else {
            let due = self.open.as_ref().map(|open| open.since + rules.linger);
            return due.filter(|_| !settling).map_or(Next::Nothing, Next::At);
        };
        // Batches that were cut in two push those behind them back: more may be in flight than lie before
        // one, and what may be stored may lie anywhere.
        if !settling && (at >= in_flight_max || in_flight >= in_flight_max) {
            return Next::Nothing;
        }
        if now < self.not_before {
            return Next::At(self.not_before);
        }
        if self.queue[at].uncertain && planted(Bug::RetriedUnderNewNumber) {
            self.queue[at].stamp = None;
        }
        if rules.idempotent && self.queue[at].stamp.is_none() {
            let Some(identity) = self.identity else {
                return Next::NeedsIdentity;
            };
            self.queue[at].stamp = Some(Stamp {
                identity,
                sequence: self.next_sequence,
            });
            self.next_sequence = sequence_after(self.next_sequence, self.queue[at].records);
        }
        let batch = &mut self.queue[at];
        let content = batch.content.take().expect("it is not in flight");
        Next::Send(Sending {
            ticket: batch.ticket,
            content,
            stamp: batch.stamp,
        })
    }

    fn seal_when_due(&mut self, now: Mono, rules: &Rules) {
        let due = |open: &Open| {
            open.since + rules.linger <= now
                || open.builder.len() >= rules.batch_bytes.min(rules.request_bytes_max)
        };
        if self.open.as_ref().is_some_and(due) {
            self.seal();
        }
    }

    /// Numbers what is left anew: nothing of it is stored.
    fn begin_epoch(&mut self) {
        self.settling = false;
        self.proven = false;
        self.next_sequence = 0;
        self.identity = self.identity.and_then(|ProducerIdentity { id, epoch }| {
            let epoch = ProducerEpoch(epoch.0.checked_add(1)?);
            Some(ProducerIdentity { id, epoch })
        });
        for batch in &mut self.queue {
            batch.stamp = None;
        }
    }

    /// Hears what became of an attempt; `content` comes back as it was sent. Gives the bytes that are
    /// free again.
    pub(super) fn answered(
        &mut self,
        ticket: u64,
        content: Content,
        verdict: Verdict,
        retry_at: Mono,
        (rules, buffers): (&Rules, &mut Buffers),
    ) -> usize {
        let Some(at) = self.queue.iter().position(|batch| batch.ticket == ticket) else {
            return 0;
        };
        match verdict {
            Verdict::Stored { base_offset } => {
                buffers.give_back(content);
                self.failures = 0;
                self.error = None;
                let stamp = self.queue[at].stamp;
                self.proven |= stamp.is_some_and(|stamp| Some(stamp.identity) == self.identity);
                self.tell(at, Ok(base_offset))
            }
            Verdict::Refused(error) => self.refuse(at, error),
            Verdict::TooLarge(code) => {
                if self.split(at, &content, rules).is_some() {
                    return 0;
                }
                let error = self.too_large(at, &content, code, rules);
                self.refuse(at, error)
            }
            Verdict::NotStored(error) => self.again(at, content, error, retry_at),
            Verdict::Unknown(error) => {
                self.queue[at].uncertain = true;
                self.again(at, content, error, retry_at)
            }
            Verdict::OutOfOrder(error) | Verdict::Fenced(error)
                if self.queue[at].uncertain && (self.settling || at == 0) =>
            {
                // An attempt that was lost may be stored yet: no other number may be given to it.
                let error = self.undelivered(&self.queue[at], &error);
                self.settling = true;
                self.tell(at, Err(error))
            }
            Verdict::OutOfOrder(error) => {
                // Behind another one that failed it only has to wait; as the first it can't go on.
                self.settling |= at == 0;
                self.again(at, content, error, retry_at)
            }
            Verdict::Fenced(error) => {
                self.settling = true;
                self.identity = None;
                self.again(at, content, error, retry_at)
            }
        }
    }

    fn refuse(&mut self, at: usize, error: Error) -> usize {
        let error = self.refusal(at, error);
        self.lose(at);
        self.tell(at, Err(error))
    }

    /// Puts two in the place of a batch, to be sent at once. `None` if it is one record, or may be stored
    /// while the lane settles: what is uncertain goes as it was.
    fn split(&mut self, at: usize, content: &Content, rules: &Rules) -> Option<()> {
        let (batch, whole) = (content.bytes()?, &self.queue[at]);
        let records = usize::try_from(whole.records).ok()?;
        if records < 2 || (self.settling && whole.uncertain) {
            return None;
        }
        let half = records / 2;
        let builders = split::halves(batch, half, rules.batch, content_bytes_max(rules)).ok()?;
        let mut whole = self.queue.remove(at)?;
        let fates = whole.fate.split(half);
        let (first, bytes) = (i32::try_from(half).ok()?, whole.bytes / 2);
        let tags = whole.tags.split_off(half.min(whole.tags.len()));
        let stamp = whole.stamp.map(|stamp| Stamp {
            sequence: sequence_after(stamp.sequence, first),
            ..stamp
        });
        let [one, two] = builders.map(|builder| Some(Content::Collected(builder)));
        let [fate, other] = fates;
        let second = Queued {
            ticket: self.next_ticket,
            records: whole.records - first,
            bytes: whole.bytes - bytes,
            since: whole.since,
            fate: other,
            tags,
            stamp,
            content: two,
            uncertain: whole.uncertain,
        };
        let first = Queued {
            ticket: self.next_ticket + 1,
            records: first,
            bytes,
            fate,
            content: one,
            ..whole
        };
        self.next_ticket += 2;
        self.queue.insert(at, second);
        self.queue.insert(at, first);
        Some(())
    }

    /// What to say of what no broker takes.
    fn too_large(&self, at: usize, content: &Content, code: ErrorCode, rules: &Rules) -> Error {
        let said = match content.bytes() {
            Some(batch) if self.queue[at].records == 1 => {
                split::described(batch, content_bytes_max(rules))
            }
            _ => "a batch".to_owned(),
        };
        let what = format!("{said} for {}-{}", self.topic, self.partition);
        Error::Broker { what, code }
    }

    /// What to say of a refused batch that an earlier attempt may have stored.
    fn refusal(&self, at: usize, error: Error) -> Error {
        if self.queue[at].uncertain {
            self.undelivered(&self.queue[at], &error)
        } else {
            error
        }
    }

    fn again(&mut self, at: usize, content: Content, error: Error, retry_at: Mono) -> usize {
        self.queue[at].content = Some(content);
        self.error = Some(error);
        self.failures = self.failures.saturating_add(1);
        self.not_before = self.not_before.max(retry_at);
        if at + 1 < self.queue.len()
            && planted(Bug::RetriedBehindOthers)
            && let Some(mut batch) = self.queue.remove(at)
        {
            batch.stamp = None;
            self.queue.push_back(batch);
        }
        0
    }

    /// The batch will not be stored under its number, so nothing behind it can be under theirs.
    fn lose(&mut self, at: usize) {
        let batch = &self.queue[at];
        let Some(stamp) = batch.stamp else { return };
        let none_behind = self
            .queue
            .iter()
            .skip(at + 1)
            .all(|batch| batch.stamp.is_none());
        if none_behind
            && !batch.uncertain
            && !self.settling
            && Some(stamp.identity) == self.identity
        {
            self.next_sequence = stamp.sequence;
        } else {
            self.settling = true;
        }
    }

    fn tell(&mut self, at: usize, result: Result<Option<i64>, Error>) -> usize {
        let Some(batch) = self.queue.remove(at) else {
            return 0;
        };
        batch.fate.tell(result.clone());
        let Some(reports) = &self.reports else {
            return batch.bytes;
        };
        let told = Told {
            topic: Arc::clone(&self.topic),
            partition: self.partition,
            tags: batch.tags,
            result,
            bytes: batch.bytes,
        };
        // They are given back when they were read.
        reports.push(told).map_or_else(|told| told.bytes, |()| 0)
    }

    /// Gives up what took too long, but for what is in flight. Gives the bytes that are free again.
    pub(super) fn expire(&mut self, now: Mono, rules: &Rules) -> usize {
        self.seal_when_due(now, rules);
        let mut freed = 0;
        while let Some(at) = self
            .queue
            .iter()
            .position(|batch| !batch.in_flight() && batch.since + rules.delivery_timeout <= now)
        {
            freed += self.give_up(at);
        }
        freed
    }

    /// Gives everything up, because the producer ends.
    pub(super) fn abandon(&mut self) -> usize {
        self.seal();
        let mut freed = 0;
        while !self.queue.is_empty() {
            freed += self.give_up(0);
        }
        freed
    }

    /// Hears why its leader can't be asked.
    pub(super) fn not_reached(&mut self, error: &Error) {
        self.error = Some(error.clone());
    }

    fn give_up(&mut self, at: usize) -> usize {
        let none = Error::NoBroker {
            reasons: "nobody leads the partition".to_owned(),
        };
        let batch = &self.queue[at];
        let error = self.undelivered(batch, self.error.as_ref().unwrap_or(&none));
        self.lose(at);
        self.tell(at, Err(error))
    }

    fn undelivered(&self, batch: &Queued, error: &Error) -> Error {
        Error::Undelivered {
            partition: format!("{}-{}", self.topic, self.partition),
            may_be_stored: batch.uncertain || batch.in_flight(),
            reason: error.to_string(),
        }
    }

    /// When the oldest batch has taken too long.
    pub(super) fn gives_up_at(&self, rules: &Rules) -> Option<Mono> {
        let queued = self.queue.iter().map(|batch| batch.since);
        let oldest = queued
            .chain(self.open.as_ref().map(|open| open.since))
            .min();
        oldest.map(|since| since + rules.delivery_timeout)
    }
}

/// The most that the records of one of our batches take. One record may be as large as a request.
fn content_bytes_max(rules: &Rules) -> usize {
    rules.request_bytes_max.saturating_mul(2)
}

/// The least a batch takes.
pub(super) const BATCH_BYTES_MIN: usize = HEADER_LEN;

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
