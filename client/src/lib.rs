//! Producing to and consuming from Millrace or Apache Kafka.
//!
//! ```no_run
//! # use millrace_client::{
//! #     Cluster, ClusterOptions, Consumer, ConsumerOptions, Error, GroupOptions, OffsetOf,
//! #     OffsetOrFind, Producer, ProducerOptions, Record, Records,
//! # };
//! # async fn example(host: &millrace_host::Host) -> Result<(), Error> {
//! let cluster = Cluster::connect(host, ClusterOptions::new(["localhost:9092"])).await?;
//!
//! let producer = Producer::new(&cluster, &ProducerOptions::default())?;
//! let record = Record::to("orders").key("42").value("two teapots");
//! let delivered = producer.send(&record).await?.wait().await?;
//!
//! let consumer = Consumer::new(&cluster, ConsumerOptions::default());
//! let begin = OffsetOrFind::Find(OffsetOf::Start);
//! consumer.assign([("orders", delivered.partition, begin)]).await?;
//! let records = consumer.next().await?;
//! records.read_records(&mut Records::scratch(), |record| println!("{:?}", record.value))?;
//!
//! let group = GroupOptions::new("billing", ["orders"]);
//! let member = Consumer::subscribe(&cluster, ConsumerOptions::default(), group)?;
//! let share = member.next().await?;
//! println!("{} up to offset {}", share.partition(), share.next_offset());
//! member.close().await?;
//! # Ok(()) }
//! ```
//!
//! Listeners that want TLS or SASL:
//!
//! ```no_run
//! # #[cfg(feature = "tls")]
//! # async fn example(host: &millrace_host::Host) -> Result<(), millrace_client::Error> {
//! # use millrace_client::{Cluster, ClusterOptions, Roots, Sasl, Tls, TlsOptions};
//! let mut options = ClusterOptions::new(["broker.example.com:9093"]);
//! options.connection.security.tls = Some(Tls::new(TlsOptions {
//!     roots: Roots::File("ca.pem".into()),
//!     ..TlsOptions::default()
//! }));
//! options.connection.security.sasl = Some(Sasl::scram_sha_512("alice", "her password"));
//! let metrics = options.connection.metrics.clone();
//! let cluster = Cluster::connect(host, options).await?;
//! println!("{:?}", metrics.figures());
//! # Ok(()) }
//! ```
//!
//! Features, both on by default, are what needs a C compiler: `tls`, and `zstd` (without it that codec
//! isn't written, and is read in Rust alone, slower). What happens to connections is told to `tracing` at
//! the level `debug`.
//!
//! Stands on `protocol` and `host` only, so that the same code runs over real sockets and in the
//! simulation. From the ground up: a pipelined [`Connection`]; typed calls to one broker
//! ([`Client`]); a [`Cluster`], which knows who leads what; [`Producer`] and [`Consumer`].

mod admin;
mod answer;
mod client;
#[cfg(test)]
mod client_tests;
mod cluster;
mod connection;
mod consumer;
mod error;
mod group;
mod metrics;
mod partition;
mod producer;
mod reader;
mod records;
mod security;
mod topics;

pub use admin::{
    Acl, AclFilter, AclNames, AclOperation, AclPattern, AclPermission, AclResource, ActiveProducer,
    Admin, ConfigChange, ConfigEntry, ConfigResource, ConfigSource, CreatedTopic, DelegationToken,
    Described, DescribedBroker, Election, Feature, FeatureUpdate, GroupMember, GroupSummary,
    ListedGroup, ListedOffset, LogDir, NewDelegationToken, Outcomes, Principal, Quorum,
    QuorumReplica, Reassignment, ReplicaSize,
};
pub use answer::Answer;
pub use client::{Client, ClientOptions, Pending};
pub use cluster::{Broker, Cluster, ClusterOptions, Metadata, Partition, TopicPartitions, Use};
pub use connection::{Call, Connection, ConnectionOptions, PendingReply};
pub use consumer::{
    ConsumedRecord, Consumer, ConsumerOptions, Isolation, Membership, OffsetOrFind, RecordStream,
    Records, RecordsStream, Reset,
};
pub use error::{Error, TlsProblem};
pub use group::{Assignor, GroupOptions, OffsetAndMetadata, Rebalance, RebalanceListener, Topics};
pub use metrics::{ApiFigures, Figures, Latency, Metrics};
pub use partition::TopicPartition;
pub use producer::{Delivered, Delivery, Producer, ProducerOptions, Record, Report, Reports};
pub use reader::PartitionReader;
pub use records::{
    Acks, FetchFrom, FetchOptions, Fetched, OffsetOf, PendingProduce, Produced, ProducerIdentity,
};
#[cfg(feature = "tls")]
pub use security::{Identity, Roots, Tls, TlsOptions};
pub use security::{Sasl, Security, Token, TokenFuture, TokenSource};
pub use topics::{NewTopic, Topic};

/// The README's Rust, compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
