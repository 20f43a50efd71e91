//! Consumers by assignment that follow the end while the workload runs, since what a consumer was
//! shown must never vanish either: with a fetch session and without, with long polls, with limits
//! so small that answers end inside batches, with rests.
//!
//! What always holds: a consumer knows before it asks what must be there, and holds the answer
//! against it; it never waits longer than its connection's life of the broker.

use std::time::Duration;

use millrace_client::{Client, Error, FetchFrom, FetchOptions, Fetched, OffsetOf, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{Batch, RecordError, Scratch, batches};
use tokio::sync::watch;

use crate::anomaly::Anomaly;
use crate::ledger::Progress;
use crate::oracle::Found;
use crate::pulse::Pulse;
use crate::reader::{INFLATED_BYTES_MAX, malformed, records_of};
use crate::seen::Floors;
use crate::session::{Brought, FetchSession};
use crate::workload::{Incarnation, Reach};

/// How often a consumer that waits looks whether there is still something to wait for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a consumer pauses whose fetches do not wait.
const POLL_EVERY: Duration = Duration::from_millis(5);
/// A consumer that rests goes back by less than this, in records.
const BACK_MAX: u64 = 300;

/// How a consumer reads.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// With a fetch session.
    pub session: bool,
    /// How much a fetch may bring, and how long it may wait.
    pub options: FetchOptions,
    /// It reads each partition of which the number divided by the first leaves the second.
    pub assigned: (u32, u32),
    /// It begins at the front again in each life of the broker.
    pub rewinds: bool,
    /// It sends each fetch twice, one behind the other on its connection.
    pub twice: bool,
    /// It stops now and then, after about so many fetches, then goes back a little; `None` never.
    pub rests_after: Option<u64>,
}

impl Default for Reading {
    /// Of everything, from the first offset on, without a session or a rest.
    fn default() -> Self {
        Self {
            session: false,
            options: FetchOptions {
                max_wait: Duration::from_millis(200),
                ..FetchOptions::default()
            },
            assigned: (1, 0),
            rewinds: false,
            twice: false,
            rests_after: None,
        }
    }
}

/// A connection, and the broker's life that it was made in.
struct Session<'a> {
    client: &'a Client,
    reach: &'a Reach,
    progress: &'a Progress,
    pulse: &'a Pulse,
    life: usize,
}

impl Session<'_> {
    /// Completes when there is nothing to wait for any more.
    async fn over(&self) {
        let clock = &self.reach.host.clock;
        while !self.progress.is_stopping() && self.progress.life() == self.life {
            clock.sleep_until(clock.now().mono + LOOK_EVERY).await;
        }
    }
}

/// One consumer.
#[derive(Debug)]
pub struct Consumer {
    reading: Reading,
    topics: watch::Receiver<Incarnation>,
    topic: Incarnation,
    /// The next offset of each partition.
    next: Vec<i64>,
    /// The life in which it read last.
    life: usize,
    /// Fetches until it rests.
    fetches_left: u64,
    found: Vec<Found>,
}

impl Consumer {
    /// A consumer from the first offset on.
    pub fn new(reading: Reading, topics: watch::Receiver<Incarnation>) -> Self {
        let topic = topics.borrow().clone();
        Self {
            reading,
            next: topic.fresh(),
            topics,
            topic,
            life: 0,
            fetches_left: reading.rests_after.unwrap_or(0),
            found: Vec::new(),
        }
    }

