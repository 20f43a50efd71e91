//! Tests of the sources, their order, and what is refused.

use std::path::PathBuf;
use std::time::Duration;

use crate::{BrokerConfig, ConfigError, Sources};

fn load(
    file: Option<(&str, &str)>,
    environment: &[(&str, &str)],
    set: &[&str],
) -> Result<BrokerConfig, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = file.map(|(name, text)| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    BrokerConfig::load(&Sources {
        file,
        environment: environment
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        set: set.iter().map(|s| (*s).into()).collect(),
    })
}

fn refused(set: &[&str]) -> String {
    load(None, &[], set).unwrap_err().to_string()
}

#[test]
fn nothing_set_is_a_node_on_this_machine() {
    let config = BrokerConfig::default();
    assert_eq!(config, BrokerConfig::load(&Sources::default()).unwrap());
    assert_eq!(config.node.id, 1);
    assert_eq!(config.log.dirs, [PathBuf::from("./millrace-data")]);
    assert_eq!(config.network.listeners[0].port, 9092);
    assert!(config.topics.auto_create && config.topics.delete_enabled);
    assert_eq!(config.log.flush_lag, Duration::from_millis(20));
    assert_eq!(config.log.unflushed_bytes_max, 64 << 20);
    assert_eq!(config.fetch.response_bytes_max, 55 << 20);
    assert_eq!(
        config.metadata.snapshot_interval,
        Some(Duration::from_hours(1))
    );
    assert_eq!(config.produce.producer_expiration, Duration::from_hours(24));
}

#[test]
fn the_stronger_source_wins() {
    let file = Some((
        "m.properties",
        "num.partitions=1\nnode.id=2\nbroker.rack=file\n",
    ));
    let environment = [
        ("MILLRACE_NUM_PARTITIONS", "3"),
        ("MILLRACE_NODE_ID", "4"),
        ("HOME", "x"),
    ];
    let config = load(
        file,
        &environment,
        &["num.partitions=5", "num.partitions=6"],
    )
    .unwrap();
    assert_eq!(config.topics.partitions, 6);
    assert_eq!(config.node.id, 4);
    assert_eq!(config.node.rack.as_deref(), Some("file"));
}

#[test]
fn the_environment_names_the_file_when_no_option_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.properties");
    std::fs::write(&path, "node.id=8\n").unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(
        load(None, &[("MILLRACE_CONFIG", path)], &[])
            .unwrap()
            .node
            .id,
        8
    );
    let file = Some(("o.properties", "node.id=9\n"));
    assert_eq!(
        load(file, &[("MILLRACE_CONFIG", path)], &[])
            .unwrap()
            .node
            .id,
        9
    );
}

#[test]
fn toml_and_properties_say_the_same() {
    let toml = "node.id = 9\nlisteners = [\"PLAINTEXT://[::1]:0\"]\n[log]\ndirs = [\"a\", \"b\"]\n";
    let properties = "node.id=9\nlisteners=PLAINTEXT://[::1]:0\nlog.dirs=a, b\n";
    let toml = load(Some(("m.toml", toml)), &[], &[]).unwrap();
    let properties = load(Some(("m.properties", properties)), &[], &[]).unwrap();
    assert_eq!(toml.log, properties.log);
    assert_eq!(toml.node, properties.node);
    assert_eq!(toml.network, properties.network);
}

#[test]
fn of_two_names_for_one_thing_the_stronger_source_wins_then_kafkas_order() {
    let dirs = |file, set: &[&str]| {
        load(Some(("m.properties", file)), &[], set)
            .unwrap()
            .log
            .dirs
    };
    assert_eq!(
        dirs("log.dir=a\nlog.dirs=b,c\n", &[]),
        ["b", "c"].map(PathBuf::from)
    );
    assert_eq!(
        dirs("log.dirs=b,c\n", &["log.dir=a"]),
        ["a"].map(PathBuf::from)
    );
    // `log.dir` is one path, whatever characters are in it.
    assert_eq!(dirs("log.dir=a,b\n", &[]), ["a,b"].map(PathBuf::from));
}

