//! Metadata records written by Apache Kafka's own classes (`data/records/metadata.txt`, see
//! `xtask/java/Records.java`): read into our values, written back to the same bytes.

#![expect(clippy::unwrap_used, reason = "a test panics on what must not happen")]

use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::control::{
    ControlValue, KRaftVersion, LeaderChange, SnapshotFooter, SnapshotHeader, Voters,
};
use millrace_protocol::metadata::{
    BrokerRegistrationChangeRecord, ConfigRecord, MetadataError, MetadataRecord,
    PartitionChangeRecord, RemovedTopicData,
};
use proptest::prelude::*;

const FIXTURES: &str = include_str!("data/records/metadata.txt");

fn fixture(kind: &str, name: &str) -> Vec<u8> {
    let line = FIXTURES.lines().find_map(|line| {
        line.strip_prefix(kind)?
            .strip_prefix(' ')?
            .strip_prefix(name)?
            .strip_prefix(' ')
    });
    let hex = line.unwrap_or_else(|| panic!("no {kind} {name}"));
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn record(name: &str) -> MetadataRecord {
    MetadataRecord::decode(&fixture("record", name)).unwrap()
}

/// `Records.java`'s `id`.
fn id(n: u64) -> TopicId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&0x1122_3344_5566_7788_u64.to_be_bytes());
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    TopicId::from_bytes(bytes)
}

#[test]
fn records_at_the_versions_we_write_keep_their_bytes() {
    for name in [
        "register_broker_v3",
        "topic",
        "partition_v1",
        "partition_v1_recovering",
        "partition_change_nothing",
        "partition_change_leader",
        "partition_change_all",
        "remove_topic",
        "config",
        "config_removed",
        "feature_level",
        "producer_ids",
        "broker_change_unfence",
        "broker_change_all",
        "no_op",
    ] {
        let bytes = fixture("record", name);
        let value = MetadataRecord::decode(&bytes).unwrap();
        assert_eq!(value.encode(), bytes, "{name}");
    }
}

#[test]
fn other_versions_read_as_the_same_values() {
    assert_eq!(record("register_broker_v4"), record("register_broker_v3"));
    assert_eq!(record("partition_v2"), record("partition_v1"));
    assert_eq!(record("register_broker_v0"), record("register_broker_v2"));
    let MetadataRecord::RegisterBroker(v1) = record("register_broker_v1") else {
        panic!()
    };
    assert!(v1.in_controlled_shutdown && v1.rack.is_none() && v1.log_dirs.is_empty());
    let MetadataRecord::Partition(v0) = record("partition_v0") else {
        panic!()
    };
    let MetadataRecord::Partition(v1) = record("partition_v1") else {
        panic!()
    };
    assert_eq!(v0.directories, []);
    assert_eq!(v1.directories, [id(20), id(21), id(22)]);
    assert_eq!(
        record("broker_change_v3"),
        MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
            broker_id: 7,
            broker_epoch: 99,
            fenced: 1,
            ..BrokerRegistrationChangeRecord::default()
        })
    );
}

#[test]
fn fields_stand_where_kafka_has_them() {
    let MetadataRecord::RegisterBroker(broker) = record("register_broker_v3") else {
        panic!()
    };
    assert_eq!((broker.broker_id, broker.incarnation_id), (7, id(9)));
    assert_eq!(broker.broker_epoch, 1_234_567_890_123);
    assert_eq!(broker.rack.as_deref(), Some("rack-a"));
    assert!(broker.fenced && !broker.in_controlled_shutdown);
    assert_eq!(broker.log_dirs, [id(20), id(21)]);
    assert_eq!(broker.end_points[1].host, "b.example");
    assert_eq!(
        (
            broker.end_points[1].port,
            broker.end_points[1].security_protocol
        ),
        (65535, 1)
    );
    assert_eq!(broker.features[0].name, "metadata.version");
    assert_eq!(broker.features[0].max_supported_version, 29);

    let MetadataRecord::Partition(partition) = record("partition_v1_recovering") else {
        panic!()
    };
    assert_eq!((partition.partition_id, partition.topic_id), (3, id(5)));
    assert_eq!(
        (partition.replicas, partition.isr),
        (vec![1, 2, 3], vec![1, 3])
    );
    assert_eq!(
        (partition.removing_replicas, partition.adding_replicas),
        (vec![2], vec![4])
    );
    assert_eq!((partition.leader, partition.leader_recovery_state), (1, 1));
    assert_eq!(
        (partition.leader_epoch, partition.partition_epoch),
        (8, 300)
    );

    assert_eq!(
        record("partition_change_all"),
        MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id: 3,
            topic_id: id(5),
            isr: Some(vec![2, 3]),
            leader: Some(2),
            replicas: Some(vec![3, 2]),
            removing_replicas: Some(vec![1]),
            adding_replicas: Some(vec![]),
            leader_recovery_state: Some(1),
            directories: Some(vec![id(30), id(31)]),
        })
    );
    assert_eq!(
        record("partition_change_leader"),
        MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id: 3,
            topic_id: id(5),
            isr: Some(vec![3]),
            leader: Some(-1),
            ..PartitionChangeRecord::default()
        })
    );
    assert_eq!(
        record("config_removed"),
        MetadataRecord::Config(ConfigRecord {
            resource_type: 4,
            resource_name: String::new(),
            name: "log.retention.ms".to_owned(),
            value: None,
        })
    );
    assert_eq!(record("remove_topic"), MetadataRecord::RemoveTopic(id(5)));
}

