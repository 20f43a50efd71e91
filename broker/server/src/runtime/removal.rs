//! Removing topics' data from this node's directories, and saying so in the metadata.
//!
//! What always holds: a topic stays on the list of removed ones, snapshots included, until every
//! directory that may hold its data has reported that it doesn't; a directory reports only what its
//! ledger says; data whose topic is neither alive nor on the list are reported, never removed.

use std::sync::Arc;

use millrace_core::cluster::{Directory, Image};
use millrace_host::Pool;
use millrace_log::dir::LogDir;
use millrace_log::mark::Incarnation;
use millrace_protocol::ids::TopicId;

use super::registry::{Registry, removed};

/// How many unknown partitions a warning names.
const NAMED_MAX: usize = 5;

impl Registry {
    /// Gives memory back to the machine when many partitions have gone.
    pub(super) fn give_back_memory(&self) {
        if self.freed.take(self.host.clock.now().mono) {
            self.host.memory.give_back();
        }
    }

    /// Takes a removed topic's partitions out, deletes their data in the background, and reports
    /// that they are gone.
    pub(crate) fn remove_topic(self: &Arc<Self>, topic: TopicId) {
        let notes = self.moves.withdraw(topic);
        self.cleaner.cancel(Some(topic));
        let mut removals = Vec::new();
        let mut opening = Vec::new();
        for slot in self.take_topic(topic) {
            match slot.get() {
                Some(open) => removals.push(open.remove()),
                None => opening.push(slot),
            }
        }
        let registry = Arc::clone(self);
        let open = removals.len() + opening.len();
        let work = async move {
            // No copy of it is made, or taken away, beside the removal.
            registry.forget_wishes(notes).await;
            registry.moves.until_none(Some(topic)).await;
            registry.cleaner.until_none(Some(topic)).await;
            for slot in opening {
                // Its directory isn't renamed under an opening.
                if let Some(open) = slot.end(removed()).await {
                    removals.push(open.remove());
                }
            }
            for removal in removals {
                if let Err(error) = removal.await {
                    tracing::error!(%topic, %error, "a deleted partition's data stay on disk");
                }
            }
            let gone = open + registry.remove_unopened(topic).await;
            registry.freed.add(gone, registry.host.clock.now().mono);
            if registry.reports.add(topic) {
                while let Some(topics) = registry.reports.take() {
                    registry.report_removed(&topics).await;
                }
            }
        };
        drop(
            self.host
                .spawn
                .spawn(Pool::Data, "topic removal", Box::pin(work)),
        );
    }

    /// Deletes what a removed topic has on disk and nobody opened: how many partitions.
    async fn remove_unopened(&self, topic: TopicId) -> usize {
        let mut count = 0;
        for partitions in self.directories.values() {
            let config = self.broker_config(&self.cluster.image());
            let delay = config.topics.defaults.file_delete_delay;
            for incarnation in partitions.dir().written_of(topic.to_bytes()) {
                count += 1;
                if let Err(error) = partitions.remove(incarnation, delay).await {
                    tracing::error!(%incarnation, %error, "a deleted partition's data stay on disk");
                }
            }
        }
        count
    }

    /// Reports the directories that hold nothing of removed topics. A topic of which something
    /// stayed behind is left for the next start.
    async fn report_removed(&self, topics: &[TopicId]) {
        for (directory, partitions) in &self.directories {
            let dir = partitions.dir();
            if dir.offline().is_some() {
                continue;
            }
            let gone: Vec<TopicId> = topics
                .iter()
                .copied()
                .filter(|topic| dir.written_of(topic.to_bytes()).is_empty())
                .collect();
            if let Err(error) = self.cluster.data_removed(&gone, &[*directory]).await {
                tracing::warn!(%error, "the removal of topics is reported at the next start");
            }
        }
    }

    /// Ends what a crash interrupted: removed topics that directories still hold. Then says what
    /// the directories hold that the metadata don't know.
    pub(crate) async fn finish_removals(&self) {
        let image = self.cluster.image();
        let own = |directory: &Directory| self.directories.contains_key(directory);
        let mut pending = Vec::new();
        for (topic, directories) in image.removed_topics() {
            if directories.iter().any(own) {
                self.remove_unopened(topic).await;
                pending.push(topic);
            }
        }
        if !pending.is_empty() {
            self.report_removed(&pending).await;
        }
        self.report_unknown(&image);
    }

    /// One warning for data whose topic is neither alive nor removed: of another cluster, or of
    /// metadata that were lost. They are left as they are. `image` is older than the ledgers, so
    /// that what is being deleted now is still known.
    fn report_unknown(&self, image: &Image) {
        for partitions in self.directories.values() {
            let dir = partitions.dir();
            let unknown = self.unknown(dir, image);
            if unknown.is_empty() {
                continue;
            }
            let name = |incarnation: &Incarnation| {
                let topic = dir.entry(incarnation).map(|entry| entry.topic);
                format!("{}-{}", topic.unwrap_or_default(), incarnation.partition)
            };
            let first: Vec<String> = unknown.iter().take(NAMED_MAX).map(name).collect();
            tracing::warn!(
                path = %dir.path().display(),
                partitions = unknown.len(),
                first = %first.join(", "),
                "the directory holds partitions of topics that the metadata don't know; they are \
                 not served and stay as they are: move them away once you know what they are"
            );
        }
    }

