//! What a workload was promised so far, incarnation by incarnation of its topic, and what
//! contradicted a promise the moment it was said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_client::Acks;
use millrace_host::Mono;
use millrace_protocol::records::BatchHeader;

use crate::anomaly::Anomaly;
use crate::oracle::{Found, Lives, Promises, Strength};
use crate::seen::{Floors, Seen};
use crate::times::{self, TimeAnswer, Timed};
use crate::value::Value;

/// An incarnation of the topic, and a partition.
pub type Place = (u32, i32);

/// What the topic's configuration promises; the oracle believes it, whatever the broker was told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// `durability=page-cache`: a record counts once it is in the page cache.
    pub page_cache: bool,
    /// `retention.ms`; the log start never moves when both this and the next are `None`.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`.
    pub retention_bytes: Option<u64>,
    /// It is removed and made again.
    pub churns: bool,
}

impl Terms {
    /// What an acknowledgement is worth; `None` when nothing is claimed.
    pub fn acknowledged(self, acks: Acks) -> Option<Strength> {
        match acks {
            Acks::None => None,
            Acks::Leader => Some(Strength::Cached),
            Acks::All if self.page_cache => Some(Strength::Cached),
            Acks::All => Some(Strength::Durable),
        }
    }

    /// What it is worth that a consumer was shown a record: it lies below the high watermark.
    fn shown(self) -> Strength {
        if self.page_cache {
            Strength::Cached
        } else {
            Strength::Durable
        }
    }
}

/// Partitions whose directory failed, by a sync or since it is gone: they acknowledge nothing that is
/// sent later.
#[derive(Clone, Debug)]
pub struct Barred {
    /// In which life of the broker.
    pub life: usize,
    /// What is sent after this.
    pub since: Mono,
    /// In which incarnation of the topic.
    pub incarnation: u32,
    /// Which partitions.
    pub partitions: BTreeSet<i32>,
}

/// A batch of values that was answered with success.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The life of the broker that the connection was made in.
    pub life: usize,
    /// When it was sent.
    pub sent: Mono,
    /// Where its first value stands.
    pub base_offset: i64,
    /// What was asked.
    pub acks: Acks,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Ledger {
    /// How the broker's lives ended.
    pub lives: Lives,
    /// What contradicted an earlier promise the moment it was said.
    pub anomalies: Vec<Anomaly>,
    /// Where acknowledgements are wrong now.
    pub barred: Vec<Barred>,
    terms: Terms,
    /// Of each incarnation.
    promises: Vec<Promises>,
    seen: BTreeMap<Place, Seen>,
    /// Up to where records were to be deleted, answered or not.
    trims: BTreeMap<Place, i64>,
    /// Offsets that have a time, as answered in a life.
    times: Vec<(Place, Timed, usize)>,
}

impl Ledger {
    /// What was promised of an incarnation.
    pub fn promises(&mut self, incarnation: u32) -> &mut Promises {
        let at = incarnation as usize;
        while self.promises.len() <= at {
            let number = u32::try_from(self.promises.len()).unwrap_or(u32::MAX);
            self.promises.push(Promises::new(number));
        }
        &mut self.promises[at]
    }

    /// Values claimed, of all incarnations.
    pub fn claimed(&self) -> usize {
        self.promises.iter().map(Promises::len).sum()
    }

    /// What was seen of a partition, to add to, and how the lives ended.
    fn seen(&mut self, place: Place) -> (&mut Seen, &Lives) {
        let page_cache = self.terms.page_cache;
        let seen = self.seen.entry(place);
        let seen = seen.or_insert_with(|| Seen::new(place.1, page_cache));
        (seen, &self.lives)
    }

    /// What whatever is asked from now on must not lie before.
    pub fn floors(&self, place: Place) -> Floors {
        let seen = self.seen.get(&place);
        seen.map_or_else(Floors::default, |seen| seen.floors(&self.lives))
    }

    /// The furthest log start that was seen.
    pub fn start_seen(&self, incarnation: u32, partition: i32) -> i64 {
        self.floors((incarnation, partition)).start
    }

    /// The epoch of some batch that was shown and still is there.
    pub fn some_epoch(&self, place: Place) -> Option<i32> {
        let seen = self.seen.get(&place)?;
        seen.some_epoch(self.floors(place).start, self.lives.current(), &self.lives)
    }

