//! What a workload was promised so far, incarnation by incarnation of its topic, and what
//! contradicted a promise the moment it was said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_client::Acks;
use millrace_host::Mono;

use crate::oracle::{Anomaly, Found, Lives, Promises, Strength};
use crate::value::Value;

/// What the topic's configuration promises; the oracle believes it, whatever the broker was told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// `durability=page-cache`: a record counts once it is in the page cache.
    pub page_cache: bool,
    /// `retention.ms`; the log start never moves when both this and the next are `None`.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`.
    pub retention_bytes: Option<u64>,
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

/// Partitions whose directory had a failed sync: they acknowledge nothing that is sent later.
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
    pub barred: Option<Barred>,
    /// Of each incarnation.
    promises: Vec<Promises>,
    starts: BTreeMap<(u32, i32), i64>,
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

    /// The furthest log start that was seen; what is asked from now on is not below it.
    pub fn start_seen(&self, incarnation: u32, partition: i32) -> i64 {
        let seen = self.starts.get(&(incarnation, partition));
        seen.copied().unwrap_or(0)
    }

    /// Notes a log start that was seen when the broker's wall clock said at most `latest_ms`.
    fn note_start(&mut self, place: (u32, i32), start: i64, terms: Terms, latest_ms: i64) {
        let seen = self.start_seen(place.0, place.1);
        if start <= seen {
            return;
        }
        self.starts.insert(place, start);
        let partition = place.1;
        let why = match terms {
            Terms {
                retention_ms: Some(retention_ms),
                retention_bytes: None,
                ..
            } => self
                .promises(place.0)
                .between(partition, seen, start)
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
}

/// Shared by all tasks of a workload.
#[derive(Debug, Default)]
pub struct Progress {
    terms: Terms,
    ledger: Mutex<Ledger>,
    acknowledged: AtomicU64,
    shown: AtomicU64,
    stopping: AtomicBool,
    broker_ahead_ms: AtomicI64,
}

impl Progress {
    /// Of a topic with these terms.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
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

    /// Records shown to the reader so far.
    pub fn shown(&self) -> u64 {
        self.shown.load(Ordering::Relaxed)
    }

    /// Whether producers should end once all they sent is acknowledged.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// From now on [`Self::is_stopping`].
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Notes an acknowledged batch: `values` in the order of their offsets.
    pub fn acknowledge(&self, answered: Answered, values: impl Iterator<Item = Value>) {
        let mut ledger = self.ledger();
        for (offset, value) in (answered.base_offset..).zip(values) {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            let barred = ledger.barred.as_ref().is_some_and(|barred| {
                barred.life == answered.life
                    && barred.incarnation == value.incarnation
                    && answered.sent > barred.since
                    && barred.partitions.contains(&value.partition)
            });
            if barred {
                ledger.anomalies.push(Anomaly::AfterSyncError { value });
            }
            if let Some(strength) = self.terms.acknowledged(answered.acks) {
                ledger.promises(value.incarnation).acknowledge(
                    offset,
                    value,
                    strength,
                    answered.life,
                );
            }
        }
    }

    /// Notes a record of `partition` that a consumer was shown in a life.
    pub fn show(&self, incarnation: u32, partition: i32, found: &Found, life: usize) {
        let mut ledger = self.ledger();
        let promises = ledger.promises(incarnation);
        match promises.read(partition, found.offset, &found.value) {
            Ok(value) => promises.claim(found.offset, value, self.terms.shown(), life),
            Err(anomaly) => ledger.anomalies.push(anomaly),
        }
        self.shown.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a log start that an answer showed at `wall_ms` of the clients' clock. `floor` is
    /// [`Ledger::start_seen`] from before that was asked.
    pub fn saw_start(&self, place: (u32, i32), start: i64, floor: i64, wall_ms: i64) {
        let mut ledger = self.ledger();
        if start < floor {
            ledger.anomalies.push(Anomaly::StartMovedBack {
                partition: place.1,
                seen: floor,
                found: start,
            });
        }
        let latest_ms = wall_ms + self.broker_ahead_ms.load(Ordering::Relaxed);
        ledger.note_start(place, start, self.terms, latest_ms);
    }
}
