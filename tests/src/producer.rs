//! One producer. An idempotent one sends batches with sequence numbers, several in flight, and sends
//! them again in order with the same bytes after whatever went wrong; so does a plain one, without
//! sequence numbers: what it sent again may be there twice. With acks=0 every batch is sent once.
//!
//! What always holds: at most [`Plan::in_flight`] batches are without acknowledgement; answers are
//! taken in the order of sending, and the first that is not a success ends the connection, so that
//! everything from there on is sent again, as it was, on the next. A new identity, with acks=0 a new
//! connection, and what a plain producer makes after it sent something again, begin with a number of
//! their own: order is owed within it, and within what a plain one never sent again also number.
//! Records' timestamps go back and forth.

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_client::{Acks, Client, Error, ProducerIdentity};
use millrace_host::Mono;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::ProduceRequest;
use millrace_protocol::records::{BatchBuilder, Codec, Options};
use tokio::sync::watch;

use crate::anomaly::Anomaly;
use crate::ledger::{Answered, Progress};
use crate::oracle::Strength;
use crate::pulse::Pulse;
use crate::value::Value;
use crate::workload::{Incarnation, Plan, Reach};

/// Numbers of one producer lie this far apart.
const NUMBERS: u32 = 1000;
/// Batches that a producer with acks=0 sends on one connection at least this far apart.
const UNANSWERED_PAUSE_MS: u64 = 2;

/// How a producer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// What it waits for.
    pub acks: Acks,
    /// With an identity and sequence numbers; never with acks=0.
    pub idempotent: bool,
    /// How its batches are compressed.
    pub codec: Codec,
}

impl Sending {
    /// Idempotent but for acks=0, not compressed.
    pub fn new(acks: Acks) -> Self {
        Self {
            acks,
            idempotent: acks != Acks::None,
            codec: Codec::None,
        }
    }
}

/// A batch that keeps its bytes until it is acknowledged.
#[derive(Clone, Debug)]
struct Unacknowledged {
    first: Value,
    /// The timestamp of each record.
    times: Vec<i64>,
    bytes: Bytes,
}

/// The answer to a batch, on its way.
type Answer = (Mono, millrace_client::Pending<ProduceRequest>);

/// A connection, and the broker's life that it was made in.
struct Session<'a> {
    client: &'a Client,
    reach: &'a Reach,
    progress: &'a Progress,
    pulse: &'a Pulse,
    life: usize,
}

/// How a session ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The workload stops, and everything sent is acknowledged.
    Done,
    /// Go on with another session.
    Again,
}

/// One producer's state, which outlives its connections.
#[derive(Debug)]
pub struct Producer {
    /// Tells it from the others: its values' numbers are this and [`NUMBERS`] upwards.
    number: u32,
    sending: Sending,
    /// Without an identity, it sent something of this number again.
    repeats: bool,
    plan: Plan,
    topics: watch::Receiver<Incarnation>,
    topic: Incarnation,
    identity: Option<ProducerIdentity>,
    /// Lossy ends when the identity was given.
    lossy_ends: usize,
    made: u64,
    /// What timestamps and sizes are drawn from.
    draws: u64,
    /// The next value of each partition; its low 31 bits are the next sequence number.
    next: Vec<u64>,
    unacknowledged: VecDeque<Unacknowledged>,
}

impl Producer {
    /// Producer `number` of a workload, which goes round the partitions batch by batch.
    pub fn new(number: u32, topics: watch::Receiver<Incarnation>, plan: &Plan) -> Self {
        let topic = topics.borrow().clone();
        let count = plan.sendings.len().max(1);
        let sending = plan.sendings.get(number as usize % count);
        Self {
            number,
            sending: sending.copied().unwrap_or(Sending::new(Acks::All)),
            repeats: false,
            draws: u64::from(number) + 1,
            plan: plan.clone(),
            next: topic.fresh(),
            topic,
            topics,
            identity: None,
            lossy_ends: 0,
            made: u64::from(number),
            unacknowledged: VecDeque::new(),
        }
    }