#[test]
fn fields_of_our_own_come_behind_kafkas_and_are_read_back() {
    for pending in [vec![], vec![id(1), id(2)]] {
        let ours = MetadataRecord::RemovedTopicData(RemovedTopicData {
            topic_id: id(5),
            pending,
        });
        let bytes = ours.encode();
        let kafkas = fixture("record", "remove_topic");
        // All but the count of tagged fields, which is the last byte there.
        assert!(bytes.starts_with(&kafkas[..kafkas.len() - 1]));
        assert_eq!(MetadataRecord::decode(&bytes).unwrap(), ours);
    }
    let header = SnapshotHeader {
        last_contained_log_timestamp_ms: 5,
        entry_index: Some(7),
    };
    assert_eq!(SnapshotHeader::decode(&header.encode()).unwrap(), header);
}

#[test]
fn control_values_keep_their_bytes() {
    fn keeps<V: ControlValue>(name: &str) -> V {
        let bytes = fixture("control", name);
        let value = V::decode(&bytes).unwrap();
        assert_eq!(value.encode(), bytes, "{name}");
        value
    }
    let change: LeaderChange = keeps("leader_change_v0");
    assert_eq!(
        (
            change.leader_id,
            change.voters.len(),
            change.granting_voters.len()
        ),
        (1, 2, 1)
    );
    let header: SnapshotHeader = keeps("snapshot_header");
    assert_eq!(header.last_contained_log_timestamp_ms, 1_700_000_000_000);
    assert_eq!(header.entry_index, None, "only our own snapshots say it");
    let _: SnapshotFooter = keeps("snapshot_footer");
    let version: KRaftVersion = keeps("kraft_version");
    assert_eq!(version.level, 1);
    let Voters(voters) = keeps("voters");
    assert_eq!((voters[0].voter_id, voters[0].directory_id), (1, id(1)));
    assert_eq!(
        (voters[0].endpoints[0].port, voters[0].kraft_version_max),
        (40000, 1)
    );

    let v1 = LeaderChange::decode(&fixture("control", "leader_change_v1")).unwrap();
    assert_eq!(v1.voters[1].directory_id, id(2));
}

#[test]
fn what_cannot_be_kept_is_an_error_that_says_so() {
    let decode = |name| MetadataRecord::decode(&fixture("record", name));
    assert_eq!(decode("unknown_to_us"), Err(MetadataError::UnknownType(7)));
    for name in [
        "partition_v2_elr",
        "partition_change_v2_elr",
        "register_broker_v4_cordoned",
    ] {
        assert!(
            matches!(decode(name), Err(MetadataError::Unsupported { .. })),
            "{name}"
        );
    }
    let mut newer = fixture("record", "topic");
    newer[2] = 1;
    assert_eq!(
        MetadataRecord::decode(&newer),
        Err(MetadataError::UnknownVersion {
            record: "TopicRecord",
            version: 1,
            known: 0
        })
    );
    let mut framed = fixture("record", "topic");
    framed[0] = 2;
    assert_eq!(
        MetadataRecord::decode(&framed),
        Err(MetadataError::Frame(Some(2)))
    );
    assert_eq!(MetadataRecord::decode(&[]), Err(MetadataError::Frame(None)));
    let mut longer = fixture("record", "no_op");
    longer.push(0);
    assert!(matches!(
        MetadataRecord::decode(&longer),
        Err(MetadataError::Malformed { .. })
    ));
}

#[test]
fn a_record_cut_short_anywhere_is_an_error() {
    for line in FIXTURES.lines().filter(|line| line.starts_with("record ")) {
        let name = line.split(' ').nth(1).unwrap();
        let bytes = fixture("record", name);
        for len in 0..bytes.len() {
            assert!(
                MetadataRecord::decode(&bytes[..len]).is_err(),
                "{name} at {len}"
            );
        }
    }
}

#[test]
fn generations_of_directories_are_a_tagged_field_of_our_own() {
    let MetadataRecord::RegisterBroker(mut broker) = record("register_broker_v3") else {
        panic!()
    };
    let kafkas = fixture("record", "register_broker_v3");
    broker.generations = vec![(id(20), 1), (id(21), i64::MAX as u64)];
    let ours = MetadataRecord::RegisterBroker(broker.clone());
    let bytes = ours.encode();
    assert_eq!(MetadataRecord::decode(&bytes), Ok(ours));
    // One tag more, and nothing else: Kafka's tools read past it.
    let tag = 10_000_u32;
    let own = 1 + 2 * (16 + 8);
    let head = [tag as u8 & 0x7f | 0x80, (tag >> 7) as u8, own];
    assert_eq!(bytes.len(), kafkas.len() + head.len() + usize::from(own));
    assert!(bytes.windows(3).any(|window| window == head));
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    let mut bytes = fixture("record", "topic");
    bytes.pop();
    bytes.extend_from_slice(&[1, 99, 2, 0xaa, 0xbb]);
    assert_eq!(MetadataRecord::decode(&bytes), Ok(record("topic")));
}

#[test]
fn tagged_fields_out_of_order_or_twice_are_refused() {
    for tags in [[99_u8, 98], [99, 99]] {
        let mut bytes = fixture("record", "topic");
        bytes.pop();
        bytes.extend_from_slice(&[2, tags[0], 0, tags[1], 0]);
        assert!(matches!(
            MetadataRecord::decode(&bytes),
            Err(MetadataError::Malformed { .. })
        ));
    }
}

proptest! {
    #[test]
    fn hostile_records_never_panic(
        key in 0_u8..30,
        version in 0_u8..5,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes: Vec<u8> = [1, key, version].into_iter().chain(body).collect();
        if let Ok(record) = MetadataRecord::decode(&bytes) {
            prop_assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
        }
    }
}
