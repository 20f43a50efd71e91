//! How a cluster is found and asked.

use std::time::Duration;

use crate::ConnectionOptions;

/// Where a cluster is and how patiently it is asked.
///
/// ```
/// # use millrace_client::ClusterOptions;
/// use std::time::Duration;
///
/// let mut options = ClusterOptions::new(["one:9092", "other:9092"]);
/// options.connection.client_id = "billing".to_owned();
/// options.metadata_age_max = Duration::from_secs(60);
/// ```
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// `host:port` of some brokers; one that answers is enough. Asked again when no known broker is
    /// left (KIP-899).
    pub bootstrap: Vec<String>,
    /// Limits of each connection.
    pub connection: ConnectionOptions,
    /// What is known of the cluster is asked for again after this long.
    pub metadata_age_max: Duration,
    /// The wait before the first retry of anything; doubled for each further one.
    pub retry_backoff: Duration,
    /// The longest wait before a retry.
    pub retry_backoff_max: Duration,
    /// Whether asking for a topic that isn't there may make it, if the broker does such things.
    pub auto_create_topics: bool,
}

impl ClusterOptions {
    /// Kafka's defaults, for the cluster behind these addresses (`host:port`).
    pub fn new<A: Into<String>>(bootstrap: impl IntoIterator<Item = A>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            connection: ConnectionOptions::default(),
            metadata_age_max: Duration::from_mins(5),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            auto_create_topics: true,
        }
    }
}
