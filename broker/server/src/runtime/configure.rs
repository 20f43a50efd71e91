//! Having a node go by its configuration: limits on connections, open partitions, and what is said of
//! topics that this version doesn't compact.

use millrace_protocol::ids::TopicId;

use crate::context::Node;

impl Node {
    /// Goes by the configuration in the image from now on; of one topic, if one is named. The same
    /// once more changes nothing.
    pub(crate) fn configure(&self, topic: Option<TopicId>) {
        let image = self.cluster.image();
        self.partitions.configure_open(&image, topic);
        if topic.is_some() {
            return;
        }
        let network = &self.partitions.broker_config(&image).network;
        self.gate
            .limit(network.connections_max, network.connections_per_ip_max);
        self.gate.limit_rate(network.connection_creation_rate);
        self.slow.limit(network.slow_after);
        let compacted = image.topics_by_name().filter(|topic| {
            let config = self.partitions.topic_config(&image, topic);
            config.is_some_and(|config| config.cleanup.compact)
        });
        let compacted = i64::try_from(compacted.count()).unwrap_or(i64::MAX);
        let before = self.metrics.uncompacted_topics.get();
        self.metrics.uncompacted_topics.set(compacted);
        if compacted > before {
            tracing::warn!(
                topics = compacted,
                "cleanup.policy=compact: this version doesn't compact, logs of these topics grow"
            );
        }
    }
}
