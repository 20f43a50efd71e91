//! What members say, against the bytes of Kafka's Java client, and against bytes of anybody.
//!
//! The vectors are what `ConsumerProtocol.serializeSubscription` and `serializeAssignment` of
//! kafka-clients 4.3.1 write in each version, for `Subscription([b, a], 010203, [b-2, a-1, a-0], 5,
//! r1)`, `Subscription([orders])`, `Assignment([a-0, a-2, b-1])` and `Assignment([], 09)`; and what its
//! assignors give as user data, before any assignment and after `[a-0, a-2, b-1]` in generation 7.

use proptest::prelude::*;

use super::*;
use crate::group::assignor::Assignor;

const FULL: [&str; 4] = [
    "00000000000200016100016200000003010203",
    "00010000000200016100016200000003010203000000020001610000000200000000000000010001620000000100000002",
    "0002000000020001610001620000000301020300000002000161000000020000000000000001000162000000010000000200000005",
    "000300000002000161000162000000030102030000000200016100000002000000000000000100016200000001000000020000000500027231",
];
const BARE: [&str; 4] = [
    "00000000000100066f7264657273ffffffff",
    "00010000000100066f7264657273ffffffff00000000",
    "00020000000100066f7264657273ffffffff00000000ffffffff",
    "00030000000100066f7264657273ffffffff00000000ffffffffffff",
];
const ASSIGNMENT: [&str; 4] = [
    "0000000000020001610000000200000000000000020001620000000100000001ffffffff",
    "0001000000020001610000000200000000000000020001620000000100000001ffffffff",
    "0002000000020001610000000200000000000000020001620000000100000001ffffffff",
    "0003000000020001610000000200000000000000020001620000000100000001ffffffff",
];
const NOTHING_ASSIGNED: &str = "0003000000000000000109";
const STICKY: &str = "00000002000161000000020000000000000002000162000000010000000100000007";

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

fn partitions(all: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
    let named = all.iter();
    named
        .map(|(topic, partition)| TopicPartition::new(*topic, *partition))
        .collect()
}

fn full() -> Subscription {
    Subscription {
        topics: BTreeSet::from(["a".to_owned(), "b".to_owned()]),
        user_data: Some(Bytes::from_static(&[1, 2, 3])),
        owned: partitions(&[("a", 0), ("a", 1), ("b", 2)]),
        generation: Some(5),
        rack: Some("r1".to_owned()),
    }
}

#[test]
fn subscriptions_are_written_and_read_as_java_writes_them() {
    let bare = Subscription {
        topics: BTreeSet::from(["orders".to_owned()]),
        ..Subscription::default()
    };
    assert_eq!(full().encode(), bytes(FULL[3]));
    assert_eq!(bare.encode(), bytes(BARE[3]));
    for (version, vector) in FULL.iter().enumerate() {
        let mut said = full();
        if version < 3 {
            said.rack = None;
        }
        if version < 2 {
            said.generation = None;
        }
        if version < 1 {
            said.owned.clear();
        }
        assert_eq!(
            Subscription::decode(&bytes(vector)),
            Some(said),
            "version {version}"
        );
    }
    for vector in BARE {
        assert_eq!(Subscription::decode(&bytes(vector)), Some(bare.clone()));
    }
    // A newer version begins alike.
    let newer = [&[0, 4], &bytes(FULL[3])[2..], &[7, 7]].concat();
    assert_eq!(Subscription::decode(&newer), Some(full()));
}

#[test]
fn assignments_are_written_and_read_as_java_writes_them() {
    let assigned = partitions(&[("a", 0), ("a", 2), ("b", 1)]);
    assert_eq!(encode_assignment(&assigned), bytes(ASSIGNMENT[3]));
    for vector in ASSIGNMENT {
        assert_eq!(decode_assignment(&bytes(vector)), Some(assigned.clone()));
    }
    let none = Some(BTreeSet::new());
    assert_eq!(decode_assignment(&bytes(NOTHING_ASSIGNED)), none);
    assert_eq!(decode_assignment(&[]), none);
}

#[test]
fn assignors_say_beside_what_javas_say() {
    let assigned = partitions(&[("a", 0), ("a", 2), ("b", 1)]);
    let said = |assignor: Assignor, generation| assignor.user_data(&assigned, generation);
    let expected = |hex: &str| Some(Bytes::from(bytes(hex)));
    assert_eq!(said(Assignor::Range, 7), None);
    assert_eq!(said(Assignor::RoundRobin, 7), None);
    assert_eq!(said(Assignor::Sticky, NO_GENERATION), None);
    assert_eq!(said(Assignor::Sticky, 7), expected(STICKY));
    assert_eq!(
        said(Assignor::CooperativeSticky, NO_GENERATION),
        expected("ffffffff")
    );
    assert_eq!(said(Assignor::CooperativeSticky, 7), expected("00000007"));
    assert_eq!(
        decode_sticky(&bytes(STICKY)),
        Some((assigned.clone(), Some(7)))
    );
    // Members before KIP-341 name no generation.
    let old = &bytes(STICKY)[..STICKY.len() / 2 - 4];
    assert_eq!(decode_sticky(old), Some((assigned, None)));
}

proptest! {
    #[test]
    fn whatever_bytes_come_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(Subscription::decode(&bytes));
        drop(decode_assignment(&bytes));
        drop(decode_sticky(&bytes));
    }

    #[test]
    fn a_cut_subscription_is_refused(cut in 0..57_usize) {
        let whole = bytes(FULL[3]);
        prop_assert_eq!(whole.len(), 57);
        prop_assert_eq!(Subscription::decode(&whole[..cut]), None);
    }
}
