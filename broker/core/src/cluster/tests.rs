//! Rules of the image and of the decisions on it.

use std::collections::BTreeMap;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::MetadataRecord;

use super::*;

/// Draws ids 100, 101, … and places everything in directory 7.
struct World {
    next_id: u128,
    refuse_configs: Option<&'static str>,
}

impl World {
    fn new() -> Self {
        Self {
            next_id: 100,
            refuse_configs: None,
        }
    }
}

impl Subject for World {
    fn draw_id(&mut self) -> TopicId {
        self.next_id += 1;
        TopicId::from_bytes((self.next_id - 1).to_be_bytes())
    }

    fn place(&mut self, _broker: i32) -> Directory {
        TopicId::from_bytes(7_u128.to_be_bytes())
    }

    fn check_configs(&mut self, _configs: &BTreeMap<String, String>) -> Result<(), String> {
        self.refuse_configs
            .map_or(Ok(()), |words| Err(words.to_owned()))
    }
}

const DEFAULTS: Defaults = Defaults {
    partitions: 3,
    replication_factor: 1,
    partitions_max: 20_000,
};

fn folded(image: &Image, records: &[MetadataRecord]) -> Image {
    records.iter().fold(image.clone(), |image, record| {
        image
            .replay(image.offset() + 1, record)
            .expect("a decision's records fit its image")
    })
}

fn with_broker() -> Image {
    let registration = Registration {
        broker_id: 1,
        incarnation_id: TopicId::from_bytes([1; 16]),
        end_points: Vec::new(),
        rack: None,
        log_dirs: BTreeMap::new(),
    };
    folded(
        &Image::default(),
        &register(&Image::default(), registration, 0),
    )
}

fn named(name: &str) -> CreateTopic {
    CreateTopic {
        name: name.to_owned(),
        partitions: -1,
        replication_factor: -1,
        ..Default::default()
    }
}

fn create(image: &Image, request: CreateTopic) -> Result<(Created, Image), ErrorCode> {
    let (mut outcomes, records) = create_topics(image, &[request], DEFAULTS, &mut World::new());
    let created = outcomes.remove(0).map_err(|refusal| refusal.code)?;
    Ok((created, folded(image, &records)))
}

fn refused(image: &Image, request: CreateTopic) -> ErrorCode {
    create(image, request).expect_err("the request breaks a rule")
}

#[test]
fn a_topic_gets_the_defaults_and_leads_on_the_live_broker() {
    let (created, image) = create(&with_broker(), named("t")).expect("a plain request");
    assert_eq!((created.partitions, created.replication_factor), (3, 1));
    let topic = image.topic_named("t").expect("it was just made");
    assert_eq!(topic.id, created.id);
    assert_eq!(topic.partitions.size(), 3);
    let partition = topic.partitions.get(&2).expect("the third");
    assert_eq!((partition.leader, partition.leader_epoch), (1, 0));
    assert_eq!(partition.isr, [1]);
}

#[test]
fn names_are_refused_as_kafka_refuses_them() {
    let (_, image) = create(&with_broker(), named("a.b")).expect("a plain request");
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "\u{e4}",
        &"x".repeat(250),
        "a_b",
    ] {
        assert_eq!(
            refused(&image, named(name)),
            ErrorCode::InvalidTopicException,
            "{name:?}"
        );
    }
    assert_eq!(refused(&image, named("a.b")), ErrorCode::TopicAlreadyExists);
}

#[test]
fn counts_are_refused_as_kafka_refuses_them() {
    let image = with_broker();
    let partitions = |n| CreateTopic {
        partitions: n,
        ..named("t")
    };
    let factor = |n| CreateTopic {
        replication_factor: n,
        ..named("t")
    };
    assert_eq!(refused(&image, partitions(0)), ErrorCode::InvalidPartitions);
    assert_eq!(
        refused(&image, partitions(-2)),
        ErrorCode::InvalidPartitions
    );
    assert_eq!(
        refused(&image, partitions(10_001)),
        ErrorCode::PolicyViolation
    );
    assert_eq!(
        refused(&image, partitions(i32::MAX)),
        ErrorCode::PolicyViolation
    );
    assert_eq!(
        refused(&image, factor(0)),
        ErrorCode::InvalidReplicationFactor
    );
    assert_eq!(
        refused(&image, factor(2)),
        ErrorCode::InvalidReplicationFactor
    );
}

