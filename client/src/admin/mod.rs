//! Administering a cluster: topics, configurations, groups and their offsets, brokers and replicas, access
//! control lists and delegation tokens.
//!
//! What always holds: a request goes to whom it belongs (the controller, a partition's leader, a
//! group's coordinator, each broker), and a batch to each of them at once; each thing asked for has an
//! outcome of its own. What a broker refuses for a moment is asked again until a request's time is
//! over; what may have taken effect without an answer is asked again only where asking twice changes
//! nothing.

mod acls;
mod advice;
mod brokers;
mod configs;
mod groups;
mod offsets;
mod replicas;
mod route;
mod tokens;
mod topics;

use std::collections::BTreeMap;

use crate::{Cluster, Error, TopicPartition};
pub use acls::{Acl, AclFilter, AclNames, AclOperation, AclPattern, AclPermission, AclResource};
pub use brokers::{
    Described, DescribedBroker, Feature, FeatureUpdate, LogDir, Quorum, QuorumReplica, ReplicaSize,
};
pub use configs::{ConfigChange, ConfigEntry, ConfigResource, ConfigSource};
pub use groups::{GroupMember, GroupSummary, ListedGroup};
pub use offsets::ListedOffset;
pub use replicas::{ActiveProducer, Election, Reassignment};
pub use tokens::{DelegationToken, NewDelegationToken, Principal};
pub use topics::CreatedTopic;

/// What became of each thing that was asked for.
pub type Outcomes<K, V> = BTreeMap<K, Result<V, Error>>;

/// Administers a cluster. Cheap to clone.
///
/// ```no_run
/// # use millrace_client::{Admin, Cluster, Error, Isolation, NewTopic, OffsetOf, TopicPartition};
/// # async fn example(cluster: &Cluster) -> Result<(), Error> {
/// let admin = Admin::new(cluster);
/// for (name, created) in admin.create_topics(&[NewTopic::new("orders", 6)]).await? {
///     match created {
///         Ok(topic) => println!("{name} has id {}", topic.id),
///         Err(error) => println!("{error}: {}", error.advice().unwrap_or_default()),
///     }
/// }
/// let first = TopicPartition::new("orders", 0);
/// let ends = admin.list_offsets([(first, OffsetOf::End)], Isolation::ReadUncommitted).await?;
/// # drop(ends);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Cluster,
}

impl Admin {
    /// An administrator of this cluster.
    pub fn new(cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.clone(),
        }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// By topic, in their order.
fn by_topic<'a>(
    items: impl IntoIterator<Item = &'a TopicPartition>,
) -> BTreeMap<&'a str, Vec<i32>> {
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for item in items {
        let partitions = topics.entry(&*item.topic).or_default();
        partitions.push(item.partition);
    }
    topics
}
