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
mod partition;
mod producer;
mod reader;
mod records;
mod topics;

pub use admin::{
    ActiveProducer, Admin, ConfigChange, ConfigEntry, ConfigResource, ConfigSource, CreatedTopic,
    Described, DescribedBroker, Election, Feature, FeatureUpdate, GroupMember, GroupSummary,
    ListedGroup, ListedOffset, LogDir, Outcomes, Quorum, QuorumReplica, Reassignment, ReplicaSize,
};
pub use answer::Answer;
pub use client::{Client, ClientOptions, Pending};
pub use cluster::{Broker, Cluster, ClusterOptions, Metadata, Partition, TopicPartitions, Use};
pub use connection::{Call, Connection, ConnectionOptions, PendingReply};
pub use consumer::{
    Consumer, ConsumerOptions, Isolation, Membership, OffsetOrFind, Records, Reset,
};
pub use error::Error;
pub use group::{Assignor, GroupOptions, OffsetAndMetadata, Rebalance, RebalanceListener, Topics};
pub use partition::TopicPartition;
pub use producer::{Delivered, Delivery, Producer, ProducerOptions, Record};
pub use reader::PartitionReader;
pub use records::{
    Acks, FetchFrom, FetchOptions, Fetched, OffsetOf, PendingProduce, Produced, ProducerIdentity,
};
pub use topics::{NewTopic, Topic};