#[test]
fn manual_assignments_are_refused_as_kafka_refuses_them() {
    let image = with_broker();
    let manual = |assignments: &[(i32, &[i32])]| CreateTopic {
        assignments: assignments
            .iter()
            .map(|(index, brokers)| (*index, brokers.to_vec()))
            .collect(),
        ..named("t")
    };
    let (created, _) = create(&image, manual(&[(1, &[1]), (0, &[1])])).expect("consecutive");
    assert_eq!(created.partitions, 2);
    let bad: [&[(i32, &[i32])]; 5] = [
        &[(1, &[1])],
        &[(0, &[1]), (0, &[1])],
        &[(0, &[])],
        &[(0, &[2])],
        &[(0, &[1, 1])],
    ];
    for assignments in bad {
        let code = refused(&image, manual(assignments));
        assert_eq!(code, ErrorCode::InvalidReplicaAssignment, "{assignments:?}");
    }
    let both = CreateTopic {
        partitions: 1,
        ..manual(&[(0, &[1])])
    };
    assert_eq!(refused(&image, both), ErrorCode::InvalidRequest);
}

#[test]
fn a_name_twice_in_a_request_is_refused_both_times_and_others_are_made() {
    let requests = [named("a"), named("b"), named("a")];
    let (outcomes, records) = create_topics(&with_broker(), &requests, DEFAULTS, &mut World::new());
    let codes: Vec<_> = outcomes
        .iter()
        .map(|o| o.as_ref().err().map(|r| r.code))
        .collect();
    assert_eq!(
        codes,
        [
            Some(ErrorCode::InvalidRequest),
            None,
            Some(ErrorCode::InvalidRequest)
        ]
    );
    assert_eq!(records.len(), 1 + 3);
}

#[test]
fn a_bad_configuration_is_refused_with_its_words() {
    let mut world = World {
        refuse_configs: Some("no such key"),
        ..World::new()
    };
    let (outcomes, records) = create_topics(&with_broker(), &[named("t")], DEFAULTS, &mut world);
    let refusal = outcomes[0].as_ref().expect_err("the configuration is bad");
    assert_eq!(refusal.code, ErrorCode::InvalidConfig);
    assert_eq!(refusal.message, "no such key");
    assert_eq!(records, []);
}

#[test]
fn a_deleted_topic_leaves_its_name_free_and_its_id_behind() {
    let configured = CreateTopic {
        configs: vec![("retention.ms".to_owned(), Some("1".to_owned()))],
        ..named("t")
    };
    let (created, image) = create(&with_broker(), configured).expect("a plain request");
    assert_eq!(image.topic_config("t").count(), 1);
    let (outcomes, records) = delete_topics(&image, &[Removal::Id(created.id)]);
    assert_eq!(outcomes, [Ok((created.id, "t".to_owned()))]);
    let image = folded(&image, &records);
    assert!(image.topic_named("t").is_none());
    assert!(image.is_removed(created.id));
    assert_eq!(image.topic_config("t").count(), 0);
    assert_eq!(image.removal_pending(created.id), [directory(7)]);
    let mut world = World::new();
    let (_, records) = create_topics(&image, &[named("t")], DEFAULTS, &mut world);
    let again = folded(&image, &records);
    let id = again.topic_named("t").expect("made again").id;
    assert_ne!(
        id, created.id,
        "an id that a directory may still know is never given again"
    );
}

fn directory(id: u128) -> Directory {
    TopicId::from_bytes(id.to_be_bytes())
}

#[test]
fn a_removed_topic_is_forgotten_when_its_last_directory_has_reported() {
    let (created, image) = create(&with_broker(), named("t")).expect("a plain request");
    let other =
        MetadataRecord::PartitionChange(millrace_protocol::metadata::PartitionChangeRecord {
            partition_id: 1,
            topic_id: created.id,
            directories: Some(vec![directory(8)]),
            ..Default::default()
        });
    let image = folded(&image, &[other, MetadataRecord::RemoveTopic(created.id)]);
    assert_eq!(
        image.removal_pending(created.id),
        [directory(7), directory(8)]
    );
    let records = data_removed(
        &image,
        &[created.id, created.id],
        &[directory(7), directory(9)],
    );
    let image = folded(&image, &records);
    assert_eq!(records.len(), 1);
    assert_eq!(image.removal_pending(created.id), [directory(8)]);
    assert_eq!(data_removed(&image, &[created.id], &[directory(7)]), []);
    let copy = folded(&Image::default(), &image.to_records());
    assert_eq!(
        copy.removal_pending(created.id),
        [directory(8)],
        "snapshots know it, too"
    );
    let image = folded(
        &image,
        &data_removed(&image, &[created.id], &[directory(8)]),
    );
    assert!(!image.is_removed(created.id));
    let alive = create(&image, named("u")).expect("a plain request");
    assert_eq!(data_removed(&alive.1, &[alive.0.id], &[directory(7)]), []);
}

