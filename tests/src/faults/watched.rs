//! A partition that is written and read while its disk rots, and what it owes.
//!
//! What always holds: what was acknowledged or shown is owed from then on, until the partition says
//! that it is damaged; one idempotent producer writes, and sends a batch again with the same bytes
//! until it is answered, so that a retry that is taken for new is seen.

use bytes::Bytes;
use millrace_client::{Acks, Client, Error, OffsetOf, ProducerIdentity, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::records::{BatchBuilder, Options};

use super::rot::{self, Excused, Fate, Reading, Record};
use crate::liveness::Witness;

/// What its topic's terms allow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// A power cut may take the end.
    pub page_cache: bool,
    /// Records leave at the front.
    pub front_leaves: bool,
}

/// A batch that keeps its bytes.
#[derive(Clone, Debug)]
struct Sent {
    values: Vec<Bytes>,
    bytes: Bytes,
}

/// One partition.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an excuse of its own, and any may come with any"
)]
pub struct Watched {
    topic: Topic,
    partition: i32,
    allowed: Allowed,
    known: Reading,
    identity: Option<ProducerIdentity>,
    sequence: i32,
    said: u64,
    /// The time of what is sent: what is old leaves.
    wall_ms: i64,
    /// Sent, and not answered with success.
    pending: Option<Sent>,
    /// Answered last, and where it stands.
    last: Option<(Sent, i64)>,
    /// What is never sent again and may be there.
    doubtful: Vec<Bytes>,
    /// Since it was seen whole a power cut may have taken its end.
    end_may_be_gone: bool,
    /// Since then its ledger was made anew.
    front_may_return: bool,
    /// So nobody knows for good which leader epochs there were.
    epochs_are_lost: bool,
    /// Its producer need not be known.
    may_forget: bool,
    /// Why it was not read to its end last.
    broken: Option<String>,
}

impl Watched {
    /// One of which so much is known.
    pub fn new(topic: &Topic, partition: i32, allowed: Allowed, known: Reading) -> Self {
        Self {
            topic: topic.clone(),
            partition,
            allowed,
            known,
            identity: None,
            sequence: 0,
            said: 0,
            wall_ms: 0,
            pending: None,
            last: None,
            doubtful: Vec::new(),
            end_may_be_gone: false,
            front_may_return: false,
            epochs_are_lost: false,
            may_forget: false,
            broken: None,
        }
    }

    /// Why it was not read to its end last.
    pub fn broken(&self) -> &str {
        self.broken.as_deref().unwrap_or_default()
    }

    /// What it is called.
    pub fn name(&self) -> String {
        format!("{}-{}", self.topic.name, self.partition)
    }

    /// The power was cut.
    pub fn lost_power(&mut self) {
        self.end_may_be_gone |= self.allowed.page_cache;
        self.may_forget |= self.allowed.page_cache;
    }

    /// The ledger of its directory was made anew from the files, without what a journal that is hurt,
    /// too, holds of it: the operator is told what that is.
    pub fn lost_ledger(&mut self, journal_too: bool) {
        self.front_may_return = true;
        self.epochs_are_lost = true;
        self.may_forget = true;
        self.end_may_be_gone |= journal_too;
    }

    /// What is written down of its producers rots: those are known from the records that are left.
    pub fn lost_snapshots(&mut self) {
        self.may_forget |= self.allowed.front_leaves;
    }

