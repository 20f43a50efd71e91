//! Having a node go by its configuration: limits on connections, open partitions.

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
    }
}