#[test]
fn a_topic_knows_when_it_was_configured_last() {
    let (_, image) = create(&with_broker(), named("t")).expect("a plain request");
    let offset = |image: &Image| image.topic_named("t").expect("made above").config_offset;
    assert_eq!(offset(&image), None);
    let config = |name: &str| {
        MetadataRecord::Config(millrace_protocol::metadata::ConfigRecord {
            resource_type: 2,
            resource_name: name.to_owned(),
            name: "retention.ms".to_owned(),
            value: Some("1".to_owned()),
        })
    };
    let image = folded(&image, &[config("t")]);
    let at = image.offset();
    assert_eq!(offset(&image), Some(at));
    let image = folded(&image, &[config("u"), MetadataRecord::NoOp]);
    assert_eq!(
        offset(&image),
        Some(at),
        "what concerns others changes nothing"
    );
}

#[test]
fn an_entry_folds_as_its_records_one_by_one() {
    let image = with_broker();
    let (_, records) = create_topics(
        &image,
        &[named("a"), named("b")],
        DEFAULTS,
        &mut World::new(),
    );
    let at_once = image
        .replay_all(image.offset() + 1, &records)
        .expect("a decision fits");
    let one_by_one = folded(&image, &records);
    assert_eq!(at_once.offset(), one_by_one.offset());
    assert_eq!(at_once.to_records(), one_by_one.to_records());
    let mut loading = Loading::default();
    for record in image.to_records().iter().chain(&records) {
        loading
            .restore(77, record)
            .expect("what an image says fits");
    }
    let restored = loading.finish();
    assert_eq!(
        (restored.offset(), restored.to_records()),
        (77, at_once.to_records())
    );
}

#[test]
fn deleting_what_is_not_there_says_so() {
    let image = with_broker();
    let requests = [
        Removal::Name("x".to_owned()),
        Removal::Id(TopicId::from_bytes([9; 16])),
    ];
    let (outcomes, records) = delete_topics(&image, &requests);
    let codes: Vec<_> = outcomes
        .into_iter()
        .map(|o| o.expect_err("nothing is there").code)
        .collect();
    assert_eq!(
        codes,
        [
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::UnknownTopicId
        ]
    );
    assert_eq!(records, []);
}

#[test]
fn producer_ids_come_in_blocks_and_never_again() {
    let image = with_broker();
    let (first, record) = allocate_producer_ids(&image, 1, 0).expect("ids are left");
    let image = folded(&image, &[record]);
    let (second, _) = allocate_producer_ids(&image, 1, 0).expect("ids are left");
    assert_eq!((first, second), (0..1000, 1000..2000));
}

#[test]
fn an_image_as_records_folds_to_itself() {
    let (created, image) = create(&with_broker(), named("a")).expect("a plain request");
    let (_, records) = delete_topics(&image, &[Removal::Id(created.id)]);
    let image = folded(&image, &records);
    let mut world = World {
        next_id: 500,
        refuse_configs: None,
    };
    let (_, records) = create_topics(&image, &[named("a"), named("b")], DEFAULTS, &mut world);
    let image = folded(&image, &records);
    let copy = folded(&Image::default(), &image.to_records());
    assert_eq!(copy.to_records(), image.to_records());
    assert!(copy.is_removed(created.id));
}

#[test]
fn a_record_that_does_not_fit_is_an_error() {
    let stray = MetadataRecord::RemoveTopic(TopicId::from_bytes([9; 16]));
    assert!(Image::default().replay(0, &stray).is_err());
}

/// A broker that offers `directories`, on top of `image`.
fn registered(image: &Image, directories: &[u128]) -> Image {
    let registration = Registration {
        broker_id: 1,
        incarnation_id: TopicId::from_bytes([1; 16]),
        end_points: Vec::new(),
        rack: None,
        log_dirs: directories.iter().map(|at| (directory(*at), 1)).collect(),
    };
    folded(image, &register(image, registration, image.offset() + 1))
}

#[test]
fn the_generation_of_a_missing_directory_is_kept_while_it_holds_something() {
    let registered = |image: &Image, directories: &[(u128, u64)]| {
        let offered = directories
            .iter()
            .map(|(at, generation)| (directory(*at), *generation));
        let registration = Registration {
            broker_id: 1,
            incarnation_id: TopicId::from_bytes([1; 16]),
            end_points: Vec::new(),
            rack: None,
            log_dirs: offered.collect(),
        };
        folded(image, &register(image, registration, image.offset() + 1))
    };
    let known = |image: &Image| {
        let broker = image.broker(1).unwrap();
        let known = broker.generations.iter();
        known
            .map(|(id, generation)| (*id, *generation))
            .collect::<Vec<_>>()
    };
    let image = registered(&Image::default(), &[(1, 5), (2, 7), (3, 2)]);
    let request = CreateTopic {
        partitions: 2,
        ..named("t")
    };
    let mut subject = InTurn(World::new(), 0);
    let (_, records) = create_topics(&image, &[request], DEFAULTS, &mut subject);
    let image = folded(&image, &records);
    // Directory 2 holds a partition, 3 holds nothing.
    let image = registered(&image, &[(1, 6)]);
    assert_eq!(known(&image), [(directory(1), 6), (directory(2), 7)]);
    assert_eq!(image.broker(1).unwrap().log_dirs, [directory(1)]);
    // What an operator accepted counts from then on.
    let image = registered(&image, &[(1, 7), (2, 4)]);
    assert_eq!(known(&image), [(directory(1), 7), (directory(2), 4)]);
    let again = folded(&Image::default(), &image.to_records());
    assert_eq!(again.broker(1), image.broker(1));
    // Data of a removed topic are something, too.
    let topic = image.topic_named("t").unwrap().id;
    let image = folded(&image, &[MetadataRecord::RemoveTopic(topic)]);
    let image = registered(&image, &[(1, 8)]);
    assert_eq!(known(&image), [(directory(1), 8), (directory(2), 4)]);
    let image = folded(&image, &data_removed(&image, &[topic], &[directory(2)]));
    let image = registered(&image, &[(1, 9)]);
    assert_eq!(known(&image), [(directory(1), 9)]);
}

