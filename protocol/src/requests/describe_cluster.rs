//! Kafka's `DescribeClusterRequest`, versions 0–2, flexible from 0.

use super::{Request, structure};

structure! {
    /// Asks for the cluster's id, controller and brokers.
    pub struct DescribeClusterRequest: Request for DescribeCluster {
        /// Whether to tell what the client may do to the cluster.
        pub include_cluster_authorized_operations: bool,
        /// Whose addresses are asked for: 1 the brokers', 2 the controllers' (KIP-919).
        pub endpoint_type: i8 [1..] = 1,
        /// Whether fenced brokers are asked for too.
        pub include_fenced_brokers: bool [2..],
    }
}