    /// Produces until the workload stops and everything sent is acknowledged.
    pub async fn run(
        mut self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        self.draws ^= reach.host.rng.next_u64();
        let mut since = reach.host.clock.now().mono;
        loop {
            self.follow_topic();
            let before = pulse.count();
            let connected = reach.connect().await;
            let ended = match connected {
                Ok(client) => {
                    let session = Session {
                        client: &client,
                        reach,
                        progress,
                        pulse,
                        life: progress.life(),
                    };
                    self.session(&session).await
                }
                Err(error) if self.sending.acks == Acks::None && progress.is_stopping() => {
                    drop(error);
                    Ok(Ended::Done)
                }
                Err(error) => Err(error),
            };
            if pulse.count() > before {
                since = reach.host.clock.now().mono;
            }
            match ended {
                Ok(Ended::Done) => return Ok(()),
                Ok(Ended::Again) => {}
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
    }

    /// Whether the topic was made again. (A watch that is closed no longer says what changed.)
    fn is_behind(&self) -> bool {
        self.topics.borrow().number != self.topic.number
    }

    /// Goes over to the topic's next incarnation: what the last one did not acknowledge is void.
    fn follow_topic(&mut self) {
        if self.is_behind() {
            self.topic = self.topics.borrow().clone();
            self.next = self.topic.fresh();
            self.unacknowledged.clear();
            self.repeats = false;
        }
    }

    /// Begins anew under another number, with whatever identity is asked for next.
    fn begin_anew(&mut self) {
        self.number += NUMBERS;
        self.repeats = false;
        self.next = self.topic.fresh();
        self.unacknowledged.clear();
        self.identity = None;
    }

    async fn session(&mut self, session: &Session<'_>) -> Result<Ended, Error> {
        if self.sending.acks == Acks::None {
            self.begin_anew();
            return self.send_unanswered(session).await;
        }
        if !self.sending.idempotent && !self.unacknowledged.is_empty() {
            self.repeats = true;
            let incarnation = self.topic.number;
            session.progress.sent_again(incarnation, self.number);
        }
        if self.sending.idempotent && self.identity.is_none() {
            self.lossy_ends = session.progress.ledger().lives.lossy_ends();
            self.identity = Some(session.client.init_producer_id().await?);
        }
        // Of the first so many of the unacknowledged, in the same order.
        let mut sent: VecDeque<Answer> = VecDeque::new();
        loop {
            while sent.len() < self.plan.in_flight {
                if sent.len() == self.unacknowledged.len() {
                    if session.progress.is_stopping() {
                        break;
                    }
                    if self.repeats && sent.is_empty() {
                        self.begin_anew();
                    } else if self.repeats {
                        break;
                    }
                    let wall_ms = session.reach.host.clock.now().wall_ms;
                    let batch = self.make(wall_ms);
                    self.unacknowledged.push_back(batch);
                }
                sent.push_back(self.send(session, sent.len()).await?);
            }
            let (Some(oldest), Some(batch)) = (sent.pop_front(), self.unacknowledged.pop_front())
            else {
                return Ok(Ended::Done);
            };
            if let Err(error) = self.answered(session, oldest, &batch).await {
                if !is_forgotten(&error) {
                    self.unacknowledged.push_front(batch);
                    return Err(error);
                }
                if !self.may_be_forgotten(session.progress) {
                    let value = batch.first;
                    let anomaly = Anomaly::Forgotten { value };
                    session.progress.ledger().anomalies.push(anomaly);
                }
                while let (Some(late), Some(batch)) =
                    (sent.pop_front(), self.unacknowledged.pop_front())
                {
                    // Refused or unknown: nothing is claimed of it.
                    self.answered(session, late, &batch).await.ok();
                }
                self.begin_anew();
                return Ok(Ended::Again);
            }
            self.pause(session, 0).await;
        }
    }

    /// Sends batches that nobody answers until the workload stops or the topic is another.
    async fn send_unanswered(&mut self, session: &Session<'_>) -> Result<Ended, Error> {
        while !session.progress.is_stopping() {
            if self.is_behind() {
                return Ok(Ended::Again);
            }
            let batch = self.make(session.reach.host.clock.now().wall_ms);
            let partition = batch.first.partition;
            session
                .client
                .produce(&self.topic.topic, partition, Acks::None, batch.bytes)
                .await?;
            session.pulse.beat();
            self.pause(session, UNANSWERED_PAUSE_MS).await;
        }
        Ok(Ended::Done)
    }

    async fn send(&self, session: &Session<'_>, nth: usize) -> Result<Answer, Error> {
        let batch = &self.unacknowledged[nth];
        let request = session.client.produce_request(
            &self.topic.topic,
            batch.first.partition,
            self.sending.acks,
            batch.bytes.clone(),
        );
        let now = session.reach.host.clock.now().mono;
        Ok((now, session.client.send(&request).await?))
    }

    /// Waits for the answer to `batch`, and notes what it promises.
    async fn answered(
        &self,
        session: &Session<'_>,
        (sent, pending): Answer,
        batch: &Unacknowledged,
    ) -> Result<(), Error> {
        let answer = pending.wait().await?;
        let name = &self.topic.topic.name;
        let partition = batch.first.partition;
        let produced = session.client.produced(&answer, name, partition)?;
        let values = (0..).zip(&batch.times).map(|(nth, made_ms)| Value {
            sequence: batch.first.sequence + nth,
            made_ms: *made_ms,
            ..batch.first
        });
        let answered = Answered {
            life: session.life,
            sent,
            base_offset: produced.base_offset,
            acks: self.sending.acks,
        };
        session.progress.acknowledge(answered, values);
        session.pulse.beat();
        Ok(())
    }

    /// Whether the broker may not know this producer's sequences: a lossy end took records of which
    /// no more was promised. What retention takes is no excuse.
    fn may_be_forgotten(&self, progress: &Progress) -> bool {
        let terms = progress.terms();
        let cached = terms.acknowledged(self.sending.acks) == Some(Strength::Cached);
        cached && progress.ledger().lives.lossy_ends() > self.lossy_ends
    }

    async fn pause(&self, session: &Session<'_>, least_ms: u64) {
        let pause = self
            .plan
            .pause
            .max(std::time::Duration::from_millis(least_ms));
        if !pause.is_zero() {
            let clock = &session.reach.host.clock;
            clock.sleep_until(clock.now().mono + pause).await;
        }
    }

    fn make(&mut self, wall_ms: i64) -> Unacknowledged {
        let at = usize::try_from(self.made % self.next.len().max(1) as u64).unwrap_or(0);
        self.made += 1;
        let spread_ms = self.plan.time_spread_ms;
        // Now and then a whole batch is late.
        let late_ms = if self.draw(4) == 0 {
            self.draw(spread_ms + 1)
        } else {
            0
        };
        let records = 1 + self.draw(u64::from(self.plan.batch_records));
        let times: Vec<i64> = (0..records)
            .map(|_| late_ms + self.draw(spread_ms / 4 + 1))
            .map(|ago_ms| wall_ms - i64::try_from(ago_ms).unwrap_or(0))
            .collect();
        let first = Value {
            producer: self.number,
            incarnation: self.topic.number,
            partition: i32::try_from(at).unwrap_or(0),
            sequence: self.next[at],
            made_ms: wall_ms,
        };
        let base_sequence = i32::try_from(first.sequence & 0x7fff_ffff).unwrap_or(0);
        let producer = self
            .identity
            .map(|identity| (identity.id.0, identity.epoch.0, base_sequence));
        let mut builder = BatchBuilder::new(Options {
            producer,
            codec: self.sending.codec,
            ..Options::default()
        });
        for (sequence, made_ms) in (first.sequence..).zip(&times) {
            let value = Value {
                sequence,
                made_ms: *made_ms,
                ..first
            };
            let bytes = value.encode(self.plan.record_bytes);
            builder
                .push(*made_ms, None, Some(&bytes), &[])
                .expect("a plan's batches are far below a batch's limit");
        }
        self.next[at] += records;
        Unacknowledged {
            first,
            times,
            bytes: builder.build(),
        }
    }

    /// A number below `bound`, which is not 0; not worth a draw of the host's.
    fn draw(&mut self, bound: u64) -> u64 {
        // Knuth's multiplier for 64 bits.
        self.draws = self
            .draws
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.draws >> 33) % bound.max(1)
    }
}

/// Whether the broker does not know the producer's sequences.
fn is_forgotten(error: &Error) -> bool {
    matches!(
        error,
        Error::Broker {
            code: ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId,
            ..
        }
    )
}
