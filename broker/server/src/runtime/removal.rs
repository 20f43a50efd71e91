//! Removing topics' data from this node's directories, and saying so in the metadata.
//!
//! What always holds: a topic stays on the list of removed ones, snapshots included, until every
//! directory that may hold its data has reported that it doesn't; a directory reports only what its
//! ledger says; data whose topic is neither alive nor on the list are reported, never removed.

use std::sync::Arc;

use millrace_core::cluster::{Directory, Image};
use millrace_host::Pool;
use millrace_log::mark::Incarnation;
use millrace_protocol::ids::TopicId;

use super::registry::Registry;

/// How many unknown partitions a warning names.
const NAMED_MAX: usize = 5;

impl Registry {
    /// Takes a removed topic's partitions out, deletes their data in the background, and reports
    /// that they are gone.
    pub(crate) fn remove_topic(self: &Arc<Self>, topic: TopicId) {
        let removals: Vec<_> = self
            .take_topic(topic)
            .iter()
            .map(|open| open.remove())
            .collect();
        let registry = Arc::clone(self);
        let work = async move {
            for removal in removals {
                if let Err(error) = removal.await {
                    tracing::error!(%topic, %error, "a deleted partition's data stay on disk");
                }
            }
            registry.remove_unopened(topic).await;
            registry.report_removed(&[topic]).await;
        };
        drop(
            self.host
                .spawn
                .spawn(Pool::Data, "topic removal", Box::pin(work)),
        );
    }

    /// Deletes what a removed topic has on disk and nobody opened.
    async fn remove_unopened(&self, topic: TopicId) {
        for partitions in self.directories.values() {
            let delay = self.config.topics.defaults.file_delete_delay;
            for incarnation in partitions.dir().written_of(topic.to_bytes()) {
                if let Err(error) = partitions.remove(incarnation, delay).await {
                    tracing::error!(%incarnation, %error, "a deleted partition's data stay on disk");
                }
            }
        }
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
            let mut unknown = dir.written();
            // Newer than what was written: what is written was created before.
            let newest = self.cluster.image();
            let known = |incarnation: &Incarnation| {
                let id = TopicId::from_bytes(incarnation.topic_id);
                let knows = |image: &Image| image.topic(id).is_some() || image.is_removed(id);
                id == TopicId::METADATA || knows(image) || knows(&newest)
            };
            unknown.retain(|incarnation| !known(incarnation));
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
}
