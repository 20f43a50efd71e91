//! One process: a broker on a recorded disk, and the client that asks it. What it acknowledges or
//! shows goes into what is promised.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_client::{Acks, Client, ConnectionOptions, Error, NewTopic, PartitionReader, Topic};
use millrace_config::BrokerConfig;
use millrace_host::Host;
use millrace_images::disk::{Machine, lock};
use millrace_images::{Draw, Wrong};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::records::{BatchBuilder, Options, Scratch, record_iter};
use millrace_server::Broker;
use millrace_sim::Sim;

use super::mount::{Mounted, OLD, Stands, UNDER};
use super::promise::{Known, Promises};
use super::{METADATA, SECOND};
use crate::shape::ADDRESS;
use crate::side;

/// The node of the clients in the simulated net.
const CLIENTS: &str = "c";
/// How long somebody asks again for what is not there yet.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// What is said of a partition whose directory is away.
const REFUSED: [ErrorCode; 2] = [ErrorCode::KafkaStorageError, ErrorCode::LeaderNotAvailable];

/// How the node is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// With a second log directory.
    pub(super) two: bool,
    /// Bytes of metadata between two snapshots.
    pub(super) snapshot_bytes: u64,
}

impl Setup {
    pub(super) fn config(self) -> Result<BrokerConfig, Wrong> {
        let dirs = if self.two {
            format!("{METADATA},{SECOND}")
        } else {
            METADATA.to_owned()
        };
        let pairs = [
            ("listeners", format!("PLAINTEXT://{ADDRESS}")),
            ("admin.listener", String::new()),
            ("log.dirs", dirs),
            ("log.dir.reserve.bytes", "0".to_owned()),
            ("log.journal.initial.bytes", (1 << 20).to_string()),
            ("log.journal.file.bytes.max", (1 << 20).to_string()),
            (
                "metadata.log.max.record.bytes.between.snapshots",
                self.snapshot_bytes.to_string(),
            ),
            ("log.flush.lag.ms", "2".to_owned()),
        ];
        let pairs = pairs.iter().map(|(key, value)| (*key, value.as_str()));
        BrokerConfig::from_pairs(pairs).map_err(text)
    }
}

/// Whether a partition's log directory is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    No,
    Yes,
    /// Nothing in it was acknowledged yet.
    Perhaps,
}

/// For `map_err`: what went wrong, as text.
pub(super) fn text(error: impl std::fmt::Display) -> Wrong {
    error.to_string()
}

/// A process that serves.
pub(super) struct Node<'a> {
    sim: &'a Sim,
    broker: Broker,
    client: Client,
    machine: Arc<Mutex<Machine>>,
    promises: Arc<Mutex<Promises>>,
    away: &'static str,
    stands: Stands,
}