    /// The time of the record that is known at an offset.
    pub fn time_at(&self, place: Place, offset: i64) -> Option<i64> {
        let promises = self.promises.get(place.0 as usize)?;
        let at = promises.between(place.1, offset, offset + 1).next();
        at.map(|(_, value)| value.made_ms)
    }

    /// Notes up to where records may leave from now on because somebody asks, or has asked, for it.
    pub fn trims(&mut self, place: Place, to: i64) {
        self.trims.insert(place, to);
    }

    /// Up to where records were to be deleted.
    pub fn trimmed(&self, place: Place) -> i64 {
        self.trims.get(&place).copied().unwrap_or(0)
    }

    /// Whether a log may begin at `start` where it began at `seen`, when the broker's wall clock
    /// said at most `latest_ms`.
    fn may_begin(&mut self, place: Place, (seen, start): (i64, i64), latest_ms: i64) {
        let partition = place.1;
        let from = seen.max(self.trimmed(place));
        if start <= from {
            return;
        }
        let why = match self.terms {
            Terms {
                retention_ms: Some(retention_ms),
                retention_bytes: None,
                ..
            } => self
                .promises(place.0)
                .between(partition, from, start)
                .find(|(_, value)| value.made_ms + retention_ms >= latest_ms)
                .map(|(offset, value)| {
                    let age = latest_ms - value.made_ms;
                    format!("offset {offset} was at most {age} ms old")
                }),
            // Judged by what is left when all is read.
            Terms {
                retention_bytes: Some(_),
                ..
            } => None,
            _ => Some("nothing may leave this topic".to_owned()),
        };
        self.anomalies.extend(why.map(|why| Anomaly::StartTooFar {
            partition,
            start,
            why,
        }));
    }

    /// Holds an answer about a time against what is known, and keeps it.
    fn time(&mut self, asked: &TimeAnswer) {
        let TimeAnswer { place, life, .. } = *asked;
        let Some(promises) = self.promises.get(place.0 as usize) else {
            return;
        };
        let range = (asked.start, asked.floors.end);
        let known = promises.there(place.1, range, (life, &self.lives));
        let judged = times::judge(asked, known);
        self.anomalies.extend(judged.err());
        self.times
            .extend(asked.answer.map(|timed| (place, timed, life)));
    }

    /// Holds the answers about times against a whole log as read in a life: records by offset.
    pub fn judge_times(&mut self, place: Place, life: usize, log: &[Timed]) {
        for (of, answer, then) in &self.times {
            let gone = self.terms.page_cache && self.lives.lossy_end(*then, life).is_some();
            if *of != place || gone {
                continue;
            }
            let at = log.partition_point(|timed| timed.offset < answer.offset);
            let found = log.get(at).filter(|timed| timed.offset == answer.offset);
            if let Some(found) = found
                && found != answer
            {
                self.anomalies.push(Anomaly::OtherTime {
                    partition: place.1,
                    answer: *answer,
                    found: *found,
                });
            }
        }
    }
}

/// Shared by all tasks of a workload.
#[derive(Debug, Default)]
pub struct Progress {
    terms: Terms,
    ledger: Mutex<Ledger>,
    acknowledged: AtomicU64,
    shown: AtomicU64,
    operations: AtomicU64,
    stopping: AtomicBool,
    broker_ahead_ms: AtomicI64,
}

impl Progress {
    /// Of a topic with these terms.
    pub fn new(terms: Terms) -> Self {
        let ledger = Ledger {
            terms,
            ..Ledger::default()
        };
        Self {
            terms,
            ledger: Mutex::new(ledger),
            ..Self::default()
        }
    }

    /// What the topic's configuration promises.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// The ledger; held briefly, never across an await.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker's life of now: of whatever is asked on a connection that was just made.
    pub fn life(&self) -> usize {
        self.ledger().lives.current()
    }

    /// The broker's life is over; `lossy` when the page cache went with it. To be said at once.
    pub fn life_ended(&self, lossy: bool) {
        self.ledger().lives.end(lossy);
    }

