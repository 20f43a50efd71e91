//! The partitions that are open on this node, and the log directories that hold them.
//!
//! What always holds: a partition is opened at its first use, by one task, and looked for only in
//! the directory that the metadata name; a removed topic's partitions serve nothing from the moment
//! they are taken out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use millrace_config::{BrokerConfig, Durability, TopicConfig};
use millrace_core::Now;
use millrace_core::cluster::{Directory, Image, Topic};
use millrace_core::partition::{
    AssignedReplica, BatchProducer, EpochStart, Event, Leadership, Partition, ProducerTable,
    Recovered, ReplayedBatch,
};
use millrace_host::{Host, Pool};
use millrace_log::dir::LogDir;
use millrace_log::error::Error;
use millrace_log::handles::Handles;
use millrace_log::mark::Incarnation;
use millrace_log::partition::{Opened, Partitions, Replay};
use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::{MetadataRecord, PartitionChangeRecord};
use millrace_protocol::producer::ProducerEntry;
use millrace_protocol::records::BatchHeader;
use tokio::sync::oneshot;

use super::cleaning::Cleaner;
use super::freed::Freed;
use super::moving::Moves;
use super::partition::{Configuration, OpenPartition, PartitionSink};
use super::producer_count::ProducerCount;
use super::removal_reports::Reports;
use super::schedule::Schedule;
use super::settings::{core_durability, core_settings, log_settings};
pub(crate) use super::slot::NotServed;
use super::slot::Slot;
use super::topic_configs::{TopicConfigs, version};
use crate::cluster::{Cluster, MetadataError};

/// All of them.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(super) host: Host,
    pub(super) config: Arc<BrokerConfig>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) directories: BTreeMap<Directory, Partitions>,
    /// The directory that holds the metadata log.
    metadata_directory: Directory,
    /// What must be published before another directory serves: the metadata know its generation
    /// then, so that an old copy of it is told from it (A1).
    registered_at: i64,
    topic_configs: TopicConfigs,
    producer_count: Arc<ProducerCount>,
    pub(super) schedule: Arc<Schedule>,
    /// What deleted partitions had in memory.
    pub(super) freed: Freed,
    /// Removed topics whose data are gone.
    pub(super) reports: Reports,
    /// Where the metadata ended when the node started.
    started_at: i64,
    slots: Mutex<BTreeMap<Incarnation, Arc<Slot<OpenPartition>>>>,
    pub(super) moves: Moves,
    pub(super) cleaner: Cleaner,
}

impl Registry {
    /// Nothing open yet. The node is registered in the metadata log, which lies in that directory,
    /// up to that offset.
    pub(crate) fn new(
        host: Host,
        config: Arc<BrokerConfig>,
        cluster: Arc<Cluster>,
        directories: BTreeMap<Directory, Partitions>,
        (metadata_directory, registered_at): (Directory, i64),
    ) -> Self {
        Self {
            host,
            topic_configs: TopicConfigs::new(Arc::clone(&config)),
            producer_count: Arc::new(ProducerCount::new(config.produce.producers_max as usize)),
            schedule: Arc::default(),
            freed: Freed::default(),
            reports: Reports::default(),
            started_at: cluster.image().offset(),
            moves: Moves::new(config.log.moves_at_once as usize),
            cleaner: Cleaner::new(),
            config,
            cluster,
            directories,
            metadata_directory,
            registered_at,
            slots: Mutex::new(BTreeMap::new()),
        }
    }

    /// The partition, opened if need be.
    pub(crate) async fn get(
        self: &Arc<Self>,
        topic: &Topic,
        partition: i32,
    ) -> Result<Arc<OpenPartition>, NotServed> {
        let incarnation = Incarnation {
            topic_id: topic.id.to_bytes(),
            partition,
        };
        let slot = Arc::clone(self.lock().entry(incarnation).or_default());
        if let Some(open) = slot.get() {
            return Ok(Arc::clone(open));
        }
        if let Some(why) = slot.refusal(self.host.clock.now().mono) {
            return Err(why);
        }
        // In a task of its own: an opening is not left half done when who asked for it goes.
        let (tell, told) = oneshot::channel();
        let (registry, topic) = (Arc::clone(self), topic.clone());
        let opening = async move {
            let opened = registry.open_in(&slot, &topic, partition).await;
            // Whoever no longer waits needs no answer.
            tell.send(opened).ok();
        };
        let name = "partition open";
        drop(self.host.spawn.spawn(Pool::Data, name, Box::pin(opening)));
        let ended = |_| Err(NotServed::for_good("the node ends"));
        told.await.unwrap_or_else(ended)
    }

