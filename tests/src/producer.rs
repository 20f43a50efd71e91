//! One idempotent producer: batches with sequence numbers, several in flight, sent again in order
//! with the same bytes after whatever went wrong.
//!
//! What always holds: at most [`Plan::in_flight`] batches are without acknowledgement; answers are
//! taken in the order of sending, and the first that is not a success ends the connection, so that
//! everything from there on is sent again, as it was, on the next.

use std::collections::VecDeque;

use bytes::Bytes;
use millrace_client::{Client, Error, ProducerIdentity, Topic};
use millrace_protocol::records::{BatchBuilder, Options};

use crate::oracle::Value;
use crate::workload::{Plan, Progress, Reach};

/// A batch that keeps its bytes until it is acknowledged.
#[derive(Clone, Debug)]
struct Unacknowledged {
    first: Value,
    records: u32,
    bytes: Bytes,
}

/// One producer's state, which outlives its connections.
#[derive(Debug)]
pub struct Producer {
    number: u32,
    identity: ProducerIdentity,
    topic: Topic,
    plan: Plan,
    made: u64,
    /// The next value of each partition; its low 31 bits are the next sequence number.
    next: Vec<u64>,
    unacknowledged: VecDeque<Unacknowledged>,
}

impl Producer {
    /// Producer `number` of a workload, which goes round the partitions batch by batch.
    pub fn new(number: u32, identity: ProducerIdentity, topic: Topic, plan: &Plan) -> Self {
        let partitions = usize::try_from(topic.partitions).unwrap_or(0);
        Self {
            number,
            identity,
            topic,
            plan: plan.clone(),
            made: u64::from(number),
            next: vec![0; partitions],
            unacknowledged: VecDeque::new(),
        }
    }

    /// Produces until the workload stops and everything sent is acknowledged.
    pub async fn run(mut self, reach: &Reach, progress: &Progress) -> Result<(), String> {
        let mut since = reach.host.clock.now().mono;
        loop {
            let address = *reach.address.borrow();
            let before = progress.acknowledged();
            let connected = Client::connect(&reach.host, address, reach.options.clone()).await;
            let ended = match connected {
                Ok(client) => self.session(&client, reach, progress).await,
                Err(error) => Err(error),
            };
            if progress.acknowledged() > before {
                since = reach.host.clock.now().mono;
            }
            match ended {
                Ok(()) => return Ok(()),
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
    }

    /// One connection's life: what is not acknowledged first, then new batches.
    async fn session(
        &mut self,
        client: &Client,
        reach: &Reach,
        progress: &Progress,
    ) -> Result<(), Error> {
        // The first `sent.len()` of the unacknowledged, in the same order.
        let mut sent = VecDeque::new();
        loop {
            while sent.len() < self.plan.in_flight {
                if sent.len() == self.unacknowledged.len() {
                    if progress.is_stopping() {
                        break;
                    }
                    let batch = self.make(reach.host.clock.now().wall_ms);
                    self.unacknowledged.push_back(batch);
                }
                let batch = &self.unacknowledged[sent.len()];
                let (partition, bytes) = (batch.first.partition, batch.bytes.clone());
                sent.push_back(client.send_batch(&self.topic, partition, bytes).await?);
            }
            let Some(oldest) = sent.pop_front() else {
                return Ok(());
            };
            let produced = oldest.wait().await?;
            if let Some(Unacknowledged { first, records, .. }) = self.unacknowledged.pop_front() {
                let values = (0..u64::from(records)).map(|nth| Value {
                    sequence: first.sequence + nth,
                    ..first
                });
                progress.acknowledge(produced.base_offset, values);
            }
            if !self.plan.pause.is_zero() {
                let clock = &reach.host.clock;
                clock.sleep_until(clock.now().mono + self.plan.pause).await;
            }
        }
    }

    fn make(&mut self, wall_ms: i64) -> Unacknowledged {
        let at = usize::try_from(self.made % self.next.len().max(1) as u64).unwrap_or(0);
        self.made += 1;
        let partition = i32::try_from(at).unwrap_or(0);
        let first = Value {
            producer: self.number,
            partition,
            sequence: self.next[at],
        };
        let records = self.plan.batch_records.max(1);
        let base_sequence = i32::try_from(first.sequence & 0x7fff_ffff).unwrap_or(0);
        let producer = (self.identity.id.0, self.identity.epoch.0, base_sequence);
        let mut builder = BatchBuilder::new(Options {
            producer: Some(producer),
            ..Options::default()
        });
        for nth in 0..u64::from(records) {
            let value = Value {
                sequence: first.sequence + nth,
                ..first
            };
            builder
                .push(
                    wall_ms,
                    None,
                    Some(&value.encode(self.plan.record_bytes)),
                    &[],
                )
                .expect("a plan's batches are far below a batch's limit");
        }
        self.next[at] += u64::from(records);
        Unacknowledged {
            first,
            records,
            bytes: builder.build(),
        }
    }
}
