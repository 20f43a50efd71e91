//! Rules of what operators ask of a cluster of three brokers, one of which is fenced: more
//! partitions, elections, reassignments, features.

use std::collections::BTreeMap;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::{
    FeatureLevelRecord, MetadataRecord, PartitionChangeRecord, PartitionRecord,
    RegisterBrokerRecord, TopicRecord,
};

use super::*;

const TOPIC: TopicId = TopicId::from_bytes([9; 16]);

/// Where every replica lies.
fn directory() -> Directory {
    TopicId::from_bytes([7; 16])
}

struct World;

impl Subject for World {
    fn draw_id(&mut self) -> TopicId {
        TOPIC
    }

    fn place(&mut self, _broker: i32) -> Directory {
        directory()
    }

    fn check_configs(&mut self, _configs: &BTreeMap<String, String>) -> Result<(), String> {
        Ok(())
    }
}

fn folded(image: &Image, records: &[MetadataRecord]) -> Image {
    let at = image.offset() + 1;
    image
        .replay_all(at, records)
        .expect("a decision's records fit its image")
}

fn broker(broker_id: i32, fenced: bool) -> MetadataRecord {
    MetadataRecord::RegisterBroker(RegisterBrokerRecord {
        broker_id,
        incarnation_id: TopicId::from_bytes([1; 16]),
        broker_epoch: 1,
        end_points: Vec::new(),
        features: Vec::new(),
        rack: None,
        fenced,
        in_controlled_shutdown: false,
        log_dirs: vec![directory()],
        generations: Vec::new(),
    })
}

/// Topic `t` with partition 0 on `replicas`.
fn with_topic(replicas: &[i32], isr: &[i32], leader: i32) -> Image {
    let partition = PartitionRecord {
        partition_id: 0,
        topic_id: TOPIC,
        replicas: replicas.to_vec(),
        isr: isr.to_vec(),
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader,
        leader_recovery_state: 0,
        leader_epoch: 5,
        partition_epoch: 8,
        directories: vec![directory(); replicas.len()],
    };
    let topic = TopicRecord {
        name: "t".to_owned(),
        topic_id: TOPIC,
    };
    let records = [
        broker(1, false),
        broker(2, false),
        broker(3, true),
        MetadataRecord::Topic(topic),
        MetadataRecord::Partition(partition),
    ];
    folded(&Image::default(), &records)
}

fn partition(image: &Image, index: i32) -> Partition {
    let topic = image.topic(TOPIC).expect("it was made");
    topic.partitions.get(&index).expect("it was made").clone()
}

fn grow(
    image: &Image,
    count: i32,
    assignments: Option<&[&[i32]]>,
) -> Result<Image, (ErrorCode, String)> {
    let request = GrowTopic {
        name: "t".to_owned(),
        count,
        assignments: assignments.map(|list| list.iter().map(|ids| ids.to_vec()).collect()),
    };
    let (mut outcomes, records) = create_partitions(image, &[request], 100, &mut World);
    let outcome = outcomes.remove(0);
    outcome.map_err(|refusal| (refusal.code, refusal.message))?;
    Ok(folded(image, &records))
}

#[test]
fn new_partitions_have_as_many_replicas_and_go_round_the_living_brokers() {
    let image = with_topic(&[2, 1], &[1, 2], 2);
    let grown = grow(&image, 3, None).expect("two brokers live");
    let (first, second) = (partition(&grown, 1), partition(&grown, 2));
    assert_eq!((first.replicas, first.leader), (vec![2, 1], 2));
    assert_eq!((second.replicas, second.leader), (vec![1, 2], 1));
    assert_eq!((second.leader_epoch, second.isr), (0, vec![1, 2]));
    assert_eq!(second.directories, [directory(), directory()]);
    let wide = with_topic(&[1, 2, 3], &[1], 1);
    let refused = grow(&wide, 2, None).expect_err("only two brokers live");
    assert_eq!(refused.0, ErrorCode::InvalidReplicationFactor);
}

