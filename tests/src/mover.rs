//! Somebody who moves replicas between the broker's log directories now and then.
//!
//! What always holds: what is acknowledged of a move is only that it was asked for, so nothing about
//! the records changes by it; whoever looks finds each partition in one directory, and a copy that is
//! being made in another (A16).

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{Client, Error};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use millrace_protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};

use crate::anomaly::Anomaly;
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::Reach;

/// One of so many turns is a look.
const LOOKS: u64 = 4;

/// Where one partition lies: its current directory, and that of its copy.
type Place = (Option<usize>, Option<usize>);

/// One who moves replicas.
#[derive(Debug)]
pub struct Mover {
    pause: Duration,
    /// Topics whose partitions are not moved.
    spared: String,
    /// The broker's directories, once it told them.
    directories: Vec<String>,
    /// Partitions that were seen, of topics that may be gone by now.
    seen: Vec<(String, i32)>,
}

impl Mover {
    /// Of every topic but one, about once each `pause`.
    pub fn new(pause: Duration, spared: &str) -> Self {
        Self {
            pause,
            spared: spared.to_owned(),
            directories: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Moves until the workload stops.
    pub async fn run(
        mut self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        let clock = &reach.host.clock;
        let mut since = clock.now().mono;
        while !progress.is_stopping() {
            clock.sleep_until(clock.now().mono + self.pause).await;
            let connected = reach.connect().await;
            let draw = reach.host.rng.next_u64();
            let ended = match connected {
                Ok(client) if draw.is_multiple_of(LOOKS) || self.seen.is_empty() => {
                    self.look(&client, progress).await
                }
                Ok(client) => self.wish(&client, progress, draw / LOOKS).await,
                Err(error) => Err(error),
            };
            match ended {
                Ok(()) => {
                    progress.operation();
                    pulse.beat();
                    since = clock.now().mono;
                }
                Err(error) => reach.bear(&error, &mut since).await?,
            }
        }
        Ok(())
    }

    /// Wishes a partition that was seen into some directory, the one that it is in now and then.
    async fn wish(&self, client: &Client, progress: &Progress, draw: u64) -> Result<(), Error> {
        let pick = |draw: u64, len: usize| usize::try_from(draw % len as u64).unwrap_or(0);
        let (name, partition) = &self.seen[pick(draw, self.seen.len())];
        let path = &self.directories[pick(draw / 1024, self.directories.len())];
        let mut topic = AlterReplicaLogDirTopic::default();
        topic.name = name.as_str().into();
        topic.partitions = vec![*partition];
        let mut directory = AlterReplicaLogDir::default();
        directory.path = path.as_str().into();
        directory.topics = vec![topic];
        let mut request = AlterReplicaLogDirsRequest::default();
        request.dirs = vec![directory];
        let answer = client.call(&request).await?;
        let rows = answer.read()?.results.into_iter();
        let rows: Vec<_> = rows
            .flat_map(|topic| topic.partitions.into_iter())
            .map(|row| ErrorCode::from_code(row.error_code))
            .collect();
        // Its topic may be gone, the directory away or out of service.
        let allowed = [
            Some(ErrorCode::None),
            Some(ErrorCode::UnknownTopicOrPartition),
            Some(ErrorCode::KafkaStorageError),
        ];
        if rows.len() != 1 || !allowed.contains(&rows[0]) {
            let why = format!("{name}-{partition} to {path}: {rows:?}");
            progress.convict(Anomaly::Topic(why));
        }
        Ok(())
    }

    /// Looks where everything is.
    async fn look(&mut self, client: &Client, progress: &Progress) -> Result<(), Error> {
        let mut request = DescribeLogDirsRequest::default();
        request.topics = None;
        let answer = client.call(&request).await?;
        let mut places: BTreeMap<(String, i32), Place> = BTreeMap::new();
        let mut directories = Vec::new();
        for (at, directory) in answer.read()?.results.into_iter().enumerate() {
            directories.push(directory.log_dir.to_owned());
            for topic in directory.topics {
                for row in topic.partitions {
                    let key = (topic.name.to_owned(), row.partition_index);
                    let place = places.entry(key.clone()).or_default();
                    let one = if row.is_future_key {
                        &mut place.1
                    } else {
                        &mut place.0
                    };
                    if let Some(other) = one.replace(at) {
                        let why = format!("{key:?} lies in directories {other} and {at}");
                        progress.convict(Anomaly::Topic(why));
                    }
                }
            }
        }
        for (key, (current, future)) in &places {
            if current == future {
                let why = format!("{key:?} moves to where it is");
                progress.convict(Anomaly::Topic(why));
            }
        }
        self.directories = directories;
        self.seen = places.into_keys().collect();
        self.seen.retain(|(name, _)| *name != self.spared);
        Ok(())
    }
}
