//! What is known of a cluster: its brokers, and who leads the partitions of the topics in use.
//!
//! What always holds: an image never changes, a later answer makes a new one with a higher
//! generation; a partition's leader epoch never goes back while its topic's id stays (KIP-320), so
//! that an answer from a broker that lags does not undo what is known already.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::responses::MetadataResponse;
use millrace_protocol::responses::metadata::{MetadataResponsePartition, MetadataResponseTopic};

/// One broker of the cluster.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// for broker in cluster.metadata().brokers.values() {
///     println!("{} at {}:{}, rack {:?}", broker.id, broker.host, broker.port, broker.rack);
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Host name or address, as it advertises itself.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// One partition.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// let orders = cluster.topic("orders").await?;
/// for partition in &orders.partitions {
///     println!("{} is led by {:?}, in sync: {:?}", partition.index, partition.leader, partition.in_sync);
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The broker that leads it; `None` while nobody does.
    pub leader: Option<i32>,
    /// How often the leader changed; -1 from a broker that does not say.
    pub leader_epoch: i32,
    /// Brokers with a replica.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub in_sync: Vec<i32>,
}

/// One topic with its partitions.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// let orders = cluster.topic("orders").await?;
/// assert_eq!(orders.partitions.len(), 3);
/// assert!(orders.partition(3).is_none());
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; [`TopicId::ZERO`] from a broker that gives none.
    pub id: TopicId,
    /// Whether the brokers keep it for themselves.
    pub internal: bool,
    /// Its partitions, by number, from 0.
    pub partitions: Vec<Partition>,
}

impl TopicPartitions {
    /// The partition of this number.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get(index))
    }
}

/// An image of the cluster.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// cluster.topic("orders").await?;
/// let image = cluster.metadata();
/// assert!(image.topics().any(|topic| &*topic.name == "orders"));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// Counts the answers that it was made of.
    pub generation: u64,
    /// The cluster's id, if it has one.
    pub cluster_id: Option<String>,
    /// The controller's broker id, if it is known.
    pub controller: Option<i32>,
    /// All brokers by id.
    pub brokers: BTreeMap<i32, Broker>,
    /// The topics that were asked for and are there.
    topics: BTreeMap<Arc<str>, Arc<TopicPartitions>>,
    /// Why a topic that was asked for is not among them.
    refused: BTreeMap<Arc<str>, ErrorCode>,
}

impl Metadata {
    /// A topic, if it was asked for and is there; else why not, if that is known.
    pub fn topic(&self, name: &str) -> Result<&Arc<TopicPartitions>, Option<ErrorCode>> {
        let known = self.topics.get(name);
        known.ok_or_else(|| self.refused.get(name).copied())
    }

    /// The topics in use, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicPartitions>> {
        self.topics.values()
    }

    /// The image after an answer about the brokers and the topics that were `asked` for, in their order, or
    /// about all there are. Others that a broker tells of are nobody's business here: what is kept of topics
    /// is for the caller to say, not for a broker.
    pub(crate) fn after(&self, answer: &MetadataResponse<'_>, asked: Option<&[Arc<str>]>) -> Self {
        let all = asked.is_none();
        let is_asked = |name: &str| {
            asked.is_none_or(|asked| asked.binary_search_by(|known| (**known).cmp(name)).is_ok())
        };
        let mut next = Self {
            generation: self.generation + 1,
            cluster_id: answer.cluster_id.map(str::to_owned),
            controller: (answer.controller_id >= 0).then_some(answer.controller_id),
            brokers: brokers_of(answer),
            topics: if all {
                BTreeMap::new()
            } else {
                self.topics.clone()
            },
            refused: if all {
                BTreeMap::new()
            } else {
                self.refused.clone()
            },
        };
        for topic in answer.topics {
            let Some(name) = topic.name.filter(|name| is_asked(name)) else {
                continue;
            };
            let name: Arc<str> = name.into();
            next.topics.remove(&name);
            next.refused.remove(&name);
            match ErrorCode::from_code(topic.error_code) {
                Some(ErrorCode::None) => {
                    let known = self.topics.get(&name).map(Arc::as_ref);
                    let topic = Arc::new(topic_of(Arc::clone(&name), &topic, known));
                    next.topics.insert(name, topic);
                }
                code => {
                    let code = code.unwrap_or(ErrorCode::UnknownServerError);
                    next.refused.insert(name, code);
                }
            }
        }
        next
    }

    /// The image without a topic that nobody uses any more.
    pub(crate) fn without(&self, unused: &[Arc<str>]) -> Self {
        let mut next = self.clone();
        next.topics.retain(|name, _| !unused.contains(name));
        next.refused.retain(|name, _| !unused.contains(name));
        next
    }
}