#[test]
fn placed_partitions_have_as_many_replicas_and_one_that_lives() {
    let image = with_topic(&[1], &[1], 1);
    let refused = |assignments| grow(&image, 2, Some(assignments)).expect_err("a rule is broken");
    let (code, words) = refused(&[&[1, 2]]);
    assert_eq!(code, ErrorCode::InvalidReplicaAssignment);
    let expected = "The manual partition assignment includes a partition with 2 replica(s), but \
                    this is not consistent with previous partitions, which have 1 replica(s).";
    assert_eq!(words, expected);
    let (code, words) = refused(&[&[3]]);
    assert_eq!(code, ErrorCode::InvalidReplicaAssignment);
    assert!(words.ends_with("for partition 1 are fenced or in controlled shutdown."));
    let grown = grow(&image, 2, Some(&[&[2]])).expect("broker 2 lives");
    assert_eq!(partition(&grown, 1).leader, 2);
}

#[test]
fn a_request_for_too_many_partitions_adds_none() {
    let image = with_topic(&[1], &[1], 1);
    assert!(grow(&image, 100, None).is_ok());
    for count in [101, 20_000, i32::MAX] {
        let (code, _) = grow(&image, count, None).expect_err("100 are the most");
        assert_eq!(code, ErrorCode::PolicyViolation);
    }
}

fn elected(image: &Image, election: Election) -> Result<Partition, ErrorCode> {
    let asked = [ElectIn {
        topic: "t",
        partitions: vec![0],
    }];
    let (rows, records) = elect_leaders(image, election, Some(&asked));
    let (of_all, same) = elect_leaders(image, election, None);
    assert_eq!(records, same);
    let outcome = rows[0].partitions[0].1.clone();
    let needed = |refusal: &Refusal| refusal.code != ErrorCode::ElectionNotNeeded;
    let is_told = outcome.as_ref().err().is_none_or(needed);
    assert_eq!(of_all[0].partitions.len(), usize::from(is_told));
    let leader = outcome.map_err(|refusal| refusal.code)?;
    let partition = partition(&folded(image, &records), 0);
    assert_eq!(partition.leader, leader);
    Ok(partition)
}

#[test]
fn the_preferred_replica_is_elected_if_it_lives_in_sync() {
    let preferred =
        |replicas, isr, leader| elected(&with_topic(replicas, isr, leader), Election::Preferred);
    let after = preferred(&[2, 1], &[1, 2], 1).expect("2 is in sync");
    assert_eq!((after.leader, after.leader_epoch), (2, 6));
    assert_eq!(after.isr, [1, 2]);
    let not_needed = preferred(&[1, 2], &[1, 2], 1).expect_err("1 leads");
    assert_eq!(not_needed, ErrorCode::ElectionNotNeeded);
    for (replicas, isr) in [(&[2, 1][..], &[1][..]), (&[3, 1], &[1, 3])] {
        let refused = preferred(replicas, isr, 1).expect_err("the first can't lead");
        assert_eq!(refused, ErrorCode::PreferredLeaderNotAvailable);
    }
}

#[test]
fn an_unclean_election_takes_whoever_lives_and_who_is_in_sync_first() {
    let unclean =
        |replicas, isr, leader| elected(&with_topic(replicas, isr, leader), Election::Unclean);
    let clean = unclean(&[1, 2], &[2], -1).expect("2 lives");
    assert_eq!((clean.leader, clean.isr), (2, vec![2]));
    let lossy = unclean(&[3, 2], &[3], -1).expect("2 lives");
    assert_eq!((lossy.leader, lossy.isr), (2, vec![2]));
    let led = unclean(&[2, 1], &[1], 1).expect_err("1 leads");
    assert_eq!(led, ErrorCode::ElectionNotNeeded);
    let none = unclean(&[3], &[3], -1).expect_err("nobody lives");
    assert_eq!(none, ErrorCode::EligibleLeadersNotAvailable);
}

fn reassigned(image: &Image, replicas: Option<&[i32]>, may: bool) -> Result<Image, Refusal> {
    let asked = Reassignment {
        topic: "t",
        partition: 0,
        replicas: replicas.map(<[i32]>::to_vec),
    };
    let (mut outcomes, records) = reassign_partitions(image, &[asked], may);
    outcomes.remove(0).map(|()| folded(image, &records))
}

