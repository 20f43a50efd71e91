//! Registering a broker: which life of it speaks, where it listens, what it holds.

use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::{
    BrokerEndpoint, MetadataRecord, PartitionChangeRecord, RegisterBrokerRecord,
};

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
    /// Its log directories.
    pub log_dirs: Vec<Directory>,
}

/// The records that register a broker which is also the only one: it is at once unfenced, and
/// takes the lead of partitions that are without a leader and have it in sync. `offset` is where the
/// first record will stand.
pub fn register(image: &Image, registration: Registration, offset: i64) -> Vec<MetadataRecord> {
    let id = registration.broker_id;
    let mut records = vec![MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id: id,
        incarnation_id: registration.incarnation_id,
        broker_epoch: offset,
        end_points: registration.end_points,
        features: Vec::new(),
        rack: registration.rack,
        fenced: false,
        in_controlled_shutdown: false,
        log_dirs: registration.log_dirs,
    })];
    for topic in image.topics_by_name() {
        for (index, partition) in &topic.partitions {
            if partition.leader == -1 && partition.isr.contains(&id) {
                records.push(MetadataRecord::PartitionChange(PartitionChangeRecord {
                    partition_id: *index,
                    topic_id: topic.id,
                    leader: Some(id),
                    ..PartitionChangeRecord::default()
                }));
            }
        }
    }
    records
}
