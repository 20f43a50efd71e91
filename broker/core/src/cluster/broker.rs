//! Registering a broker: which life of it speaks, where it listens, which directories it offers.
//!
//! What always holds: a broker leads no partition whose directory it doesn't offer.

use std::collections::BTreeMap;

use millrace_probe::{Bug, planted};
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::{
    BrokerEndpoint, BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord,
    RegisterBrokerRecord,
};

use super::topic::NO_LEADER;
use super::{Directory, Image};

/// What a broker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Node id.
    pub broker_id: i32,
    /// Drawn at this start.
    pub incarnation_id: TopicId,
    /// Listeners, as clients are told.
    pub end_points: Vec<BrokerEndpoint>,
    /// Rack.
    pub rack: Option<String>,
    /// Its log directories, each with its generation at this start.
    pub log_dirs: BTreeMap<Directory, u64>,
}

/// The records that register a broker which is also the only one: it is at once unfenced, leads
/// the partitions that have it in sync and whose directory it offers, and no others. `offset` is
/// where the first record will stand.
pub fn register(image: &Image, registration: Registration, offset: i64) -> Vec<MetadataRecord> {
    let id = registration.broker_id;
    let log_dirs: Vec<Directory> = registration.log_dirs.keys().copied().collect();
    let generations = generations(image, id, registration.log_dirs);
    let mut records = vec![MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: id,
        incarnation_id: registration.incarnation_id,
        broker_epoch: offset,
        end_points: registration.end_points,
        features: Vec::new(),
        rack: registration.rack,
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: log_dirs.clone(),
        generations: generations.into_iter().collect(),
    })];
    records.extend(lead_where_offered(image, id, &log_dirs));
    records
}

/// The last generation of each directory: of those that are there, and of those that are missing and
/// hold something yet: an older copy of one may come in its place.
fn generations(
    image: &Image,
    id: i32,
    offered: BTreeMap<Directory, u64>,
) -> BTreeMap<Directory, u64> {
    let mut generations = offered;
    let Some(broker) = image.broker(id) else {
        return generations;
    };
    for (directory, generation) in &broker.generations {
        if !generations.contains_key(directory) && image.needs(id, *directory) {
            generations.insert(*directory, *generation);
        }
    }
    generations
}

/// The records that say that directories of a broker are lost: it no longer offers them, and the
/// partitions that it led there have no leader (KIP-858; with one broker nobody else can). None
/// when it doesn't offer them anyway.
pub fn directories_failed(
    image: &Image,
    broker_id: i32,
    failed: &[Directory],
) -> Vec<MetadataRecord> {
    let Some(broker) = image.broker(broker_id) else {
        return Vec::new();
    };
    let offered = broker.log_dirs.iter().copied();
    let log_dirs: Vec<Directory> = offered.filter(|id| !failed.contains(id)).collect();
    // An empty list would leave the registration as it is; a broker without any has ended.
    if log_dirs.len() == broker.log_dirs.len() || log_dirs.is_empty() {
        return Vec::new();
    }
    let change = BrokerRegistrationChangeRecord {
        broker_id,
        broker_epoch: broker.epoch,
        log_dirs: log_dirs.clone(),
        ..BrokerRegistrationChangeRecord::default()
    };
    let mut records = vec![MetadataRecord::BrokerRegistrationChange(change)];
    records.extend(lead_where_offered(image, broker_id, &log_dirs));
    records
}

/// Changes of leader after which the broker leads exactly what has it in sync and lies in
/// `log_dirs`, as far as nobody else leads it.
fn lead_where_offered<'a>(
    image: &'a Image,
    id: i32,
    log_dirs: &'a [Directory],
) -> impl Iterator<Item = MetadataRecord> + 'a {
    image.topics_by_name().flat_map(move |topic| {
        topic
            .partitions
            .iter()
            .filter_map(move |(index, partition)| {
                let offered = partition
                    .directory_of(id)
                    .is_none_or(|d| log_dirs.contains(&d))
                    || planted(Bug::PartitionRecreatedElsewhere);
                let leader = match partition.leader {
                    NO_LEADER if offered && partition.isr.contains(&id) => id,
                    leader if leader == id && !offered => NO_LEADER,
                    _ => return None,
                };
                Some(MetadataRecord::PartitionChange(PartitionChangeRecord {
                    partition_id: *index,
                    topic_id: topic.id,
                    leader: Some(leader),
                    ..PartitionChangeRecord::default()
                }))
            })
    })
}