    /// Consumes until the workload stops, noting everything it is shown.
    pub async fn run(
        mut self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        let mut since = reach.host.clock.now().mono;
        let reach = &reach.waiting(self.reading.options.max_wait);
        while !progress.is_stopping() {
            if self.is_behind() {
                self.topic = self.topics.borrow().clone();
                self.next = self.topic.fresh();
            }
            let before = pulse.count();
            let connected = reach.connect().await;
            let life = progress.life();
            if self.reading.rewinds && life != self.life {
                self.next = self.topic.fresh();
            }
            self.life = life;
            let ended = match connected {
                Ok(client) => {
                    let session = Session {
                        client: &client,
                        reach,
                        progress,
                        pulse,
                        life,
                    };
                    self.session(&session).await
                }
                Err(error) => Err(error),
            };
            if pulse.count() > before {
                since = reach.host.clock.now().mono;
            }
            match ended {
                Ok(()) => self.rest(reach).await,
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
        Ok(())
    }

    /// Whether the topic was made again. (A watch that is closed no longer says what changed.)
    fn is_behind(&self) -> bool {
        self.topics.borrow().number != self.topic.number
    }

    /// Stops for a while, and goes back a little, when it is time to.
    async fn rest(&mut self, reach: &Reach) {
        let Some(rests_after) = self.reading.rests_after else {
            return;
        };
        if self.fetches_left > 0 {
            return;
        }
        let draw = reach.host.rng.next_u64();
        self.fetches_left = 1 + draw % (2 * rests_after);
        let clock = &reach.host.clock;
        let span = Duration::from_millis(draw % 200);
        clock.sleep_until(clock.now().mono + span).await;
        let back = i64::try_from(draw / 7 % BACK_MAX).unwrap_or(0);
        for next in &mut self.next {
            *next = (*next - back).max(0);
        }
    }

    fn is_assigned(&self, partition: i32) -> bool {
        let (of, rest) = self.reading.assigned;
        partition.unsigned_abs() % of.max(1) == rest
    }

    /// What to ask for.
    fn from(&self) -> Vec<FetchFrom> {
        let all = (0..).zip(&self.next).map(|(partition, offset)| FetchFrom {
            partition,
            offset: *offset,
        });
        all.filter(|from| self.is_assigned(from.partition))
            .collect()
    }

    /// Fetches until the workload stops, the topic is another, or it is time to rest.
    async fn session(&mut self, session: &Session<'_>) -> Result<(), Error> {
        let mut fetches = FetchSession::new(self.reading.session);
        let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
        while !session.progress.is_stopping() && !self.is_behind() {
            if self.reading.rests_after.is_some() {
                if self.fetches_left == 0 {
                    return Ok(());
                }
                self.fetches_left -= 1;
            }
            let from = self.from();
            let floors: Vec<Floors> = {
                let ledger = session.progress.ledger();
                let place = |from: &FetchFrom| (self.topic.number, from.partition);
                from.iter().map(|from| ledger.floors(place(from))).collect()
            };
            let options = &self.reading.options;
            let topic = &self.topic.topic;
            let once = fetches.fetch(session.client, topic, &from, options);
            let again = async {
                if !self.reading.twice {
                    return Ok(());
                }
                whole(session.client, topic, (&from, options)).await
            };
            let brought = tokio::select! {
                biased;
                (brought, again) = async { tokio::join!(once, again) } => {
                    again?;
                    brought?
                }
                () = session.over() => return Ok(()),
            };
            let Some(brought) = brought else { continue };
            if options.max_wait.is_zero() {
                let clock = &session.reach.host.clock;
                clock.sleep_until(clock.now().mono + POLL_EVERY).await;
            }
            session.progress.operation();
            session.pulse.beat();
            judge_emptiness(session, &from, &floors, &brought);
            for fetched in brought.partitions {
                let asked = from.iter().zip(&floors);
                let asked = asked
                    .filter(|(from, _)| from.partition == fetched.partition)
                    .map(|(_, floors)| *floors)
                    .next();
                let Some(floors) = asked else {
                    let error = RecordError::Header("of a partition that was not asked for");
                    return Err(malformed(session.client, &error));
                };
                self.take(session, fetched, floors, &mut scratch).await?;
            }
        }
        Ok(())
    }

    /// What one fetch brought of one partition, of which `floors` were known before.
    async fn take(
        &mut self,
        session: &Session<'_>,
        fetched: Fetched,
        floors: Floors,
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        let partition = fetched.partition;
        let place = (self.topic.number, partition);
        let at = usize::try_from(partition).unwrap_or(usize::MAX);
        let wall_ms = || session.reach.host.clock.now().wall_ms;
        if fetched.error == ErrorCode::OffsetOutOfRange {
            // Retention was here, or a lossy end: on from the front.
            let topic = &self.topic.topic;
            let start = session
                .client
                .list_offset(topic, partition, OffsetOf::Start)
                .await?;
            let start = start.unwrap_or(0);
            session.progress.saw_start(place, start, floors, wall_ms());
            let asked = self.next[at];
            if (start..=floors.end).contains(&asked) {
                session.progress.convict(Anomaly::Refused {
                    partition,
                    offset: asked,
                    there: (start, floors.end),
                });
            }
            self.next[at] = start;
            return Ok(());
        }
        if fetched.error != ErrorCode::None {
            let offset = self.next.get(at);
            let name = &self.topic.topic.name;
            return Err(Error::Broker {
                what: format!("to show {name}-{partition} from {offset:?}"),
                code: fetched.error,
            });
        }
        let start = fetched.log_start_offset;
        let end = fetched.high_watermark;
        session.progress.saw_start(place, start, floors, wall_ms());
        session.progress.saw_end(place, end, floors, session.life);
        for batch in batches(fetched.records) {
            let batch = match batch {
                Ok(batch) => batch,
                // A fetch may end inside a batch.
                Err(RecordError::Truncated { .. }) => break,
                Err(error) => return Err(malformed(session.client, &error)),
            };
            let bounds = (start, end);
            self.show(&batch, (partition, bounds), floors, scratch, session)
                .map_err(|error| malformed(session.client, &error))?;
        }
        Ok(())
    }

    /// What one batch brought; `bounds` are the log start and the end that came with it.
    fn show(
        &mut self,
        batch: &Batch,
        (partition, bounds): (i32, (i64, i64)),
        floors: Floors,
        scratch: &mut Scratch,
        session: &Session<'_>,
    ) -> Result<(), RecordError> {
        batch.verify_crc()?;
        let place = (self.topic.number, partition);
        let next = &mut self.next[partition as usize];
        let (first, last) = (batch.header.base_offset, batch.header.last_offset());
        let progress = session.progress;
        if last < *next {
            progress.convict(Anomaly::WentBack {
                partition,
                asked: *next,
                found: last,
            });
            return Ok(());
        }
        // What lies between may have left while the answer was made.
        if first > (*next).max(bounds.0) {
            progress.convict(Anomaly::Skipped {
                partition,
                expected: *next,
                found: first,
            });
        }
        if last >= bounds.1 {
            progress.convict(Anomaly::AboveEnd {
                partition,
                offset: last,
                end: bounds.1,
            });
        }
        progress.saw_batch(place, &batch.header, floors, session.life);
        self.found.clear();
        records_of(batch, *next, scratch, &mut self.found)?;
        progress.show(place, *next, &self.found, session.life);
        *next = last + 1;
        Ok(())
    }
}

/// One more fetch, of which only the form is judged.
async fn whole(
    client: &Client,
    topic: &Topic,
    (from, options): (&[FetchFrom], &FetchOptions),
) -> Result<(), Error> {
    for fetched in client.fetch(topic, from, options).await? {
        for batch in batches(fetched.records) {
            let verified = match batch {
                // A fetch may end inside a batch.
                Err(RecordError::Truncated { .. }) => break,
                batch => batch.and_then(|batch| batch.verify_crc()),
            };
            verified.map_err(|error| malformed(client, &error))?;
        }
    }
    Ok(())
}

/// An answer without any record, although one was there before it was asked for.
fn judge_emptiness(
    session: &Session<'_>,
    from: &[FetchFrom],
    floors: &[Floors],
    brought: &Brought,
) {
    let brings =
        |fetched: &Fetched| fetched.error != ErrorCode::None || !fetched.records.is_empty();
    if brought.partitions.iter().any(brings) {
        return;
    }
    for (from, floors) in from.iter().zip(floors) {
        if (floors.start..floors.end).contains(&from.offset) {
            session.progress.convict(Anomaly::Starved {
                partition: from.partition,
                asked: from.offset,
                end: floors.end,
            });
        }
    }
}