#[test]
fn an_unknown_key_is_refused_with_its_source_and_the_nearest_name() {
    let cases: [(Result<BrokerConfig, ConfigError>, &[&str]); 6] = [
        (
            load(None, &[], &["log.dirz=x"]),
            &["log.dirz", "--set", "did you mean log.dirs?"],
        ),
        (
            load(None, &[("MILLRACE_NUM_PARTITION", "1")], &[]),
            &[
                "num.partition ",
                "MILLRACE_NUM_PARTITION",
                "num.partitions?",
            ],
        ),
        (
            load(Some(("m.properties", "\nnode.idd=1")), &[], &[]),
            &["node.idd", "m.properties line 2", "node.id?"],
        ),
        (
            load(Some(("m.toml", "[log]\ndirz = 1")), &[], &[]),
            &["log.dirz", "m.toml line 2", "log.dirs?"],
        ),
        (
            load(None, &[], &["retention.ms=1"]),
            &["did you mean log.retention.ms?"],
        ),
        (
            load(None, &[], &["max.message.bytes=1"]),
            &["did you mean message.max.bytes?"],
        ),
    ];
    for (result, parts) in cases {
        let message = result.unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
    assert!(!refused(&["something.else.entirely=1"]).contains("did you mean"));
}

#[test]
fn a_key_of_kafkas_without_effect_is_refused_and_says_so() {
    for (option, part) in [
        ("broker.id=1", "give node.id instead"),
        ("process.roles=broker,controller", "leave the key out"),
        ("ssl.keystore.location=/x", "no effect in this version"),
        ("group.consumer.max.size=5", "no effect in this version"),
    ] {
        let message = refused(&[option]);
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn a_bad_value_is_refused_with_what_is_allowed() {
    for (option, parts) in [
        (
            "num.partitions=0",
            ["num.partitions=0", "from 1 to 2147483647"],
        ),
        ("num.partitions=x", ["num.partitions=x", "an integer"]),
        (
            "num.partitions=2147483648",
            ["--set", "from 1 to 2147483647"],
        ),
        ("num.partitions=", ["num.partitions=", "an integer"]),
        (
            "log.segment.bytes=5",
            ["from 1048576 to 2147483647", "(bytes)"],
        ),
        ("log.retention.hours=0", ["-1 (no limit) or", "(hours)"]),
        ("auto.create.topics.enable=yes", ["yes", "true or false"]),
        (
            "compression.type=brotli",
            ["brotli", "one of producer, uncompressed, gzip"],
        ),
        (
            "log.cleanup.policy=delete,shred",
            ["shred", "delete, compact"],
        ),
        (
            "log.cleanup.policy=delete,delete",
            ["delete", "at most once"],
        ),
        ("log.dirs=a,,b", ["a,,b", "not empty"]),
        ("log.dirs=a,a/", ["a,a/", "each directory once"]),
        ("log.dirs=a/t-0,ab,a", ["a/t-0", "lies in another"]),
        ("log.dir=", ["log.dir", "not empty"]),
        ("queued.max.request.bytes=-1", ["-1", "from 1 to"]),
        (
            "default.replication.factor=40000",
            ["40000", "from 1 to 32767"],
        ),
        ("node.id=-1", ["-1", "from 0"]),
    ] {
        let message = refused(&[option]);
        for part in parts {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}

#[test]
fn a_value_that_a_stronger_source_replaces_is_checked_too() {
    let error = load(Some(("m.properties", "node.id=x")), &[], &["node.id=1"]).unwrap_err();
    assert!(error.to_string().contains("m.properties line 1"), "{error}");
}

#[test]
fn limits_that_contradict_each_other_are_refused_with_both_keys() {
    for (options, keys) in [
        (
            &["message.max.bytes=200000000"][..],
            [
                "message.max.bytes=200000000",
                "socket.request.max.bytes=104857600 (from the default)",
            ],
        ),
        (
            &["queued.max.request.bytes=1000"],
            [
                "socket.request.max.bytes=104857600",
                "queued.max.request.bytes=1000 (from --set)",
            ],
        ),
        (
            &[
                "log.journal.initial.bytes=4194304",
                "log.journal.file.bytes.max=2097152",
            ],
            [
                "log.journal.initial.bytes=4194304",
                "log.journal.file.bytes.max=2097152",
            ],
        ),
        (
            &[
                "log.direct.sync.bytes=524288",
                "log.journal.file.bytes.max=1048576",
            ],
            [
                "log.direct.sync.bytes=524288",
                "a quarter of log.journal.file.bytes.max",
            ],
        ),
        (
            &[
                "log.direct.sync.bytes=2097152",
                "log.unflushed.bytes.max=1048576",
            ],
            [
                "log.direct.sync.bytes=2097152",
                "log.unflushed.bytes.max=1048576",
            ],
        ),
    ] {
        let message = refused(options);
        for key in keys {
            assert!(message.contains(key), "{message:?} lacks {key:?}");
        }
    }
}

#[test]
fn what_is_no_configuration_at_all_is_refused_by_place() {
    let none = load(None, &[], &["log.dirs"]).unwrap_err().to_string();
    assert!(
        none.contains("--set log.dirs") && none.contains("key=value"),
        "{none}"
    );
    let name = load(Some(("m.yaml", "")), &[], &[])
        .unwrap_err()
        .to_string();
    assert!(name.contains(".properties or .toml"), "{name}");
    let syntax = load(Some(("m.toml", "a = 1\nb = [")), &[], &[])
        .unwrap_err()
        .to_string();
    assert!(syntax.contains("m.toml line 2"), "{syntax}");
    let file = Some(PathBuf::from("/nowhere/m.toml"));
    let absent = BrokerConfig::load(&Sources {
        file,
        ..Sources::default()
    })
    .unwrap_err();
    assert!(absent.to_string().contains("/nowhere/m.toml"), "{absent}");
    let large = "#".repeat(2 << 20);
    let large = load(Some(("m.properties", &large)), &[], &[])
        .unwrap_err()
        .to_string();
    assert!(large.contains("more than 1048576"), "{large}");
}

#[test]
fn foreign_text_in_an_error_is_escaped_and_cut() {
    let long = format!("node.id=\u{1b}[31m\n{}", "x".repeat(100_000));
    let message = refused(&[&long]);
    assert!(
        !message.contains('\u{1b}') && !message.contains('\n'),
        "{message:?}"
    );
    assert!(message.len() < 1_000);
}

#[test]
fn a_broker_listing_has_every_key_with_its_source() {
    let config = BrokerConfig::from_pairs([("num.partitions", " 3 ")]).unwrap();
    let listed = config.describe();
    assert_eq!(listed.len(), crate::broker_keys().count());
    let find = |name: &str| listed.iter().find(|d| d.key.name == name).unwrap();
    let partitions = find("num.partitions");
    assert_eq!(partitions.value.as_deref(), Some("3"));
    assert_eq!(
        (partitions.origin.kafka_id(), partitions.synonyms.len()),
        (4, 2)
    );
    assert_eq!(find("log.roll.ms").value, None);
    assert_eq!(find("log.roll.hours").origin.kafka_id(), 5);
    assert!(partitions.read_only && !find("log.roll.ms").read_only);
}
