//! Somebody who keeps a table in a compacted topic: writes and deletes keys, and reads the whole log
//! again and again, fast and slowly.
//!
//! What always holds (C1 to C8 of the catalogue): whoever folds the log knows the last value of each
//! key that was acknowledged or shown, or one that was sent later; a key that was deleted does not
//! come back, and what deletes it stays for `delete.retention.ms`; a record stays at its offset or
//! goes, whole; the end never moves back, and every reader gets there. One batch is in flight. In half
//! of the runs it is sent once, and what was not answered may turn up, once. In the others it has a
//! sequence number and is sent until it is answered, now and then once more then: the broker knows it
//! again, whatever compaction left of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_client::{
    Acks, Client, Error, FetchFrom, FetchOptions, NewTopic, ProducerIdentity, Topic,
};
use millrace_host::Clock;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{
    BatchBuilder, Codec, Header, Options, RecordError, Scratch, batches, record_iter,
};

use crate::anomaly::Anomaly;
use crate::faults::schedule::Draw;
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::{Reach, make_topic};

/// The topic's name.
const TOPIC: &str = "table";
/// Most keys, and most records of a batch.
const KEYS: u64 = 12;
const RECORDS: u64 = 5;
/// One of so many turns reads the whole log.
const READS: u64 = 12;
/// The most that a value is padded by.
const PADDING_MAX: u64 = 300;
/// Content of a batch, opened.
const INFLATED_BYTES_MAX: usize = 1 << 20;
/// One of so many batches of an idempotent writer is one that was answered already.
const AGAIN: u64 = 6;
/// What breaks when the broker does not know a producer's last batch (C5).
const FORGOTTEN: &str = "table producer";
/// Readings at the end: what the first may miss since it is slow, the second may not.
const LAST_READINGS: usize = 2;
/// What is left for the broker to compact before the last readings.
const REST: Duration = Duration::from_secs(2);

/// One who keeps a table.
#[derive(Clone, Debug)]
pub struct Keeper {
    pause: Duration,
    codec: Codec,
    keys: u64,
    segment_ms: u64,
    retention_ms: i64,
    policy: &'static str,
    /// Its batches have sequence numbers.
    is_idempotent: bool,
    /// Nobody moves the broker's clock, so that it is known how long a tombstone has to stay.
    pub clock_is_still: bool,
}