    async fn open_in(
        self: &Arc<Self>,
        slot: &Slot<OpenPartition>,
        topic: &Topic,
        partition: i32,
    ) -> Result<Arc<OpenPartition>, NotServed> {
        let open = async || {
            // A removal waits for openings that it finds in the slots; none begins behind it.
            if self.cluster.image().topic(topic.id).is_none() {
                return Err(removed());
            }
            self.open(topic, partition).await
        };
        let opened = slot.get_or_open(self.host.clock.as_ref(), open).await;
        // Its configuration may have changed while it was opened, and nobody told it.
        if let Ok(open) = &opened {
            self.configure(&self.cluster.image(), open);
        }
        // The topic may have gone while it was opened: nobody else would take it out again.
        if self.cluster.image().topic(topic.id).is_none() {
            self.remove_topic(topic.id);
            // Taken out before it was in: nobody told it either.
            if let Ok(open) = &opened {
                open.step(Event::Deleted).ok();
            }
        }
        opened
    }

    /// The configuration of a topic, as it stands in the image. Cheap: asked for each request.
    pub(crate) fn topic_config(&self, image: &Image, topic: &Topic) -> Option<Arc<TopicConfig>> {
        self.topic_configs.get(image, topic)
    }

    /// The broker's configuration, as it stands in the image. Cheap.
    pub(crate) fn broker_config(&self, image: &Image) -> Arc<BrokerConfig> {
        self.topic_configs.broker(image)
    }

    /// Has an open partition go by its configuration in `image`.
    pub(crate) fn configure(&self, image: &Image, open: &Arc<OpenPartition>) {
        let incarnation = open.incarnation();
        let Some(topic) = image.topic(TopicId::from_bytes(incarnation.topic_id)) else {
            return;
        };
        let Some(config) = self.topic_config(image, topic) else {
            return;
        };
        let configuration = Configuration {
            version: version(image, topic),
            log: log_settings(&config, incarnation),
            core: core_settings(&self.broker_config(image), &config),
        };
        // One that is broken says so to whoever asks for it.
        if open.configure(&configuration) == Ok(true) {
            let changing = Arc::clone(open).change_durability();
            let spawn = &self.host.spawn;
            drop(spawn.spawn(Pool::Data, "durability change", Box::pin(changing)));
        }
    }

    /// Has every open partition go by its configuration in `image`; of one topic, if one is named.
    /// What retention owes to the others may be due earlier now.
    pub(crate) fn configure_open(&self, image: &Image, topic: Option<TopicId>) {
        for partitions in self.directories.values() {
            let written = topic.map(|topic| partitions.dir().written_of(topic.to_bytes()));
            for incarnation in written.into_iter().flatten() {
                self.schedule.changed(incarnation);
            }
        }
        if topic.is_none() {
            self.check_written();
        }
        for open in self.open_partitions() {
            if topic.is_none_or(|id| id.to_bytes() == open.incarnation().topic_id) {
                self.configure(image, &open);
            }
        }
    }

    /// Takes out what is open, or being opened, of a topic.
    pub(super) fn take_topic(&self, topic: TopicId) -> Vec<Arc<Slot<OpenPartition>>> {
        let of = |partition| Incarnation {
            topic_id: topic.to_bytes(),
            partition,
        };
        self.topic_configs.forget(topic);
        let mut slots = self.lock();
        let keys: Vec<Incarnation> = slots
            .range(of(0)..=of(i32::MAX))
            .map(|(key, _)| *key)
            .collect();
        self.schedule.forget_topic(topic.to_bytes());
        keys.iter().filter_map(|key| slots.remove(key)).collect()
    }

    async fn open(&self, topic: &Topic, partition: i32) -> Result<Arc<OpenPartition>, NotServed> {
        let opened = self.try_open(topic, partition).await;
        if let Err(why) = &opened {
            let (topic, reason) = (&*topic.name, &*why.message);
            if why.may_pass {
                tracing::warn!(
                    topic,
                    partition,
                    reason,
                    "a partition can't be opened for now"
                );
            } else {
                tracing::error!(
                    topic,
                    partition,
                    reason,
                    "a partition can't be opened; it stays offline until the next start"
                );
            }
        }
        opened
    }