    /// The broker's wall clock is ahead of the clients' by so much now.
    pub fn broker_ahead(&self, ms: i64) {
        self.broker_ahead_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// Records acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Records shown to consumers so far.
    pub fn shown(&self) -> u64 {
        self.shown.load(Ordering::Relaxed)
    }

    /// Requests that were answered with success so far.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// One request more was answered with success.
    pub fn operation(&self) {
        self.operations.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the topic may be another by now.
    pub fn is_churning(&self) -> bool {
        self.terms.churns
    }

    /// Whether producers should end once all they sent is acknowledged.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// From now on [`Self::is_stopping`].
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Notes an acknowledged batch: `values` in the order of their offsets, all of one partition.
    pub fn acknowledge(&self, answered: Answered, values: impl Iterator<Item = Value>) {
        self.operation();
        let mut ledger = self.ledger();
        let mut last = None;
        for (offset, value) in (answered.base_offset..).zip(values) {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            last = Some((offset, value));
            let barred = ledger.barred.iter().any(|barred| {
                barred.life == answered.life
                    && barred.incarnation == value.incarnation
                    && answered.sent > barred.since
                    && barred.partitions.contains(&value.partition)
            });
            if barred {
                ledger.anomalies.push(Anomaly::AfterSyncError { value });
            }
            if offset < 0 {
                ledger.anomalies.push(Anomaly::NoOffset { value, offset });
            } else if let Some(strength) = self.terms.acknowledged(answered.acks) {
                ledger.promises(value.incarnation).acknowledge(
                    offset,
                    value,
                    strength,
                    answered.life,
                );
            }
        }
        if let Some((offset, value)) = last
            && answered.acks == Acks::All
        {
            let place = (value.incarnation, value.partition);
            let (seen, lives) = ledger.seen(place);
            seen.reached((offset + 1, answered.life), lives);
        }
    }

    /// Values of this producer may be there more than once from now on, and out of order.
    pub fn sent_again(&self, incarnation: u32, producer: u32) {
        self.ledger().promises(incarnation).may_repeat(producer);
    }

    /// Notes records that a consumer was shown in a life, at offsets from `from` on.
    pub fn show(&self, place: Place, from: i64, records: &[Found], life: usize) {
        let mut ledger = self.ledger();
        let strength = self.terms.shown();
        for found in records.iter().filter(|found| found.offset >= from) {
            let promises = ledger.promises(place.0);
            match promises.read(place.1, found) {
                Ok(value) => promises.claim(found.offset, value, strength, life),
                Err(anomaly) => ledger.anomalies.push(anomaly),
            }
            self.shown.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes a log start that an answer showed at `wall_ms` of the clients' clock. `floors` are
    /// [`Ledger::floors`] from before that was asked.
    pub fn saw_start(&self, place: Place, start: i64, floors: Floors, wall_ms: i64) {
        let mut ledger = self.ledger();
        let (seen, lives) = ledger.seen(place);
        let before = seen.floors(lives).start;
        let judged = seen.start(floors, start);
        ledger.anomalies.extend(judged.err());
        if start > before {
            let latest_ms = wall_ms + self.broker_ahead_ms.load(Ordering::Relaxed);
            ledger.may_begin(place, (before, start), latest_ms);
        }
    }

    /// Notes an end, a high watermark or an end offset, that an answer showed in a life.
    pub fn saw_end(&self, place: Place, end: i64, floors: Floors, life: usize) {
        let mut ledger = self.ledger();
        let (seen, lives) = ledger.seen(place);
        let judged = seen.end(floors, (end, life), lives);
        ledger.anomalies.extend(judged.err());
    }

    /// Notes a batch that was shown in a life.
    pub fn saw_batch(&self, place: Place, header: &BatchHeader, floors: Floors, life: usize) {
        let mut ledger = self.ledger();
        let (seen, lives) = ledger.seen(place);
        let judged = seen.batch(floors, (header, life), lives);
        ledger.anomalies.extend(judged.err());
    }

    /// Notes an answer about leader epochs in a life: `found` to a question for `asked`, between the
    /// log start seen after it and the end known before it.
    pub fn saw_epoch(
        &self,
        place: Place,
        asked: i32,
        bounds: (i64, i64),
        found: (i32, i64),
        life: usize,
    ) {
        let mut ledger = self.ledger();
        let (seen, lives) = ledger.seen(place);
        let judged = seen.epoch(asked, bounds, found, (life, lives));
        ledger.anomalies.extend(judged.err());
    }

    /// Notes an answer about a time.
    pub fn saw_time(&self, asked: &TimeAnswer) {
        self.ledger().time(asked);
    }

    /// What must not be was seen.
    pub fn convict(&self, anomaly: Anomaly) {
        self.ledger().anomalies.push(anomaly);
    }
}