impl Keeper {
    /// One, and how its broker compacts.
    pub fn draw(seed: u64) -> (Self, Vec<(&'static str, String)>) {
        let mut draw = Draw::new(seed ^ 0x74_6162_6c65);
        let keeper = Self {
            pause: Duration::from_millis(draw.below(30)),
            codec: Codec::ALL[draw.below(5) as usize],
            keys: 1 + draw.below(KEYS),
            segment_ms: [1, 10, 100, 1000][draw.below(4) as usize],
            retention_ms: [0, 200, 3_600_000][draw.below(3) as usize],
            policy: ["compact", "compact", "compact,delete"][draw.below(3) as usize],
            is_idempotent: draw.below(2) == 0,
            clock_is_still: true,
        };
        let settings = [
            ("log.cleaner.backoff.ms", [1_u64, 20, 200]),
            ("log.cleaner.dedupe.buffer.size", [24, 120, 128 << 20]),
            ("log.cleaner.io.buffer.size", [0, 20_000, 524_288]),
            ("log.cleaner.threads", [1, 2, 4]),
            ("log.cleaner.retry.ms", [50, 50, 50]),
            (
                "log.cleaner.io.max.bytes.per.second",
                [100_000, 1 << 40, 1 << 40],
            ),
        ];
        let settings = settings.map(|(key, of)| (key, of[draw.below(3) as usize].to_string()));
        (keeper, settings.into())
    }

    fn topic(&self) -> NewTopic {
        NewTopic::new(TOPIC, 1)
            .with("cleanup.policy", self.policy)
            .with("segment.ms", self.segment_ms.to_string())
            .with("min.cleanable.dirty.ratio", "0.01")
            .with("delete.retention.ms", self.retention_ms.to_string())
            .with("file.delete.delay.ms", "50")
            .with("retention.ms", "-1")
            .with("message.timestamp.after.max.ms", i64::MAX.to_string())
    }

    /// Writes and reads until the workload stops, then reads once more.
    pub async fn run(
        self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        let clock = &reach.host.clock;
        let topic = reach
            .retry(|client| make_topic(client, self.topic()))
            .await?;
        let mut book = Book::default();
        // A producer is forgotten by the broker's clock.
        let mut desk = (self.is_idempotent && self.clock_is_still).then(Desk::default);
        let mut since = clock.now().mono;
        while !progress.is_stopping() {
            clock.sleep_until(clock.now().mono + self.pause).await;
            let ended = match reach.connect().await {
                Ok(client) => {
                    let of = (&mut book, &mut desk);
                    self.turns((&client, &topic), reach, progress, of).await
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => {
                    pulse.beat();
                    since = clock.now().mono;
                }
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
        clock.sleep_until(clock.now().mono + REST).await;
        for _ in 0..LAST_READINGS {
            let read = reach
                .retry(|client| {
                    let (topic, clock) = (topic.clone(), Arc::clone(clock));
                    async move { read((&client, &*clock), &topic, 0).await }
                })
                .await?;
            self.hold(&mut book, (0, &read), reach, progress);
        }
        Ok(())
    }

    /// Some turns on one connection.
    async fn turns(
        &self,
        (client, topic): (&Client, &Topic),
        reach: &Reach,
        progress: &Progress,
        (book, desk): (&mut Book, &mut Option<Desk>),
    ) -> Result<(), Error> {
        if let Some(desk) = desk
            && desk.identity.is_none()
        {
            desk.identity = Some(client.init_producer_id().await?);
        }
        for _ in 0..READS {
            let draw = reach.host.rng.next_u64();
            if draw.is_multiple_of(READS) {
                // Mostly all of it; else from the middle of what is gone and what is there.
                let from = if (draw / READS).is_multiple_of(3) {
                    i64::try_from(draw / 64 % (book.end.unsigned_abs() + 1)).unwrap_or(0)
                } else {
                    0
                };
                let read = read((client, &*reach.host.clock), topic, from).await?;
                self.hold(book, (from, &read), reach, progress);
            } else {
                let sent = self.sending((reach, draw), book, desk.as_ref());
                let written = self.write((client, topic), sent, book, desk).await?;
                if let Err((rule, why)) = written {
                    progress.convict(Anomaly::Table { rule, why });
                }
            }
            progress.operation();
            if progress.is_stopping() {
                break;
            }
            let clock = &reach.host.clock;
            clock.sleep_until(clock.now().mono + self.pause).await;
        }
        Ok(())
    }

    /// The batch that is sent next: one that has no answer yet, or had one, or a new one.
    fn sending(&self, (reach, draw): (&Reach, u64), book: &mut Book, desk: Option<&Desk>) -> Sent {
        let again = desk.and_then(|desk| desk.last.as_ref());
        if let Some(sent) = again
            && (sent.base.is_none() || (draw / 4096).is_multiple_of(AGAIN))
        {
            return sent.clone();
        }
        let producer = desk.and_then(|desk| {
            let identity = desk.identity?;
            Some((identity.id.0, identity.epoch.0, desk.sequence))
        });
        let now_ms = reach.host.clock.now().wall_ms;
        let mut builder = BatchBuilder::new(Options {
            producer,
            codec: self.codec,
            ..Options::default()
        });
        let mut entries = Vec::new();
        let mut bits = draw / READS;
        for _ in 0..=bits % RECORDS {
            bits = bits.rotate_right(7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let entry = book.send(bits % self.keys, (bits / 64).is_multiple_of(4), now_ms);
            let number = entry.number.to_be_bytes();
            let mut value = vec![b'v'; (bits / 1024 % PADDING_MAX) as usize];
            value.extend_from_slice(&number);
            let value = (!entry.deletes).then_some(&value[..]);
            let header = Header {
                key: b"n",
                value: Some(&number),
            };
            let key = entry.key.to_be_bytes();
            let pushed = builder.push(now_ms, Some(&key), value, &[header]);
            pushed.expect("a few small records fit a batch");
            entries.push(entry);
        }
        Sent {
            bytes: builder.build(),
            entries,
            base: None,
        }
    }

    /// Writes a batch; what its answer breaks.
    async fn write(
        &self,
        (client, topic): (&Client, &Topic),
        mut sent: Sent,
        book: &mut Book,
        desk: &mut Option<Desk>,
    ) -> Result<Result<(), Broken>, Error> {
        if let Some(desk) = desk {
            desk.last = Some(sent.clone());
        }
        let produced = client
            .produce(topic, 0, Acks::All, sent.bytes.clone())
            .await;
        let base = match produced {
            Ok(Some(produced)) => produced.base_offset,
            Ok(None) => return Ok(Ok(())),
            Err(Error::Broker {
                what,
                code:
                    code @ (ErrorCode::OutOfOrderSequenceNumber
                    | ErrorCode::UnknownProducerId
                    | ErrorCode::DuplicateSequenceNumber),
            }) if desk.is_some() => {
                *desk = Some(Desk::default());
                return Ok(Err((FORGOTTEN, format!("{code:?}: {what}"))));
            }
            Err(error) => return Err(error),
        };
        let is_same = sent.base.is_none_or(|before| before == base);
        for (at, entry) in sent.entries.iter().enumerate() {
            if let Err(broken) = book.owe(base + at as i64, *entry) {
                return Ok(Err(broken));
            }
        }
        if !is_same {
            let why = format!("{sent:?} was sent once more, and is at {base}");
            return Ok(Err((FORGOTTEN, why)));
        }
        if let Some(desk) = desk {
            if sent.base.is_none() {
                desk.sequence += i32::try_from(sent.entries.len()).unwrap_or(0);
            }
            sent.base = Some(base);
            desk.last = Some(sent);
        }
        Ok(Ok(()))
    }

    /// Holds what was read against what is owed.
    fn hold(&self, book: &mut Book, read: (i64, &Read), reach: &Reach, progress: &Progress) {
        let now_ms = reach.host.clock.now().wall_ms;
        let stays_ms = if self.clock_is_still {
            self.retention_ms
        } else {
            0
        };
        if let Err((rule, why)) = book.hold(read, now_ms, stays_ms) {
            progress.convict(Anomaly::Table { rule, why });
        }
    }
}

/// What an idempotent writer knows.
#[derive(Debug, Default)]
struct Desk {
    identity: Option<ProducerIdentity>,
    /// Of the next batch.
    sequence: i32,
    last: Option<Sent>,
}

/// A batch that was sent.
#[derive(Clone, Debug)]
struct Sent {
    bytes: Bytes,
    entries: Vec<Entry>,
    /// Where it was acknowledged.
    base: Option<i64>,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    key: u64,
    /// No other record has it.
    number: u64,
    deletes: bool,
}

/// What a reader found: records by offset, and the end that it was told.
#[derive(Debug, Default)]
struct Read {
    entries: Vec<(i64, Entry)>,
    end: i64,
    /// It could not get on though there was more.
    stuck_at: Option<i64>,
    /// From its first question to its last answer; 0 where one answer was all: what that shows was
    /// there at one time.
    lasted_ms: i64,
}

/// What is owed.
#[derive(Debug, Default)]
struct Book {
    /// Of each record that was sent, when.
    sent: Vec<(Entry, i64)>,
    /// Where each record was acknowledged or shown.
    places: BTreeMap<u64, i64>,
    at: BTreeMap<i64, Entry>,
    /// The last of each key.
    owed: BTreeMap<u64, i64>,
    /// Of a key that is deleted: what deletes it, once a reading went by there without it.
    gone: BTreeMap<u64, i64>,
    end: i64,
}

type Broken = (&'static str, String);

impl Book {
    fn send(&mut self, key: u64, deletes: bool, now_ms: i64) -> Entry {
        let number = self.sent.len() as u64;
        let entry = Entry {
            key,
            number,
            deletes,
        };
        self.sent.push((entry, now_ms));
        entry
    }

    /// It is known where a record stands.
    fn owe(&mut self, offset: i64, entry: Entry) -> Result<(), Broken> {
        if let Some(before) = self.places.get(&entry.number)
            && *before != offset
        {
            let why = format!("{entry:?} was at {before} and is acknowledged at {offset}");
            return Err(("table altered", why));
        }
        self.at.insert(offset, entry);
        self.places.insert(entry.number, offset);
        let last = self.owed.entry(entry.key).or_insert(offset);
        *last = offset.max(*last);
        self.end = self.end.max(offset + 1);
        Ok(())
    }

    /// Holds what was read from `from` on against what is owed. A tombstone may be gone `stays_ms`
    /// after it was sent; who takes as long for the way to it may have read what it deleted and miss it
    /// then, which the next reading doesn't.
    fn hold(
        &mut self,
        (from, read): (i64, &Read),
        now_ms: i64,
        stays_ms: i64,
    ) -> Result<(), Broken> {
        if let Some(at) = read.stuck_at {
            return Err((
                "table end",
                format!("no reader gets past {at} to {}", read.end),
            ));
        }
        if read.end < self.end {
            let why = format!("the end was {} and is {}", self.end, read.end);
            return Err(("table end", why));
        }
        self.end = read.end;
        for (offset, entry) in &read.entries {
            self.meet(*offset, *entry)?;
        }
        if from > 0 {
            return Ok(());
        }
        let mut last: BTreeMap<u64, i64> = BTreeMap::new();
        for (offset, entry) in &read.entries {
            last.insert(entry.key, *offset);
        }
        for (key, owed) in &self.owed {
            let entry = self.at[owed];
            let sent_ms = self.sent[entry.number as usize].1;
            let found = last.get(key).copied();
            let was_gone = self.gone.get(key) == Some(owed);
            let may_be_gone = entry.deletes && now_ms - sent_ms >= stays_ms;
            if may_be_gone && found.is_none_or(|found| found < *owed) {
                self.gone.insert(*key, *owed);
            }
            match found {
                Some(found) if found >= *owed => {}
                None if may_be_gone => {}
                None if self.may_be_deleted(*key, now_ms - stays_ms) => {}
                Some(_) if may_be_gone && !was_gone && read.lasted_ms >= stays_ms.max(1) => {}
                Some(found) if entry.deletes => {
                    let why = format!("key {key} was deleted at {owed}, and {found} is back");
                    return Err(("resurrected", why));
                }
                None if entry.deletes => {
                    let why = format!("what deletes key {key} went too early from {owed}");
                    return Err(("resurrected", why));
                }
                found => {
                    let why = format!("key {key} was last at {owed}, and {found:?} is there");
                    return Err(("last value", why));
                }
            }
        }
        // What was shown is owed from now on.
        for (key, offset) in last {
            let owed = self.owed.entry(key).or_insert(offset);
            *owed = offset.max(*owed);
        }
        Ok(())
    }

    /// Whether what deletes a key was sent by then, and nobody knows what became of it: it may have
    /// been there, and gone, between two readings.
    fn may_be_deleted(&self, key: u64, sent_by_ms: i64) -> bool {
        let of_key = |entry: &Entry| entry.key == key && entry.deletes;
        let mut sent = self.sent.iter();
        sent.any(|(entry, sent_ms)| {
            of_key(entry) && *sent_ms <= sent_by_ms && !self.places.contains_key(&entry.number)
        })
    }

    /// A record was found.
    fn meet(&mut self, offset: i64, entry: Entry) -> Result<(), Broken> {
        let altered = |why: String| Err(("table altered", format!("at {offset}: {why}")));
        let known = self.sent.get(entry.number as usize);
        if known.is_none_or(|(sent, _)| *sent != entry) {
            return altered(format!("{entry:?} was never sent"));
        }
        if let Some(before) = self.at.get(&offset)
            && *before != entry
        {
            return altered(format!("{before:?} was there, {entry:?} is"));
        }
        if let Some(before) = self.places.get(&entry.number)
            && *before != offset
        {
            return altered(format!("{entry:?} was at {before}"));
        }
        self.at.insert(offset, entry);
        self.places.insert(entry.number, offset);
        Ok(())
    }
}

/// Reads the log from an offset to its end.
async fn read(
    (client, clock): (&Client, &dyn Clock),
    topic: &Topic,
    from: i64,
) -> Result<Read, Error> {
    let options = FetchOptions {
        max_wait: Duration::ZERO,
        min_bytes: 0,
        ..FetchOptions::default()
    };
    let mut found = Read::default();
    let mut at = from;
    let mut offsets = BTreeSet::new();
    let begun = clock.now().mono;
    let mut answers = 0;
    loop {
        let place = FetchFrom {
            partition: 0,
            offset: at,
        };
        let fetched = client.fetch(topic, &[place], &options).await?;
        let Some(fetched) = fetched.into_iter().next() else {
            continue;
        };
        if fetched.error != ErrorCode::None {
            return Err(Error::Broker {
                what: "a fetch of the table".to_owned(),
                code: fetched.error,
            });
        }
        found.end = fetched.high_watermark;
        answers += 1;
        if answers > 1 {
            let lasted = clock.now().mono.since(begun).as_millis();
            found.lasted_ms = i64::try_from(lasted).unwrap_or(i64::MAX);
        }
        let before = at;
        for batch in batches(fetched.records).map_while(Result::ok) {
            let Ok(records) = entries(&batch) else {
                // Nobody can read it.
                found.stuck_at = Some(batch.header.base_offset);
                return Ok(found);
            };
            for (offset, entry) in records {
                if offset >= at && offsets.insert(offset) {
                    found.entries.push((offset, entry));
                }
            }
            at = at.max(batch.header.last_offset() + 1);
        }
        if at >= found.end {
            return Ok(found);
        }
        if at == before {
            found.stuck_at = Some(at);
            return Ok(found);
        }
    }
}

/// The records of a batch. One that is not ours has a number that nobody sent.
fn entries(batch: &millrace_protocol::records::Batch) -> Result<Vec<(i64, Entry)>, RecordError> {
    batch.verify_crc()?;
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let number = |bytes: Option<&[u8]>| {
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(u64::MAX, u64::from_be_bytes)
    };
    let mut found = Vec::new();
    for record in record_iter(batch, &mut scratch)? {
        let record = record?;
        let header = record.headers.clone().next();
        let told = number(header.and_then(|header| header.value));
        let ends_so = |value: &[u8]| value.ends_with(&told.to_be_bytes());
        let entry = Entry {
            key: number(record.key),
            // A value says the same.
            number: if record.value.is_none_or(ends_so) {
                told
            } else {
                u64::MAX
            },
            deletes: record.value.is_none(),
        };
        found.push((record.offset, entry));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A book in which each of these was acknowledged: key, and whether it deletes.
    fn book(records: &[(u64, bool)]) -> Book {
        let mut book = Book::default();
        for (offset, (key, deletes)) in records.iter().enumerate() {
            let entry = book.send(*key, *deletes, 0);
            book.owe(offset as i64, entry).unwrap();
        }
        book
    }

    fn held(book: &mut Book, offsets: &[i64], now_ms: i64) -> Result<(), &'static str> {
        let entries = offsets.iter().map(|offset| (*offset, book.at[offset]));
        let read = Read {
            entries: entries.collect(),
            end: book.end,
            stuck_at: None,
            lasted_ms: 99,
        };
        book.hold((0, &read), now_ms, 100).map_err(|(rule, _)| rule)
    }

    #[test]
    fn every_key_owes_its_last_value_and_nothing_before_it() {
        let all = [(1, false), (2, false), (1, false)];
        assert_eq!(held(&mut book(&all), &[0, 1, 2], 0), Ok(()));
        assert_eq!(held(&mut book(&all), &[1, 2], 0), Ok(()));
        assert_eq!(held(&mut book(&all), &[0, 1], 0), Err("last value"));
        assert_eq!(held(&mut book(&all), &[2], 0), Err("last value"));
    }

    #[test]
    fn a_deleted_key_stays_deleted_and_its_tombstone_for_its_time() {
        let all = [(1, false), (1, true)];
        assert_eq!(held(&mut book(&all), &[1], 0), Ok(()));
        assert_eq!(held(&mut book(&all), &[], 99), Err("resurrected"));
        assert_eq!(held(&mut book(&all), &[], 100), Ok(()));
        assert_eq!(held(&mut book(&all), &[0], 100), Err("resurrected"));
    }

    #[test]
    fn who_reads_slowly_may_miss_a_tombstone_once() {
        let mut book = book(&[(1, false), (1, true)]);
        let slowly = |entry| Read {
            entries: vec![(0, entry)],
            end: 2,
            stuck_at: None,
            lasted_ms: 100,
        };
        let slow = slowly(book.at[&0]);
        let rule = |held: Result<(), Broken>| held.map_err(|(rule, _)| rule);
        assert_eq!(rule(book.hold((0, &slow), 99, 100)), Err("resurrected"));
        assert_eq!(rule(book.hold((0, &slow), 100, 100)), Ok(()));
        assert_eq!(rule(book.hold((0, &slow), 900, 100)), Err("resurrected"));
    }

    #[test]
    fn what_was_not_answered_may_have_deleted_a_key_and_be_gone() {
        let mut book = book(&[(1, false)]);
        book.send(1, true, 50);
        assert_eq!(held(&mut book, &[], 149), Err("last value"));
        assert_eq!(held(&mut book, &[], 150), Ok(()));
        assert_eq!(held(&mut book, &[0], 150), Ok(()));
    }

    #[test]
    fn what_turns_up_is_owed_once_it_was_shown_and_never_elsewhere() {
        let mut book = book(&[(1, false)]);
        let late = book.send(1, false, 0);
        let read = |entries: &[(i64, Entry)], end| Read {
            entries: entries.to_vec(),
            end,
            stuck_at: None,
            lasted_ms: 0,
        };
        let first = book.at[&0];
        let shown = read(&[(0, first), (4, late)], 5);
        assert_eq!(book.hold((0, &shown), 0, 0), Ok(()));
        let lost = read(&[(0, first)], 5);
        assert_eq!(book.hold((0, &lost), 0, 0).unwrap_err().0, "last value");
        let elsewhere = read(&[(5, late)], 6);
        assert_eq!(
            book.hold((0, &elsewhere), 0, 0).unwrap_err().0,
            "table altered"
        );
        let shorter = read(&[(4, late)], 4);
        assert_eq!(book.hold((0, &shorter), 0, 0).unwrap_err().0, "table end");
    }
}
