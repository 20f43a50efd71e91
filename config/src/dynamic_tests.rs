//! Tests of configuration that changes while the broker runs.

use crate::{BrokerConfig, Described, Origin, Overrides, TopicConfig, TopicOverrides};

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn retention_ms(config: &BrokerConfig) -> u128 {
    let own = TopicOverrides::new();
    let resolved = TopicConfig::resolve(config, &own).unwrap();
    assert_eq!(resolved, config.topics.defaults);
    resolved.retention.unwrap().as_millis()
}

#[test]
fn the_brokers_own_wins_over_the_clusters_and_that_over_the_file() {
    let started = BrokerConfig::from_pairs([("log.retention.ms", "1000")]).unwrap();
    let cluster = overrides(&[("log.retention.ms", "2000")]);
    let own = overrides(&[("log.retention.ms", "3000")]);
    let none = Overrides::new();
    for (cluster, own, ms) in [
        (&none, &none, 1000),
        (&cluster, &none, 2000),
        (&none, &own, 3000),
        (&cluster, &own, 3000),
    ] {
        let (config, refused) = started.with_dynamic(cluster, own);
        assert_eq!(refused, []);
        assert_eq!(retention_ms(&config), ms);
        // Laid over what was started with, not over what was there before.
        assert_eq!(config.with_dynamic(&none, &none).0, config);
    }
}

#[test]
fn a_listing_tells_every_layer_in_kafkas_order() {
    let started = BrokerConfig::from_pairs([("log.retention.hours", "2")]).unwrap();
    let cluster = overrides(&[("log.retention.ms", "6000")]);
    let own = overrides(&[("log.retention.ms", "5000")]);
    let (config, _) = started.with_dynamic(&cluster, &own);
    let expected = [
        ("log.retention.ms", "5000", Origin::Broker),
        ("log.retention.ms", "6000", Origin::Cluster),
        ("log.retention.hours", "2", Origin::Static),
        ("log.retention.hours", "168", Origin::Default),
    ];
    let of = |listed: Vec<Described>, name: &str| {
        let one = listed.into_iter().find(|one| one.key.name == name).unwrap();
        let synonyms = one.synonyms.iter();
        let synonyms: Vec<_> = synonyms
            .map(|synonym| (synonym.name, synonym.value.clone(), synonym.origin))
            .collect();
        (one.value, one.origin, one.read_only, synonyms)
    };
    let all = expected.map(|(name, value, origin)| (name, value.to_owned(), origin));
    let five = Some("5000".to_owned());
    assert_eq!(
        of(config.describe(), "log.retention.ms"),
        (five.clone(), Origin::Broker, false, all.to_vec())
    );
    let topic = config.describe_topic(&TopicOverrides::new()).unwrap();
    assert_eq!(
        of(topic, "retention.ms"),
        (five, Origin::Broker, false, all.to_vec())
    );
    let hours = of(config.describe(), "log.retention.hours");
    assert_eq!(
        hours,
        (
            Some("2".to_owned()),
            Origin::Static,
            true,
            all[2..].to_vec()
        )
    );
}

#[test]
fn what_cannot_be_taken_is_told_and_left_out_alone() {
    let started = BrokerConfig::from_pairs([("socket.request.max.bytes", "3000000")]).unwrap();
    let own = overrides(&[
        ("log.retention.ms", "5000"),
        ("log.segment.bytes", "x"),
        ("message.max.bytes", "4000000"),
        ("no.such.key", "1"),
        ("num.partitions", "3"),
    ]);
    let (config, refused) = started.with_dynamic(&Overrides::new(), &own);
    assert_eq!(retention_ms(&config), 5000);
    assert_eq!(config.topics.defaults.batch_bytes_max, 1_048_588);
    assert_eq!(config.topics.partitions, 1);
    let told: Vec<String> = refused.iter().map(ToString::to_string).collect();
    for (told, part) in told.iter().zip([
        "log.segment.bytes=x",
        "socket.request.max.bytes",
        "unknown key no.such.key",
        "num.partitions can't be changed while the broker runs",
    ]) {
        assert!(told.contains(part), "{told:?} lacks {part:?}");
    }
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn room_that_a_process_does_not_have_is_not_given_while_it_runs() {
    let mut started = BrokerConfig::default();
    let own = overrides(&[("max.connections", "5000"), ("max.connections.per.ip", "7")]);
    let (config, _) = started.with_dynamic(&Overrides::new(), &own);
    assert_eq!(config.network.connections_max, 5000);
    assert_eq!(config.network.connections_per_ip_max, 7);
    started.network.connections_max = 900;
    let (config, _) = started.with_dynamic(&Overrides::new(), &own);
    assert_eq!(config.network.connections_max, 900);
}

#[test]
fn a_key_without_effect_takes_its_default_and_nothing_else() {
    let broker = BrokerConfig::default();
    for (key, default, other) in [
        ("remote.storage.enable", "FALSE", "true"),
        ("remote.log.copy.disable", "false", "true"),
    ] {
        TopicConfig::resolve(&broker, &overrides(&[(key, default)])).unwrap();
        let refused = TopicConfig::resolve(&broker, &overrides(&[(key, other)])).unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("nothing but its default"), "{refused}");
    }
    // What compaction goes by is checked, and so is what changes nothing here whatever it says.
    for (key, good, bad) in [
        ("min.cleanable.dirty.ratio", "0.01", "1.5"),
        ("delete.retention.ms", "5", "-1"),
        ("max.compaction.lag.ms", "5", "0"),
        ("min.cleanable.dirty.ratio", "1", "NaN"),
        ("preallocate", "TRUE", "yes"),
        ("compression.lz4.level", "17", "18"),
        ("local.retention.ms", "5", "-3"),
        ("leader.replication.throttled.replicas", "0:1,1:1", "0:1,1"),
        ("follower.replication.throttled.replicas", "*", "*,0:1"),
    ] {
        TopicConfig::resolve(&broker, &overrides(&[(key, good)])).unwrap();
        TopicConfig::resolve(&broker, &overrides(&[(key, bad)])).unwrap_err();
    }
    let lags = [
        ("min.compaction.lag.ms", "10"),
        ("max.compaction.lag.ms", "5"),
    ];
    let refused = TopicConfig::check(&broker, &overrides(&lags)).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("at most max.compaction.lag.ms")
    );
    // A topic that is there is not taken out of service because its broker's values changed.
    TopicConfig::resolve(&broker, &overrides(&lags)).unwrap();
}

#[test]
fn how_fast_replicas_move_follows_what_was_set_last() {
    const KEY: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
    let started = BrokerConfig::from_pairs([(KEY, "1000")]).unwrap();
    let own = overrides(&[(KEY, "20")]);
    let (config, refused) = started.with_dynamic(&Overrides::new(), &own);
    assert_eq!(refused, []);
    assert_eq!(config.log.move_bytes_per_second_max, 20);
    let (config, _) = started.with_dynamic(&Overrides::new(), &Overrides::new());
    assert_eq!(config.log.move_bytes_per_second_max, 1000);
}
