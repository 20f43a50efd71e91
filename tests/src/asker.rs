//! Somebody who asks all the time what the broker knows: where partitions begin and end, which
//! offset has a time, where a leader epoch ends, which topics there are, who the brokers are.
//!
//! What always holds: what must be true of an answer is known before it is asked for.

use std::time::Duration;

use millrace_client::{Client, Error};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millrace_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use millrace_protocol::messages::{
    DescribeClusterRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
};
use tokio::sync::watch;

use crate::anomaly::Anomaly;
use crate::ledger::{Place, Progress};
use crate::pulse::Pulse;
use crate::times::{TimeAnswer, Timed, Wanted};
use crate::workload::{Incarnation, Reach};

/// Questions on one connection at most.
const QUESTIONS_MAX: u64 = 100;
/// The special times of a log's ends on the wire.
const END: i64 = -1;
const START: i64 = -2;

/// One who asks.
#[derive(Debug)]
pub struct Asker {
    topics: watch::Receiver<Incarnation>,
    topic: Incarnation,
    pause: Duration,
    /// What was told of the cluster first.
    cluster: Option<Cluster>,
}

/// What does not change in a cluster of one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cluster {
    id: String,
    controller: i32,
    brokers: Vec<(i32, String)>,
}

/// A connection, and the broker's life that it was made in.
struct Session<'a> {
    client: &'a Client,
    reach: &'a Reach,
    progress: &'a Progress,
    life: usize,
}

impl Asker {
    /// Of this topic, once each `pause`.
    pub fn new(pause: Duration, topics: watch::Receiver<Incarnation>) -> Self {
        let topic = topics.borrow().clone();
        Self {
            topics,
            topic,
            pause,
            cluster: None,
        }
    }

