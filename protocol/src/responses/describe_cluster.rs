//! Kafka's `DescribeClusterResponse`, versions 0–2, flexible from 0.

use super::{Array, Response, structure};

structure! {
    /// The cluster and its brokers.
    pub struct DescribeClusterResponse<'a>: Response for DescribeCluster {
        /// How long the client was held back by a quota, in milliseconds.
        pub throttle_time_ms: i32,
        /// The outcome, 0 for success.
        pub error_code: i16,
        /// What is wrong.
        pub error_message: Option<&'a str>,
        /// Whom it tells of: 1 brokers, 2 controllers.
        pub endpoint_type: i8 [1..] = 1,
        /// The cluster's id.
        pub cluster_id: &'a str,
        /// The controller's id, -1 when it isn't known.
        pub controller_id: i32,
        /// The brokers.
        pub brokers: Array<'a, DescribeClusterBroker<'a>>,
        /// What the client may do to the cluster, a bit for each operation; the smallest number when
        /// it wasn't asked for.
        pub cluster_authorized_operations: i32,
    }

    /// One broker.
    pub struct DescribeClusterBroker<'a> {
        /// Its id.
        pub broker_id: i32,
        /// Its host name.
        pub host: &'a str,
        /// Its port.
        pub port: i32,
        /// Its rack.
        pub rack: Option<&'a str>,
        /// Whether it is fenced.
        pub is_fenced: bool [2..],
    }
}
