//! The records of `__consumer_offsets` as Kafka 4.3.1's own classes write them (`cargo xtask vectors`
//! records them): each of ours is read, and written to the same bytes in the version that is written.

use millrace_protocol::coordinator::{
    GroupMetadata, GroupMetadataValue, Key, OffsetCommitValue, group_metadata_key,
    group_metadata_value, offset_commit_key, offset_commit_value, read_key, read_value,
    subscribed_topics,
};

const VECTORS: &str = include_str!("../vectors/coordinator.txt");

/// The lines of one name: type or version, variant, and the bytes with that number before them.
fn vectors(name: &str) -> Vec<(i16, &'static str, Vec<u8>)> {
    let lines =
        VECTORS.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let (found, number) = (words.next()?, words.next()?.parse::<i16>().ok()?);
            let (variant, hex) = (words.next()?, words.next()?);
            let mut bytes = number.to_be_bytes().to_vec();
            bytes.extend((0..hex.len() / 2).map(|at| {
                u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("recorded as hex")
            }));
            (found == name).then_some((number, variant, bytes))
        });
    let lines: Vec<_> = lines.collect();
    assert!(!lines.is_empty(), "nothing is recorded of {name}");
    lines
}

#[test]
fn keys_that_are_known_are_read_and_written_again() {
    for (_, _, bytes) in vectors("OffsetCommitKey") {
        let Key::OffsetCommit(key) = read_key(&bytes).unwrap() else {
            panic!("it is an offset's");
        };
        assert_eq!(offset_commit_key(key), bytes);
        assert_eq!((key.group, key.topic), ("text-1-é", "text-2-é"));
    }
    for (_, _, bytes) in vectors("LegacyOffsetCommitKey") {
        assert!(matches!(read_key(&bytes), Ok(Key::OffsetCommit(_))));
    }
    for (_, _, bytes) in vectors("GroupMetadataKey") {
        let Key::GroupMetadata(key) = read_key(&bytes).unwrap() else {
            panic!("it is a group's");
        };
        assert_eq!(group_metadata_key(key.group), bytes);
    }
}

#[test]
fn keys_of_other_types_are_told_and_skipped() {
    let mut others = 0;
    for line in VECTORS.lines() {
        let name = line.split(' ').next().unwrap();
        if name.ends_with("Key") && !name.ends_with("OffsetCommitKey") && name != "GroupMetadataKey"
        {
            for (number, _, bytes) in vectors(name) {
                assert!(matches!(read_key(&bytes), Ok(Key::Unknown(found)) if found == number));
                others += 1;
            }
        }
    }
    assert!(others > 15, "only {others} other types were recorded");
}

#[test]
fn offsets_are_read_in_every_version_and_written_as_kafka_does() {
    for (version, variant, bytes) in vectors("OffsetCommitValue") {
        let value: OffsetCommitValue<'_> = read_value(&bytes).unwrap();
        if variant == "filled" {
            assert_eq!(value.offset, 0x1_0000_000f, "version {version}");
            assert_eq!(value.leader_epoch >= 0, version >= 3);
            assert_eq!(value.expire_timestamp_ms >= 0, version == 1);
            assert_eq!(value.topic_id.is_zero(), version < 4);
        }
        if version == 4 || (version == 1 && value.expire_timestamp_ms >= 0) {
            assert_eq!(offset_commit_value(value), bytes, "{version} {variant}");
        }
    }
}

#[test]
fn groups_are_read_in_every_version_and_written_as_kafka_does() {
    for (version, variant, bytes) in vectors("GroupMetadataValue") {
        let value: GroupMetadataValue<'_> = read_value(&bytes).unwrap();
        let members = usize::from(variant != "default") * 2;
        assert_eq!(value.members.len(), members, "{version} {variant}");
        if version == 4 {
            let group = GroupMetadata {
                protocol_type: value.protocol_type,
                generation: value.generation,
                protocol: value.protocol,
                leader: value.leader,
                current_state_timestamp_ms: value.current_state_timestamp_ms,
            };
            let members: Vec<_> = value.members.into_iter().collect();
            assert_eq!(group_metadata_value(group, members.into_iter()), bytes);
        }
    }
}

#[test]
fn the_topics_of_a_subscription_are_read_in_every_version() {
    for (version, variant, bytes) in vectors("ConsumerProtocolSubscription") {
        let topics: Vec<&str> = subscribed_topics(&bytes).unwrap().collect();
        let expected: &[&str] = if variant == "default" {
            &[]
        } else {
            &["text-2-é", "text-3-é"]
        };
        assert_eq!(topics, expected, "version {version}");
    }
    for bytes in [
        &b""[..],
        b"\0",
        b"\0\x03\0\0\0\x02\0\x05t",
        b"\xff\xff\0\0\0\0",
        b"\0\0\x7f\xff\xff\xff",
    ] {
        assert!(subscribed_topics(bytes).is_none(), "{bytes:?}");
    }
}

#[test]
fn damaged_values_and_those_of_newer_versions_are_refused() {
    for name in ["OffsetCommitValue", "GroupMetadataValue"] {
        for (_, _, bytes) in vectors(name) {
            for len in 0..bytes.len() {
                let cut = &bytes[..len];
                assert!(
                    read_value::<OffsetCommitValue<'_>>(cut).is_err()
                        || name != "OffsetCommitValue"
                );
                assert!(
                    read_value::<GroupMetadataValue<'_>>(cut).is_err()
                        || name != "GroupMetadataValue"
                );
            }
            let newer = [&5_i16.to_be_bytes()[..], &bytes[2..]].concat();
            assert!(read_value::<OffsetCommitValue<'_>>(&newer).is_err());
            assert!(read_value::<GroupMetadataValue<'_>>(&newer).is_err());
        }
    }
}