    async fn try_open(
        &self,
        topic: &Topic,
        partition: i32,
    ) -> Result<Arc<OpenPartition>, NotServed> {
        let image = self.cluster.image();
        let partitions = self.directory(topic, partition)?;
        let config = self.topic_config(&image, topic).ok_or_else(|| {
            NotServed::for_now(
                ErrorCode::UnknownServerError,
                "its configuration can't be read",
            )
        })?;
        let sink = Arc::new(PartitionSink::default());
        let mut producers = Rebuild {
            now: self.now(),
            table: ProducerTable::default(),
        };
        let incarnation = Incarnation {
            topic_id: topic.id.to_bytes(),
            partition,
        };
        let unknown = partitions.dir().entry(&incarnation).is_none();
        let opened = partitions
            .open(
                incarnation,
                &topic.name,
                log_settings(&config, incarnation),
                sink.clone(),
                &mut producers,
            )
            .await?;
        let mut recovered = self.recovered(&image, &config, &opened);
        // With the page cache the first records can go together with every trace of them.
        let is_older = topic.config_offset.is_some_and(|at| at <= self.started_at);
        if unknown && is_older && config.durability == Durability::PageCache {
            recovered.may_have_lost = true;
        }
        let (room, own_max) = (self.producer_count.room(), recovered.settings.producers_max);
        producers
            .table
            .keep_newest(producers.now, room.max(1), own_max);
        let core = Partition::recovered(&recovered, producers.table);
        let open = Arc::new(OpenPartition::new(
            Arc::clone(&topic.name),
            Arc::clone(&self.host.clock),
            core,
            (Arc::clone(partitions.dir()), opened.log),
            (&self.producer_count, &self.schedule),
        ));
        sink.attach(&open);
        // In the directory of the metadata log they are durable in order by themselves.
        if TopicId::from_bytes(partitions.dir().id()) != self.metadata_directory {
            self.cluster.published(self.registered_at).await?;
        }
        if recovered.may_have_lost {
            reached(Branch::EpochAfterLoss);
            new_epoch(&self.cluster, topic.id, partition, self.config.node.id).await?;
        }
        self.lead(&self.cluster.image(), topic.id, partition, &open);
        open.check_soon();
        Ok(open)
    }

    /// The directory in which the metadata place this node's replica.
    pub(super) fn directory(
        &self,
        topic: &Topic,
        partition: i32,
    ) -> Result<&Partitions, NotServed> {
        let own_id = self.config.node.id;
        let assigned = topic.partitions.get(&partition).ok_or_else(|| {
            let code = ErrorCode::UnknownTopicOrPartition;
            NotServed::for_now(code, "the topic has no such partition")
        })?;
        let directory = assigned.directory_of(own_id).unwrap_or_default();
        let elsewhere = || {
            let mut others = self.directories.values();
            others
                .next()
                .filter(|_| planted(Bug::PartitionRecreatedElsewhere))
        };
        let named = self.directories.get(&directory);
        let partitions = named.or_else(elsewhere).ok_or_else(|| {
            NotServed::for_good(format!(
                "its log directory {directory} is missing: it is not named in log.dirs, not \
                 mounted, or could not be used when the node started"
            ))
        })?;
        // Nothing is read there either: who could say what of it is on the disk?
        if let Some(reason) = partitions.dir().offline() {
            let path = partitions.dir().path().clone();
            return Err(Error::Offline { path, reason }.into());
        }
        Ok(partitions)
    }

    /// What core is told of a log that was opened.
    fn recovered(&self, image: &Image, config: &TopicConfig, opened: &Opened) -> Recovered {
        let epochs = opened.epochs.iter();
        Recovered {
            broker_id: self.config.node.id,
            settings: core_settings(&self.broker_config(image), config),
            durability: core_durability(opened.mode),
            log_start: opened.log_start,
            log_end: opened.log_end,
            flushed: opened.flushed,
            high_watermark: opened.high_watermark,
            cut_count: opened.log.cut_count(),
            epochs: epochs
                .map(|(epoch, start_offset)| EpochStart {
                    epoch: *epoch,
                    start_offset: *start_offset,
                })
                .collect(),
            may_have_lost: opened.may_have_lost,
            read_only: opened.quarantined.is_some(),
        }
    }