fn brokers_of(answer: &MetadataResponse<'_>) -> BTreeMap<i32, Broker> {
    let mut brokers = BTreeMap::new();
    for broker in answer.brokers {
        // A port that is none can't be connected to: the broker is as good as absent.
        let Ok(port) = u16::try_from(broker.port) else {
            continue;
        };
        let broker = Broker {
            id: broker.node_id,
            host: broker.host.to_owned(),
            port,
            rack: broker.rack.map(str::to_owned),
        };
        brokers.insert(broker.id, broker);
    }
    brokers
}

/// The partitions of an answer in order of their numbers; a hole ends them, since a partition
/// without those before it can't be.
fn topic_of(
    name: Arc<str>,
    topic: &MetadataResponseTopic<'_>,
    known: Option<&TopicPartitions>,
) -> TopicPartitions {
    let known = known.filter(|known| known.id == topic.topic_id);
    let mut told: Vec<_> = topic.partitions.into_iter().collect();
    told.sort_by_key(|partition| partition.partition_index);
    let numbered = told
        .iter()
        .zip(0..)
        .take_while(|(told, at)| told.partition_index == *at);
    let partitions = numbered.map(|(told, at)| {
        let told = partition_of(told);
        let known = known.and_then(|known| known.partition(at));
        match known {
            Some(known) if known.leader_epoch > told.leader_epoch && told.leader_epoch >= 0 => {
                known.clone()
            }
            _ => told,
        }
    });
    TopicPartitions {
        name,
        id: topic.topic_id,
        internal: topic.is_internal,
        partitions: partitions.collect(),
    }
}

fn partition_of(told: &MetadataResponsePartition<'_>) -> Partition {
    Partition {
        index: told.partition_index,
        leader: (told.leader_id >= 0).then_some(told.leader_id),
        leader_epoch: told.leader_epoch,
        replicas: told.replica_nodes.into_iter().collect(),
        in_sync: told.isr_nodes.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::messages::metadata_response::MetadataResponseTopic as Told;
    use millrace_protocol::messages::{self, encode};
    use millrace_protocol::responses;

    use super::*;

    #[test]
    fn a_broker_does_not_choose_which_topics_are_kept() {
        const VERSION: i16 = 12;
        let named = |name: &str| {
            let mut topic = Told::default();
            topic.name = Some(name.into());
            topic
        };
        let mut answer = messages::MetadataResponse::default();
        answer.topics = ["a", "b", "c"].map(named).into();
        let body = encode(&answer, VERSION).unwrap();
        let answer: MetadataResponse<'_> = responses::read(VERSION, &body).unwrap();
        let names = |image: &Metadata| {
            let names = image.topics().map(|topic| topic.name.to_string());
            names.collect::<Vec<_>>()
        };
        let asked: [Arc<str>; 2] = ["b".into(), "d".into()];
        let some = Metadata::default().after(&answer, Some(&asked));
        assert_eq!(names(&some), ["b"]);
        assert_eq!(names(&some.after(&answer, Some(&[]))), ["b"]);
        let all = Metadata::default().after(&answer, None);
        assert_eq!(names(&all), ["a", "b", "c"]);
    }
}