    /// What a directory holds of topics that neither `image` nor the newest one knows.
    fn unknown(&self, dir: &LogDir, image: &Image) -> Vec<Incarnation> {
        let mut unknown = dir.written();
        // Newer than what was written: what is written was created before.
        let newest = self.cluster.image();
        unknown.retain(|incarnation| {
            let id = TopicId::from_bytes(incarnation.topic_id);
            let knows = |image: &Image| image.topic(id).is_some() || image.is_removed(id);
            id != TopicId::METADATA && !knows(image) && !knows(&newest)
        });
        unknown
    }
}

#[cfg(test)]
mod tests {
    use millrace_config::BrokerConfig;
    use millrace_log::mark::{Mark, Position, SegmentId};
    use millrace_log::sink::DurabilitySink;
    use millrace_protocol::metadata::{ConfigRecord, MetadataRecord, PartitionRecord, TopicRecord};
    use millrace_sim::Sim;

    use super::*;
    use crate::storage;

    struct Silent;

    impl DurabilitySink for Silent {
        fn flushed(&self, _upto: i64, _cut_count: u32) {}
        fn directory_failed(&self, _reason: &str) {}
    }

    async fn start(sim: &Sim) -> Arc<Registry> {
        let config = BrokerConfig::from_pairs([("log.dirs", "/data")]).unwrap();
        let storage = storage::open(&sim.node("n"), &Arc::new(config), Vec::new()).await;
        storage.unwrap().partitions
    }

    fn id(at: u8) -> TopicId {
        TopicId::from_bytes([at; 16])
    }

    fn dir(registry: &Registry) -> Arc<LogDir> {
        Arc::clone(registry.directories.values().next().unwrap().dir())
    }

    fn partition(topic_id: TopicId, partition_id: i32, directory: Directory) -> MetadataRecord {
        MetadataRecord::Partition(PartitionRecord {
            partition_id,
            topic_id,
            replicas: vec![1],
            isr: vec![1],
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader: 1,
            leader_recovery_state: 0,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![directory],
        })
    }

    /// Makes the ledger know a partition of the topic.
    async fn write(registry: &Registry, topic: TopicId) {
        let incarnation = Incarnation {
            topic_id: topic.to_bytes(),
            partition: 0,
        };
        let dir = dir(registry);
        let handle = dir.flush_handle(incarnation, Position::default(), 0, Arc::new(Silent));
        let mark = Mark::Segment {
            id: SegmentId::default(),
            topic: "t".into(),
            holes: false,
        };
        handle.mark_now(mark).await.unwrap();
    }

    #[test]
    fn a_removal_that_a_crash_interrupted_ends_and_is_reported_for_good() {
        let sim = Sim::new(1);
        sim.block_on(async {
            let node = start(&sim).await;
            let directory = *node.directories.keys().next().unwrap();
            let records = vec![
                MetadataRecord::Topic(TopicRecord {
                    name: "t".to_owned(),
                    topic_id: id(5),
                }),
                partition(id(5), 0, directory),
            ];
            node.cluster.propose(|_, _| ((), records)).await.unwrap();
            write(&node, id(5)).await;
            let remove = vec![MetadataRecord::RemoveTopic(id(5))];
            node.cluster.propose(|_, _| ((), remove)).await.unwrap();
            sim.crash("n");
            let node = start(&sim).await;
            assert!(node.cluster.image().is_removed(id(5)));
            assert_eq!(dir(&node).written_of([5; 16]).len(), 1);
            node.finish_removals().await;
            assert_eq!(dir(&node).written_of([5; 16]), []);
            assert!(!node.cluster.image().is_removed(id(5)));
            sim.crash("n");
            let node = start(&sim).await;
            assert!(!node.cluster.image().is_removed(id(5)), "it was remembered");
        });
    }

    #[test]
    fn nothing_is_left_of_a_topic_that_was_removed() {
        let sim = Sim::new(3);
        sim.block_on(async {
            let node = start(&sim).await;
            let directory = *node.directories.keys().next().unwrap();
            let mut records = vec![
                MetadataRecord::Topic(TopicRecord {
                    name: "t".to_owned(),
                    topic_id: id(5),
                }),
                MetadataRecord::Config(ConfigRecord {
                    resource_type: 2,
                    resource_name: "t".to_owned(),
                    name: "retention.ms".to_owned(),
                    value: Some("1000".to_owned()),
                }),
            ];
            records.extend((0..3).map(|at| partition(id(5), at, directory)));
            node.cluster.propose(|_, _| ((), records)).await.unwrap();
            write(&node, id(5)).await;
            let image = node.cluster.image();
            let topic = image.topic(id(5)).unwrap();
            node.topic_config(&image, topic).unwrap();
            for at in 1..3 {
                node.get(topic, at).await.unwrap();
            }
            node.check_written();
            assert_eq!(node.schedule.known(), 3);
            let remove = vec![MetadataRecord::RemoveTopic(id(5))];
            node.cluster.propose(|_, _| ((), remove)).await.unwrap();
            node.remove_topic(id(5));
            while node.cluster.image().is_removed(id(5)) {
                sim.pause(std::time::Duration::from_millis(10)).await;
            }
            assert_eq!(node.kept(), (0, 0));
            assert_eq!(node.schedule.known(), 0);
            assert_eq!(dir(&node).written_of([5; 16]), []);
        });
    }

    #[test]
    fn data_of_a_topic_that_nobody_knows_stay_and_are_told() {
        let sim = Sim::new(2);
        sim.block_on(async {
            let node = start(&sim).await;
            write(&node, id(9)).await;
            node.finish_removals().await;
            let image = node.cluster.image();
            let unknown = node.unknown(&dir(&node), &image);
            assert_eq!(unknown.len(), 1);
            assert_eq!(unknown[0].topic_id, [9; 16]);
            assert_eq!(dir(&node).written_of([9; 16]).len(), 1);
        });
    }
}