    /// Tells a partition who leads it, as the image says.
    fn lead(&self, image: &Image, topic: TopicId, partition: i32, open: &OpenPartition) {
        let Some(assigned) = image
            .topic(topic)
            .and_then(|t| t.partitions.get(&partition))
        else {
            return;
        };
        let replica = |id: &i32| {
            let broker = image.broker(*id);
            AssignedReplica {
                broker_id: *id,
                broker_epoch: broker.map_or(-1, |broker| broker.epoch),
                eligible: broker.is_some_and(|broker| !broker.fenced),
            }
        };
        let event = if assigned.leader == self.config.node.id {
            Event::BecomeLeader(Leadership {
                leader_epoch: assigned.leader_epoch,
                partition_epoch: assigned.partition_epoch,
                replicas: assigned.replicas.iter().map(replica).collect(),
                isr: assigned.isr.clone(),
            })
        } else {
            Event::BecomeFollower {
                leader_epoch: assigned.leader_epoch,
                leader: assigned.leader,
            }
        };
        // A partition that is broken says so to whoever asks for it.
        open.step(event).ok();
    }

    /// Removes the files of deleted partitions that an earlier run left behind.
    pub(crate) async fn sweep_deleted(&self) {
        for partitions in self.directories.values() {
            if let Err(error) = partitions.sweep_deleted().await {
                tracing::warn!(%error, "files of deleted partitions stay on disk for now");
            }
        }
    }

    /// The latest wall time that a log directory remembers, in ms since 1970 (A4).
    pub(crate) fn last_wall_ms(&self) -> Option<i64> {
        let stamps = self
            .directories
            .values()
            .map(|partitions| partitions.dir().last_wall_ms());
        stamps.max().filter(|stamp| *stamp > 0)
    }

    /// The log directory at `path`, unless it is missing or failed.
    pub(crate) fn directory_at(&self, path: &Path) -> Option<Directory> {
        let mut opened = self.directories.iter();
        let (id, partitions) = opened.find(|(_, partitions)| partitions.dir().path() == path)?;
        partitions.dir().offline().is_none().then_some(*id)
    }

    /// Bytes of a partition's segments; `None` when it can't be opened. It is not opened for that.
    pub(crate) async fn size_bytes(&self, topic: &Topic, partition: i32) -> Option<u64> {
        let incarnation = Incarnation {
            topic_id: topic.id.to_bytes(),
            partition,
        };
        if let Some(open) = self.opened(&incarnation) {
            return open.size_bytes().ok();
        }
        let directory = self.directory(topic, partition).ok()?;
        directory.closed_size_bytes(incarnation).await.ok()?
    }

    /// The offset after a partition's last record; `None` when it can't be opened.
    pub(crate) async fn log_end(self: &Arc<Self>, topic: &Topic, partition: i32) -> Option<i64> {
        let open = self.get(topic, partition).await.ok()?;
        open.look(|core| core.bounds().log_end).ok()
    }

    /// The high watermark of a partition, as far as that is known without opening it; `None` when
    /// it can't be opened.
    pub(crate) fn known_high_watermark(&self, topic: &Topic, partition: i32) -> Option<i64> {
        let incarnation = Incarnation {
            topic_id: topic.id.to_bytes(),
            partition,
        };
        if let Some(open) = self.opened(&incarnation) {
            return open.measure().ok().map(|shown| shown.high_watermark);
        }
        let directory = self.directory(topic, partition).ok()?;
        // What was never written has nothing.
        Some(directory.dir().high_watermark(&incarnation).unwrap_or(0))
    }

    /// The open segments of a directory in use.
    pub(crate) fn handles(&self, directory: Directory) -> Option<&Arc<Handles>> {
        let partitions = self.directories.get(&directory)?;
        Some(partitions.handles())
    }

    /// Whether the log directory in which the metadata place a partition can be used.
    pub(crate) fn is_placed(&self, topic: &Topic, partition: i32) -> Result<(), NotServed> {
        self.directory(topic, partition).map(drop)
    }