    /// Asks until the workload stops.
    pub async fn run(
        mut self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        let mut since = reach.host.clock.now().mono;
        while !progress.is_stopping() {
            self.topic = self.topics.borrow().clone();
            let connected = reach.connect().await;
            let life = progress.life();
            let ended = match connected {
                Ok(client) => {
                    let session = Session {
                        client: &client,
                        reach,
                        progress,
                        life,
                    };
                    self.session(&session, pulse).await
                }
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => since = reach.host.clock.now().mono,
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
        Ok(())
    }

    async fn session(&mut self, session: &Session<'_>, pulse: &Pulse) -> Result<(), Error> {
        let (clock, rng) = (&session.reach.host.clock, &session.reach.host.rng);
        for _ in 0..QUESTIONS_MAX {
            let is_behind = self.topics.borrow().number != self.topic.number;
            if session.progress.is_stopping() || is_behind {
                return Ok(());
            }
            let draw = rng.next_u64();
            let partitions = u64::from(self.topic.topic.partitions.unsigned_abs()).max(1);
            let partition = i32::try_from(draw / 64 % partitions).unwrap_or(0);
            let place = (self.topic.number, partition);
            match draw % 8 {
                0 => self.ends(session, place).await?,
                1 => self.epoch(session, place).await?,
                2 => self.metadata(session).await?,
                3 => self.cluster(session).await?,
                4 => self.time(session, place, Wanted::Greatest).await?,
                _ => {
                    let wanted = Wanted::Since(some_time(session, place, draw / 1024));
                    self.time(session, place, wanted).await?;
                }
            }
            session.progress.operation();
            pulse.beat();
            clock.sleep_until(clock.now().mono + self.pause).await;
        }
        Ok(())
    }

    /// One row of `ListOffsets`: offset and timestamp, as they stand there.
    async fn list(&self, client: &Client, partition: i32, time: i64) -> Result<Timed, Error> {
        let mut asked = ListOffsetsPartition::default();
        asked.partition_index = partition;
        asked.timestamp = time;
        let mut of_topic = ListOffsetsTopic::default();
        of_topic.name = self.topic.topic.name.as_str().into();
        of_topic.partitions = vec![asked];
        let mut request = ListOffsetsRequest::default();
        request.replica_id = -1;
        request.topics = vec![of_topic];
        if client.call_of::<ListOffsetsRequest>()?.api_version >= 10 {
            request.timeout_ms = 1000;
        }
        let answer = client.call(&request).await?;
        let rows = answer.read()?.topics.into_iter();
        let row = rows.flat_map(|topic| topic.partitions).next();
        let row = row.ok_or_else(|| missing("an offset"))?;
        refuse(row.error_code, "an offset")?;
        Ok(Timed {
            offset: row.offset,
            ms: row.timestamp,
        })
    }

    /// Whether answers so far were about this incarnation: they are asked for by name.
    async fn is_ours(&self, session: &Session<'_>) -> Result<bool, Error> {
        let topic = &self.topic.topic;
        let is_sure = !session.progress.is_churning();
        Ok(is_sure || session.client.topic(&topic.name).await?.id == topic.id)
    }

    async fn ends(&self, session: &Session<'_>, place: Place) -> Result<(), Error> {
        let floors = session.progress.ledger().floors(place);
        let start = self.list(session.client, place.1, START).await?.offset;
        let wall_ms = session.reach.host.clock.now().wall_ms;
        let end = self.list(session.client, place.1, END).await?.offset;
        if self.is_ours(session).await? {
            let progress = session.progress;
            progress.saw_start(place, start, floors, wall_ms);
            progress.saw_end(place, end, floors, session.life);
        }
        Ok(())
    }

    async fn time(&self, session: &Session<'_>, place: Place, wanted: Wanted) -> Result<(), Error> {
        let floors = session.progress.ledger().floors(place);
        let found = self.list(session.client, place.1, wanted.wire()).await?;
        let start = self.list(session.client, place.1, START).await?.offset;
        if self.is_ours(session).await? {
            session.progress.saw_time(&TimeAnswer {
                place,
                wanted,
                answer: (found.offset >= 0).then_some(found),
                floors,
                start,
                life: session.life,
            });
        }
        Ok(())
    }

    async fn epoch(&self, session: &Session<'_>, place: Place) -> Result<(), Error> {
        let floors = session.progress.ledger().floors(place);
        let Some(asked) = session.progress.ledger().some_epoch(place) else {
            return Ok(());
        };
        let mut partition = OffsetForLeaderPartition::default();
        partition.partition = place.1;
        partition.current_leader_epoch = -1;
        partition.leader_epoch = asked;
        let mut of_topic = OffsetForLeaderTopic::default();
        of_topic.topic = self.topic.topic.name.as_str().into();
        of_topic.partitions = vec![partition];
        let mut request = OffsetForLeaderEpochRequest::default();
        request.replica_id = -1;
        request.topics = vec![of_topic];
        let answer = session.client.call(&request).await?;
        let rows = answer.read()?.topics.into_iter();
        let row = rows.flat_map(|topic| topic.partitions).next();
        let row = row.ok_or_else(|| missing("the end of an epoch"))?;
        refuse(row.error_code, "the end of an epoch")?;
        let found = (row.leader_epoch, row.end_offset);
        let start = self.list(session.client, place.1, START).await?.offset;
        if self.is_ours(session).await? {
            let progress = session.progress;
            progress.saw_epoch(place, asked, (start, floors.end), found, session.life);
        }
        Ok(())
    }

    /// The topic is there, as it was made. (Who removes it tells of it later.)
    async fn metadata(&self, session: &Session<'_>) -> Result<(), Error> {
        let name = &self.topic.topic.name;
        let described = session.client.topic(name).await?;
        let is_behind = described.id != self.topic.topic.id;
        if described != self.topic.topic && !(is_behind && session.progress.is_churning()) {
            let made = &self.topic.topic;
            let why = format!("{made:?} was made, {described:?} is there");
            session.progress.convict(Anomaly::Topic(why));
        }
        Ok(())
    }

    async fn cluster(&mut self, session: &Session<'_>) -> Result<(), Error> {
        let request = DescribeClusterRequest::default();
        let answer = session.client.call(&request).await?;
        let view = answer.read()?;
        refuse(view.error_code, "to describe the cluster")?;
        let brokers = view.brokers.into_iter();
        let cluster = Cluster {
            id: view.cluster_id.to_owned(),
            controller: view.controller_id,
            brokers: brokers
                .map(|broker| (broker.broker_id, format!("{}:{}", broker.host, broker.port)))
                .collect(),
        };
        let first = self.cluster.get_or_insert_with(|| cluster.clone());
        if *first != cluster || cluster.brokers.len() != 1 {
            let why = format!("the cluster was {first:?}, and is {cluster:?}");
            session.progress.convict(Anomaly::Topic(why));
        }
        Ok(())
    }
}

/// A time worth asking for: that of a record which is known, or about it.
fn some_time(session: &Session<'_>, place: Place, draw: u64) -> i64 {
    let ledger = session.progress.ledger();
    let floors = ledger.floors(place);
    let span = u64::try_from(floors.end - floors.start).unwrap_or(0);
    let offset = floors.start + i64::try_from(draw % span.max(1)).unwrap_or(0);
    let known = ledger.time_at(place, offset);
    let off_ms = [-1, 0, 0, 1][usize::try_from(draw / 16 % 4).unwrap_or(0)];
    known.map_or_else(|| session.reach.host.clock.now().wall_ms, |ms| ms + off_ms)
}

fn missing(what: &str) -> Error {
    Error::Malformed {
        address: "the broker".to_owned(),
        reason: format!("{what} was asked for and is not in it"),
    }
}

fn refuse(code: i16, what: &str) -> Result<(), Error> {
    let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError);
    if code == ErrorCode::None {
        return Ok(());
    }
    Err(Error::Broker {
        what: what.to_owned(),
        code,
    })
}