impl<'a> Node<'a> {
    /// Starts on what is there; `stands` in the place of `away`.
    pub(super) async fn start(
        sim: &'a Sim,
        (host, config): (Host, BrokerConfig),
        machine: &Arc<Mutex<Machine>>,
        promises: &Arc<Mutex<Promises>>,
        (away, stands): (&'static str, Stands),
    ) -> Result<Self, Wrong> {
        sim.kill(CLIENTS);
        let disk = Mounted {
            disk: Arc::clone(&host.disk),
            directory: away,
            stands,
        };
        let host = Host {
            disk: Arc::new(disk),
            ..host
        };
        let broker = Broker::start(config, host).await;
        let broker = broker.map_err(|error| format!("no start: {error}"))?;
        let clients = sim.node(CLIENTS);
        let options = ConnectionOptions::default();
        let client = Client::connect(&clients, ADDRESS, options).await;
        Ok(Self {
            sim,
            broker,
            client: client.map_err(text)?,
            machine: Arc::clone(machine),
            promises: Arc::clone(promises),
            away,
            stands,
        })
    }

    /// Holds everything that is shown against what was promised; records only if `all`.
    pub(super) async fn look(&self, all: bool) -> Result<(), Wrong> {
        let answer = self.client.metadata(None).await.map_err(text)?;
        let mut shown = BTreeMap::new();
        let view = answer.read().map_err(text)?;
        for topic in view.topics {
            let name = topic.name.unwrap_or_default().to_owned();
            let partitions = i32::try_from(topic.partitions.len()).unwrap_or(-1);
            shown.insert(name, (topic.topic_id, partitions));
        }
        let there = {
            let mut promises = lock(&self.promises);
            let cluster = view.cluster_id.unwrap_or_default().to_owned();
            let known = promises.cluster.get_or_insert_with(|| cluster.clone());
            if *known != cluster {
                return Err(format!("cluster {known} is {cluster} now"));
            }
            promises.shown(&shown)?;
            promises.terms.sound()?;
            promises.there()
        };
        for (name, id, partitions) in there.iter().filter(|_| all) {
            for partition in 0..*partitions {
                self.read((name, *id, *partitions), partition).await?;
            }
        }
        Ok(())
    }

    /// Reads a partition that records were sent to.
    async fn read(
        &self,
        (name, id, partitions): (&str, TopicId, i32),
        partition: i32,
    ) -> Result<(), Wrong> {
        let records = lock(&self.promises).records.get(&(id, partition)).cloned();
        let Some(records) = records else {
            return Ok(());
        };
        let topic = Topic {
            name: name.to_owned(),
            id,
            partitions,
        };
        let away = self.is_away(records.home);
        let found = self.again(away, async || self.values(&topic, partition).await);
        let found = match (found.await, away) {
            (Ok(found), Away::Yes) => {
                return Err(format!(
                    "{name}-{partition} is away, and {} records are shown",
                    found.len()
                ));
            }
            (Err(Error::Broker { .. }), Away::Yes | Away::Perhaps) => return Ok(()),
            (Err(error), _) => return Err(format!("{name}-{partition}: {error}")),
            (Ok(found), Away::No | Away::Perhaps) => found,
        };
        for (offset, value) in &records.kept {
            if found.get(offset) != Some(value) {
                let found = found.get(offset);
                return Err(format!(
                    "{name}-{partition}: {found:x?} at {offset} instead of {value:x}"
                ));
            }
        }
        for (offset, value) in &found {
            if !records.sent.contains(value) {
                return Err(format!(
                    "{name}-{partition}: nobody sent {value:x} at {offset}"
                ));
            }
        }
        let mut promises = lock(&self.promises);
        promises.records.entry((id, partition)).or_default().kept = found;
        Ok(())
    }

    async fn values(&self, topic: &Topic, partition: i32) -> Result<BTreeMap<i64, u64>, Error> {
        let mut reader = PartitionReader::new(&self.client, topic, partition).await?;
        let mut found = BTreeMap::new();
        let mut scratch = Scratch::new(0);
        loop {
            let batches = reader.next().await?;
            if batches.is_empty() {
                return Ok(found);
            }
            for batch in &batches {
                let records = record_iter(batch, &mut scratch).into_iter().flatten();
                for record in records.flatten() {
                    let value = record.value.and_then(|value| value.first_chunk::<8>());
                    let value = value.map_or(0, |value| u64::from_le_bytes(*value));
                    found.insert(record.offset, value);
                }
            }
        }
    }

    /// Whether a partition with that home is away: not, surely, or perhaps.
    fn is_away(&self, home: Option<&'static str>) -> Away {
        let is_used = self.stands == Stands::OldCopy && lock(&self.promises).copy_is_used;
        match home {
            _ if self.stands == Stands::Itself || is_used => Away::No,
            Some(home) if home != self.away => Away::No,
            Some(_) => Away::Yes,
            None => Away::Perhaps,
        }
    }

    /// Asks again while it is refused for now; not of what is away.
    async fn again<T>(
        &self,
        away: Away,
        ask: impl AsyncFn() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let clock = self.sim.node(CLIENTS).clock;
        let until = clock.now().mono + PATIENCE;
        loop {
            match ask().await {
                Err(error @ Error::Broker { .. })
                    if away == Away::No && error.is_retriable() && clock.now().mono < until =>
                {
                    self.sim.pause(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Makes a topic.
    pub(super) async fn create(&self, name: &str, partitions: i32) -> Result<Topic, Wrong> {
        let known = Known::Asked(partitions);
        let before = lock(&self.promises).topics.insert(name.to_owned(), known);
        let new = NewTopic::new(name, partitions);
        // A name is free once the removal of what had it before is durable.
        let made = self.again(Away::No, async || self.client.create_topic(&new).await);
        let made = made.await.map_err(text)?;
        let mut promises = lock(&self.promises);
        if let Some(Known::There(id, _)) = before {
            return Err(format!("{name} is there as {id}, and was made again"));
        }
        if promises.gone.contains(&made.id) || made.partitions != partitions {
            return Err(format!("{name} was made as {made:?}"));
        }
        let known = Known::There(made.id, partitions);
        promises.topics.insert(name.to_owned(), known);
        Ok(made)
    }

    /// Removes a topic.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Wrong> {
        let Some(Known::There(id, partitions)) = lock(&self.promises).topics.get(name).copied()
        else {
            return Err(format!("{name} is not there"));
        };
        let leaving = Known::Leaving(id, partitions);
        lock(&self.promises).topics.insert(name.to_owned(), leaving);
        let removed = side::remove(&self.client, name).await;
        removed.map_err(text)?;
        let mut promises = lock(&self.promises);
        promises.gone.insert(id);
        promises.topics.insert(name.to_owned(), Known::Gone);
        Ok(())
    }

    /// Appends one record to a partition.
    pub(super) async fn produce(
        &self,
        name: &str,
        partition: i32,
        draw: &mut Draw,
    ) -> Result<(), Wrong> {
        let Some(Known::There(id, partitions)) = lock(&self.promises).topics.get(name).copied()
        else {
            return Err(format!("{name} is not there"));
        };
        let topic = Topic {
            name: name.to_owned(),
            id,
            partitions,
        };
        let value = draw.bits();
        let mut builder = BatchBuilder::new(Options::default());
        let pushed = builder.push(0, None, Some(&value.to_le_bytes()), &[]);
        pushed.map_err(text)?;
        let batch = builder.build();
        let home = {
            let mut promises = lock(&self.promises);
            let records = promises.records.entry((id, partition)).or_default();
            records.sent.insert(value);
            records.home
        };
        let away = self.is_away(home);
        let sent = self.again(away, async || {
            let batch = batch.clone();
            self.client
                .produce(&topic, partition, Acks::All, batch)
                .await
        });
        let base = match sent.await {
            Ok(produced) => produced.ok_or("no answer")?.base_offset,
            Err(Error::Broker { code, .. }) if away != Away::No && REFUSED.contains(&code) => {
                return Ok(());
            }
            Err(error) => return Err(format!("{name}-{partition}: {error}")),
        };
        if away == Away::Yes {
            return Err(format!(
                "{name}-{partition} is away, and takes a record at {base}"
            ));
        }
        let home = home.or_else(|| self.home(name, partition));
        let mut promises = lock(&self.promises);
        let records = promises.records.entry((id, partition)).or_default();
        records.home = home;
        match records.kept.insert(base, value) {
            Some(was) => Err(format!("{name}-{partition}: {was:x} was at {base}")),
            None => Ok(()),
        }
    }

    /// The log directory that holds a partition.
    fn home(&self, name: &str, partition: i32) -> Option<&'static str> {
        let machine = lock(&self.machine);
        let cache = &machine.volume.cache;
        let is_in = |place: &str| {
            let home = PathBuf::from(place).join(format!("{name}-{partition}"));
            cache.lookup(&home).is_some()
        };
        let place = |directory| match self.stands {
            Stands::OldCopy if directory == self.away => OLD,
            Stands::Itself
            | Stands::Failing
            | Stands::Nothing
            | Stands::MountPoint
            | Stands::OldCopy => directory,
        };
        let mut directories = [METADATA, SECOND].into_iter();
        directories.find(|directory| is_in(place(directory)))
    }

    /// A clean stop.
    pub(super) async fn stop(self) {
        self.broker.stop().await;
    }

    /// Nothing was begun in the place of what is away, and no rule of the terms was broken.
    pub(super) fn sound(&self) -> Result<(), Wrong> {
        lock(&self.promises).terms.sound()?;
        let machine = lock(&self.machine);
        let cache = &machine.volume.cache;
        if cache.lookup(Path::new("/nothing")).is_some() {
            return Err("a directory is made where another one should be mounted".to_owned());
        }
        let under = cache.lookup(Path::new(UNDER));
        let names = under.and_then(|under| cache.dirs.get(&under));
        match names.filter(|names| !names.is_empty()) {
            Some(names) => Err(format!("{names:?} was made in an empty mount point")),
            None => Ok(()),
        }
    }
}