    /// Whether anything of a partition was ever written.
    pub(crate) fn was_written(&self, topic: &Topic, partition: i32) -> bool {
        let incarnation = Incarnation {
            topic_id: topic.id.to_bytes(),
            partition,
        };
        let directory = self.directory(topic, partition);
        directory.is_ok_and(|directory| directory.dir().entry(&incarnation).is_some())
    }

    /// The log directories that were opened.
    pub(crate) fn opened_directories(&self) -> Vec<(Directory, Arc<LogDir>)> {
        let opened = self.directories.iter();
        opened
            .map(|(id, partitions)| (*id, Arc::clone(partitions.dir())))
            .collect()
    }

    /// The log directories, to see when nobody holds them any more.
    pub(crate) fn dirs(&self) -> Vec<Weak<LogDir>> {
        let dirs = self.directories.values();
        dirs.map(|partitions| Arc::downgrade(partitions.dir()))
            .collect()
    }

    /// Moves between the log directories.
    pub(crate) fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Compaction of the logs.
    pub(crate) fn cleaner(&self) -> &Cleaner {
        &self.cleaner
    }

    /// Forgets an open partition, so that who asks for it next opens it anew.
    pub(super) fn forget(&self, open: &Arc<OpenPartition>) {
        let mut slots = self.lock();
        let slot = slots.get(&open.incarnation());
        if slot.is_some_and(|slot| slot.get().is_some_and(|known| Arc::ptr_eq(known, open))) {
            slots.remove(&open.incarnation());
            self.schedule.changed(open.incarnation());
        }
    }

    /// A partition, if it is open.
    pub(crate) fn opened(&self, incarnation: &Incarnation) -> Option<Arc<OpenPartition>> {
        self.lock().get(incarnation)?.get().cloned()
    }

    /// How many partitions and configurations of topics it keeps.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.lock().len(), self.topic_configs.len())
    }

    /// Every partition that is open now.
    pub(crate) fn open_partitions(&self) -> Vec<Arc<OpenPartition>> {
        let slots = self.lock();
        slots
            .values()
            .filter_map(|slot| slot.get().cloned())
            .collect()
    }

    /// Closes every open partition cleanly, then the directories.
    pub(crate) async fn close(&self, cluster: &Cluster) {
        self.moves.end();
        self.moves.until_none(None).await;
        self.cleaner.cancel(None);
        self.cleaner.until_none(None).await;
        self.close_partitions().await;
        if let Err(error) = cluster.close().await {
            tracing::error!(%error, "the metadata log was not closed cleanly");
        }
        for partitions in self.directories.values() {
            if let Err(error) = partitions.dir().close().await {
                tracing::error!(%error, "a log directory was not closed cleanly");
            }
        }
    }

    fn now(&self) -> Now {
        let now = self.host.clock.now();
        Now {
            mono_ns: now.mono.0,
            wall_ms: now.wall_ms,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Incarnation, Arc<Slot<OpenPartition>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer for a partition whose topic is gone.
pub(super) fn removed() -> NotServed {
    NotServed::for_now(ErrorCode::UnknownTopicOrPartition, "the topic was removed")
}

/// Begins a new leader epoch: records of the old one, which others may have seen, were lost.
async fn new_epoch(
    cluster: &Cluster,
    topic_id: TopicId,
    partition_id: i32,
    leader: i32,
) -> Result<(), MetadataError> {
    cluster
        .propose(|image, _| {
            let there = image
                .topic(topic_id)
                .is_some_and(|t| t.partitions.contains_key(&partition_id));
            let change = MetadataRecord::PartitionChange(PartitionChangeRecord {
                partition_id,
                topic_id,
                leader: Some(leader),
                ..PartitionChangeRecord::default()
            });
            ((), if there { vec![change] } else { Vec::new() })
        })
        .await
}

/// Rebuilds core's producers from what the log replays.
struct Rebuild {
    now: Now,
    table: ProducerTable,
}

impl Replay for Rebuild {
    fn producers(&mut self, entries: Vec<ProducerEntry>) {
        self.table = ProducerTable::load(self.now, &entries);
    }

    fn batch(&mut self, header: &BatchHeader) {
        if !header.has_producer_id() {
            return;
        }
        let batch = ReplayedBatch {
            producer: BatchProducer {
                producer_id: header.producer_id,
                producer_epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
            },
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            transactional: header.is_transactional(),
            control: header.is_control(),
        };
        self.table.replay_batch(self.now, &batch);
    }
}