    /// Sends what was answered last again, then something new, as far as it is taken.
    pub async fn traffic(&mut self, witness: &Witness) -> Result<(), String> {
        self.wall_ms = witness.wall_ms();
        let Ok(client) = witness.connect().await else {
            return Ok(());
        };
        self.retry(&client).await?;
        for _ in 0..2 {
            if !self.send(&client).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The last batch again: it stands where it stood.
    async fn retry(&mut self, client: &Client) -> Result<(), String> {
        let Some((sent, stands)) = self.last.clone() else {
            return Ok(());
        };
        let retried = self.produce(client, sent.bytes.clone()).await;
        let Ok(at) = retried else {
            // Taken for new, it may be there again.
            self.doubtful.extend(sent.values);
            return Ok(());
        };
        let start = client
            .list_offset(&self.topic, self.partition, OffsetOf::Start)
            .await;
        let is_gone = start.is_ok_and(|start| start > Some(stands));
        let may_be_new = self.may_forget || self.end_may_be_gone || is_gone;
        if at != stands && !may_be_new {
            return Err(format!("a retry of what stands at {stands} came to {at}"));
        }
        self.note(at, &sent.values)
    }

    /// Sends the next batch; whether it was taken.
    async fn send(&mut self, client: &Client) -> Result<bool, String> {
        if self.identity.is_none() {
            let Ok(identity) = client.init_producer_id().await else {
                return Ok(false);
            };
            (self.identity, self.sequence) = (Some(identity), 0);
        }
        let sent = match self.pending.take() {
            Some(sent) => sent,
            None => self.make(self.wall_ms),
        };
        match self.produce(client, sent.bytes.clone()).await {
            Ok(at) => {
                self.note(at, &sent.values)?;
                self.sequence += sent.values.len() as i32;
                self.last = Some((sent, at));
                Ok(true)
            }
            Err(Error::Broker {
                code: ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId,
                ..
            }) => {
                if !self.may_forget && self.sequence > 0 {
                    return Err("its producer is forgotten".to_owned());
                }
                self.doubtful.extend(sent.values);
                (self.identity, self.last) = (None, None);
                self.may_forget = false;
                Ok(false)
            }
            Err(_) => {
                self.pending = Some(sent);
                Ok(false)
            }
        }
    }

    async fn produce(&self, client: &Client, bytes: Bytes) -> Result<i64, Error> {
        let produced = client.produce(&self.topic, self.partition, Acks::All, bytes);
        Ok(produced.await?.map_or(-1, |produced| produced.base_offset))
    }

    fn make(&mut self, wall_ms: i64) -> Sent {
        let count = 1 + self.said % 4;
        let identity = self.identity.map(|one| (one.id.0, one.epoch.0));
        let mut builder = BatchBuilder::new(Options {
            producer: identity.map(|(id, epoch)| (id, epoch, self.sequence)),
            ..Options::default()
        });
        let mut values = Vec::new();
        for _ in 0..count {
            self.said += 1;
            let value = Bytes::from(format!("{} while it rots {}", self.name(), self.said));
            builder
                .push(wall_ms, None, Some(&value), &[])
                .expect("a few words fit into a batch");
            values.push(value);
        }
        let bytes = builder.build();
        Sent { values, bytes }
    }

    /// Those values were acknowledged there.
    fn note(&mut self, at: i64, values: &[Bytes]) -> Result<(), String> {
        let records = &mut self.known.records;
        if self.end_may_be_gone {
            records.retain(|known| known.offset < at);
        }
        let first = records.partition_point(|known| known.offset < at);
        let there = records[first..].iter().map(|known| &known.value);
        if first < records.len() && there.take(values.len()).eq(values) {
            // It was shown before the answer came.
            return Ok(());
        }
        if let Some(last) = records.last().filter(|last| last.offset >= at) {
            let stands = last.offset;
            return Err(format!(
                "acknowledged at {at}, though the log reached {stands}"
            ));
        }
        records.extend((at..).zip(values).map(|(offset, value)| Record {
            offset,
            epoch: None,
            value: value.clone(),
        }));
        Ok(())
    }

    /// Reads it, so many bytes at a time, and says what became of it.
    pub async fn read(&mut self, witness: &Witness, bytes: i32) -> Result<Fate, String> {
        let after = rot::read(witness, &self.topic, self.partition, bytes).await;
        let excused = Excused {
            end: self.end_may_be_gone,
            front: self.allowed.front_leaves,
            returned: self.front_may_return,
            epochs: self.epochs_are_lost || self.allowed.page_cache,
        };
        let pending = self.pending.iter().flat_map(|sent| &sent.values);
        let doubtful: Vec<Bytes> = self.doubtful.iter().chain(pending).cloned().collect();
        match rot::judge(&self.known, &after, &doubtful, excused)? {
            Some(Fate::Whole) => {
                self.known = after;
                (self.end_may_be_gone, self.front_may_return) = (false, false);
                Ok(Fate::Whole)
            }
            Some(fate) => {
                self.broken = after.broken;
                Ok(fate)
            }
            None if self.refuses(witness).await => Ok(Fate::Shorter),
            None => Err(format!(
                "{} records were there, {} are shown, and nobody says so",
                self.known.records.len(),
                after.records.len()
            )),
        }
    }

    /// Whether it refuses a record.
    async fn refuses(&mut self, witness: &Witness) -> bool {
        let Ok(client) = witness.connect().await else {
            return true;
        };
        self.wall_ms = witness.wall_ms();
        let mut builder = BatchBuilder::new(Options::default());
        let word = Bytes::from_static(b"after the rot");
        builder
            .push(self.wall_ms, None, Some(&word), &[])
            .expect("a few words fit into a batch");
        let refused = self.produce(&client, builder.build()).await.is_err();
        // The answer alone may be missing.
        self.doubtful.push(word);
        refused
    }
}