/// Places partitions in directories 1, 2, and so on.
struct InTurn(World, u128);

impl Subject for InTurn {
    fn draw_id(&mut self) -> TopicId {
        self.0.draw_id()
    }

    fn place(&mut self, _broker: i32) -> Directory {
        self.1 += 1;
        directory(self.1)
    }

    fn check_configs(&mut self, configs: &BTreeMap<String, String>) -> Result<(), String> {
        self.0.check_configs(configs)
    }
}

/// A topic whose partitions 0 and 1 lie in directories 1 and 2.
fn in_two_directories() -> Image {
    let image = registered(&Image::default(), &[1, 2]);
    let wish = CreateTopic {
        partitions: 2,
        ..named("t")
    };
    let mut world = InTurn(World::new(), 0);
    let (_, records) = create_topics(&image, &[wish], DEFAULTS, &mut world);
    folded(&image, &records)
}

/// Leader, its epoch and whether the replica is offline, of partitions 0 and 1.
fn led(image: &Image) -> [(i32, i32, bool); 2] {
    let topic = image.topic_named("t").expect("it was made");
    [0, 1].map(|index| {
        let partition = topic.partitions.get(&index).expect("it has two");
        let offline = image.offline_replicas(partition).count() == 1;
        (partition.leader, partition.leader_epoch, offline)
    })
}

#[test]
fn a_directory_that_fails_takes_the_lead_of_its_own_partitions_only() {
    let image = in_two_directories();
    assert_eq!(led(&image), [(1, 0, false), (1, 0, false)]);
    let failed = folded(&image, &directories_failed(&image, 1, &[directory(2)]));
    assert_eq!(led(&failed), [(1, 0, false), (-1, 1, true)]);
    let broker = failed.broker(1).expect("it is registered");
    assert_eq!(broker.log_dirs, [directory(1)]);
    assert_eq!(directories_failed(&failed, 1, &[directory(2)]), []);
    assert_eq!(directories_failed(&failed, 7, &[directory(1)]), []);
}

#[test]
fn a_broker_leads_at_its_start_what_lies_in_the_directories_that_it_offers() {
    let image = in_two_directories();
    let without = registered(&image, &[1]);
    assert_eq!(led(&without), [(1, 0, false), (-1, 1, true)]);
    let again = registered(&without, &[1, 2]);
    assert_eq!(led(&again), [(1, 0, false), (1, 2, false)]);
}

#[test]
fn a_partition_at_the_end_of_its_epochs_is_changed_no_more() {
    use millrace_protocol::metadata::{PartitionChangeRecord, PartitionRecord, TopicRecord};
    let topic_id = TopicId::from_bytes([7; 16]);
    let partition = |leader_epoch, partition_epoch| {
        MetadataRecord::Partition(PartitionRecord {
            partition_id: 0,
            topic_id,
            replicas: vec![1],
            isr: vec![1],
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader: 1,
            leader_recovery_state: 0,
            leader_epoch,
            partition_epoch,
            directories: Vec::new(),
        })
    };
    let topic = MetadataRecord::Topic(TopicRecord {
        name: "t".to_owned(),
        topic_id,
    });
    let change = MetadataRecord::PartitionChange(PartitionChangeRecord {
        topic_id,
        leader: Some(-1),
        ..PartitionChangeRecord::default()
    });
    for (leader_epoch, partition_epoch, fits) in [
        (i32::MAX - 1, i32::MAX - 1, true),
        (i32::MAX, 0, false),
        (0, i32::MAX, false),
    ] {
        let image = folded(
            &Image::default(),
            &[topic.clone(), partition(leader_epoch, partition_epoch)],
        );
        assert_eq!(image.replay(image.offset() + 1, &change).is_ok(), fits);
    }
}