#[test]
fn replicas_change_their_order_and_nothing_else() {
    let image = with_topic(&[1, 2], &[1, 2], 1);
    let turned = reassigned(&image, Some(&[2, 1]), true).expect("the same brokers");
    let after = partition(&turned, 0);
    assert_eq!((after.replicas, after.leader), (vec![2, 1], 1));
    assert_eq!(after.isr, [1, 2]);
    let same = reassigned(&image, Some(&[1, 2]), false).expect("nothing changes");
    assert_eq!(same.offset(), image.offset());
    let code = |replicas, may| {
        let refused = reassigned(&image, replicas, may);
        refused.expect_err("a rule is broken").code
    };
    assert_eq!(code(None, true), ErrorCode::NoReassignmentInProgress);
    assert_eq!(code(Some(&[1]), false), ErrorCode::InvalidReplicationFactor);
    for other in [&[1][..], &[1, 3], &[9], &[], &[1, 1]] {
        assert_eq!(code(Some(other), true), ErrorCode::InvalidReplicaAssignment);
    }
}

const KNOWN: [Feature<'_>; 2] = [
    Feature {
        name: "a",
        min: 0,
        max: 2,
    },
    Feature {
        name: "b",
        min: 7,
        max: 9,
    },
];

/// What becomes of updates of `a` at level 1 and `b` at level 8: the levels, or the reason.
fn updated(updates: &[(&'static str, i16, i8)]) -> Result<Vec<(String, i16)>, String> {
    let level = |name: &str, feature_level| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord {
            name: name.to_owned(),
            feature_level,
        })
    };
    let image = folded(&Image::default(), &[level("a", 1), level("b", 8)]);
    let update = |(feature, level, kind): &(&'static str, i16, i8)| FeatureUpdate {
        feature,
        level: *level,
        kind: *kind,
    };
    let updates: Vec<_> = updates.iter().map(update).collect();
    let records = update_features(&image, 4, &KNOWN, &updates).map_err(|refusal| {
        assert_eq!(refusal.code, ErrorCode::InvalidUpdateVersion);
        refusal.message
    })?;
    let after = folded(&image, &records);
    let features = after.features();
    Ok(features
        .map(|(name, level)| (name.to_owned(), level))
        .collect())
}

#[test]
fn features_go_up_and_down_within_what_is_known_all_or_none() {
    let levels = |a: i16, b: i16| {
        let features = [("a", a), ("b", b)];
        let there = features.iter().filter(|(_, level)| *level != 0);
        Ok(there
            .map(|(name, level)| ((*name).to_owned(), *level))
            .collect())
    };
    assert_eq!(updated(&[("a", 2, 1), ("b", 9, 1)]), levels(2, 9));
    assert_eq!(updated(&[("a", 0, 2), ("b", 7, 3)]), levels(0, 7));
    assert_eq!(updated(&[("a", 2, 1), ("a", 1, 1)]), levels(1, 8));
    assert_eq!(updated(&[]), levels(1, 8));
    for (update, reason) in [
        (("a", 3, 1), "Local controller 4 only supports versions 0-2"),
        (("b", 0, 2), "Local controller 4 only supports versions 7-9"),
        (("a", -1, 1), "A feature version cannot be less than 0."),
        (("a", 2, 2), "Can't downgrade to a newer version."),
        (
            ("a", 0, 0),
            "The controller does not support the given upgrade type.",
        ),
        (
            ("c", 1, 1),
            "Local controller 4 does not support this feature.",
        ),
        (("c", 0, 1), "Feature c not found."),
        (
            ("a", 0, 1),
            "Can't downgrade the version of this feature without setting the upgrade type to \
             either safe or unsafe downgrade.",
        ),
    ] {
        // Beside one that could be made.
        let words = updated(&[("a", 2, 1), ("b", 9, 1), update]);
        let words = words.expect_err("a rule is broken");
        assert!(words.ends_with(reason), "{words}");
    }
}

#[test]
fn what_a_change_does_not_name_stays() {
    let image = with_topic(&[1, 2], &[1, 2], 1);
    let change = MetadataRecord::PartitionChange(PartitionChangeRecord {
        partition_id: 0,
        topic_id: TOPIC,
        leader: Some(2),
        ..PartitionChangeRecord::default()
    });
    let after = partition(&folded(&image, &[change]), 0);
    assert_eq!(
        (after.leader, after.leader_epoch, after.partition_epoch),
        (2, 6, 9)
    );
    assert_eq!((after.replicas, after.isr), (vec![1, 2], vec![1, 2]));
}
