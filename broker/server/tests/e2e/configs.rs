//! Configurations: described, changed and in effect while the node runs, and back after a restart.

use crate::node::{Node, with};
use millrace_protocol::api::Api;
use millrace_protocol::messages::describe_configs_request::DescribeConfigsResource;
use millrace_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use millrace_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ListConfigResourcesRequest,
    ListConfigResourcesResponse, StrBytes, alter_configs_request,
    incremental_alter_configs_request,
};

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Op<'a> = (&'a str, i8, Option<&'a str>);

pub(crate) fn change(
    kind: i8,
    name: &str,
    ops: &[Op<'_>],
) -> incremental_alter_configs_request::AlterConfigsResource {
    let mut resource = incremental_alter_configs_request::AlterConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = name.into();
    for (key, operation, value) in ops {
        let mut config = incremental_alter_configs_request::AlterableConfig::default();
        config.name = (*key).into();
        config.config_operation = *operation;
        config.value = value.map(StrBytes::from);
        resource.configs.push(config);
    }
    resource
}

/// Code and words for each resource.
pub(crate) async fn alter_all(
    node: &mut Node,
    version: i16,
    resources: Vec<incremental_alter_configs_request::AlterConfigsResource>,
    validate_only: bool,
) -> Vec<(i16, String)> {
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = resources;
    request.validate_only = validate_only;
    let api = Api::IncrementalAlterConfigs;
    let response: IncrementalAlterConfigsResponse = node.client.ask(api, version, &request).await;
    assert_eq!(response.responses.len(), request.resources.len());
    let rows = response.responses.iter().zip(&request.resources);
    rows.map(|(row, asked)| {
        assert_eq!(row.resource_type, asked.resource_type);
        assert_eq!(row.resource_name, asked.resource_name);
        let words = row.error_message.as_ref().map(ToString::to_string);
        (row.error_code, words.unwrap_or_default())
    })
    .collect()
}

pub(crate) async fn alter(node: &mut Node, kind: i8, name: &str, ops: &[Op<'_>]) -> (i16, String) {
    let resources = vec![change(kind, name, ops)];
    alter_all(node, 1, resources, false).await.remove(0)
}

pub(crate) async fn set(node: &mut Node, kind: i8, name: &str, key: &str, value: &str) {
    let (code, words) = alter(node, kind, name, &[(key, SET, Some(value))]).await;
    assert_eq!(code, 0, "{key}={value}: {words}");
}

pub(crate) async fn describe(
    node: &mut Node,
    version: i16,
    (kind, name): (i8, &str),
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let mut resource = DescribeConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = name.into();
    resource.configuration_keys = keys.map(|keys| keys.iter().map(|key| (*key).into()).collect());
    let mut request = DescribeConfigsRequest::default();
    request.resources = vec![resource];
    request.include_synonyms = true;
    request.include_documentation = version >= 3;
    let api = Api::DescribeConfigs;
    let mut response: DescribeConfigsResponse = node.client.ask(api, version, &request).await;
    assert_eq!(response.results.len(), 1);
    let result = response.results.remove(0);
    assert_eq!((result.resource_type, &*result.resource_name), (kind, name));
    result
}

async fn key(node: &mut Node, kind: i8, name: &str, key: &str) -> DescribeConfigsResourceResult {
    let mut result = describe(node, 4, (kind, name), Some(&[key])).await;
    assert_eq!((result.error_code, result.configs.len()), (0, 1), "{key}");
    result.configs.remove(0)
}

/// Value and source.
async fn value(node: &mut Node, kind: i8, name: &str, wanted: &str) -> (String, i8) {
    let row = key(node, kind, name, wanted).await;
    let value = row.value.map(|value| value.to_string());
    (value.unwrap_or_default(), row.config_source)
}

#[test]
fn every_version_describes_a_topic_and_a_broker() {
    with(&[("log.retention.hours", "2")], async |mut node| {
        node.topic("t", &[("segment.bytes", "2000000")]).await;
        for version in 1..=4 {
            let topic = describe(&mut node, version, (TOPIC, "t"), None).await;
            assert_eq!(
                (topic.error_code, topic.configs.len()),
                (0, 35),
                "{version}"
            );
            let find = |name: &str| topic.configs.iter().find(|row| &*row.name == name).unwrap();
            let segment = find("segment.bytes");
            let synonyms: Vec<_> = segment
                .synonyms
                .iter()
                .map(|s| (&*s.name, s.source))
                .collect();
            assert_eq!(synonyms, [("segment.bytes", 1), ("log.segment.bytes", 5)]);
            assert_eq!(segment.value.as_deref(), Some("2000000"));
            let told = (
                segment.config_source,
                segment.read_only,
                segment.is_sensitive,
            );
            assert_eq!(told, (1, false, false));
            let typed = if version >= 3 { 3 } else { 0 };
            assert_eq!(segment.config_type, typed);
            let documented = segment
                .documentation
                .as_ref()
                .is_some_and(|text| !text.is_empty());
            assert_eq!(documented, version >= 3);
            let retention = find("retention.ms");
            assert_eq!(retention.value.as_deref(), Some("7200000"));
            // Hours are not told behind milliseconds.
            assert_eq!((retention.config_source, retention.synonyms.len()), (4, 0));
            assert_eq!(find("cleanup.policy").config_source, 5);
        }
        let broker = describe(&mut node, 4, (BROKER, "1"), None).await;
        let find = |name: &str| {
            broker
                .configs
                .iter()
                .find(|row| &*row.name == name)
                .unwrap()
        };
        assert!(find("node.id").read_only && find("log.retention.hours").read_only);
        assert!(!find("log.retention.ms").read_only);
        assert_eq!(find("log.retention.ms").value, None);
        assert_eq!(find("log.retention.hours").config_source, 4);
        let all = describe(&mut node, 4, (BROKER, ""), None).await;
        assert_eq!((all.error_code, all.configs.len()), (0, 0));
        let all = describe(&mut node, 4, (TOPIC, "t"), None).await;
        let none_asked = describe(&mut node, 4, (TOPIC, "t"), Some(&[])).await;
        assert_eq!(none_asked, all);
        let some = describe(&mut node, 4, (TOPIC, "t"), Some(&["segment.ms", "none"])).await;
        assert_eq!(some.configs.len(), 1);
    });
}

#[test]
fn what_cannot_be_described_says_why() {
    with(&[], async |mut node| {
        for (kind, name, code) in [
            (TOPIC, "nope", 3),
            (TOPIC, "no pe", 17),
            (TOPIC, "", 17),
            (BROKER, "2", 42),
            (BROKER, "x", 42),
            (8, "2", 42),
            (8, "", 42),
            (16, "", 42),
            (32, "", 42),
            (3, "x", 42),
            // It has no loggers.
            (8, "1", 0),
        ] {
            let result = describe(&mut node, 4, (kind, name), None).await;
            let told = (result.error_code, result.configs.len());
            assert_eq!(
                told,
                (code, 0),
                "{kind} {name:?}: {:?}",
                result.error_message
            );
            assert_eq!(result.error_message.is_some(), code != 0);
        }
    });
}

#[test]
fn single_keys_are_set_deleted_appended_and_taken_away() {
    with(&[], async |mut node| {
        node.topic("t", &[]).await;
        let policy = async |node: &mut Node| value(node, TOPIC, "t", "cleanup.policy").await;
        let one = |op, value| [("cleanup.policy", op, Some(value))];
        for version in 0..=1 {
            let resources = vec![change(TOPIC, "t", &[("retention.ms", SET, Some(" 77 "))])];
            let rows = alter_all(&mut node, version, resources, false).await;
            assert_eq!(rows, [(0, String::new())]);
        }
        assert_eq!(value(&mut node, TOPIC, "t", "retention.ms").await.0, "77");
        assert_eq!(
            alter(&mut node, TOPIC, "t", &one(APPEND, "compact"))
                .await
                .0,
            0
        );
        assert_eq!(policy(&mut node).await, ("delete,compact".to_owned(), 1));
        assert_eq!(
            alter(&mut node, TOPIC, "t", &one(SUBTRACT, "delete"))
                .await
                .0,
            0
        );
        assert_eq!(policy(&mut node).await, ("compact".to_owned(), 1));
        assert_eq!(
            alter(&mut node, TOPIC, "t", &[("cleanup.policy", DELETE, None)])
                .await
                .0,
            0
        );
        assert_eq!(policy(&mut node).await, ("delete".to_owned(), 5));
        // What isn't set, or isn't even known, is not set afterwards either.
        let gone = [("segment.ms", DELETE, None), ("no.such", DELETE, None)];
        assert_eq!(alter(&mut node, TOPIC, "t", &gone).await.0, 0);
        let resources = vec![change(TOPIC, "t", &[("segment.ms", SET, Some("5000"))])];
        assert_eq!(alter_all(&mut node, 1, resources, true).await[0].0, 0);
        assert_eq!(
            value(&mut node, TOPIC, "t", "segment.ms").await.1,
            5,
            "only validated"
        );
    });
}

#[test]
fn the_older_request_replaces_all_that_is_set() {
    with(&[], async |mut node| {
        node.topic("t", &[("retention.ms", "5"), ("segment.ms", "6")])
            .await;
        for (version, segment_ms, validate_only, left) in [
            (0, "7", true, "6"),
            (0, "7", false, "7"),
            (1, "8", false, "8"),
            (2, "9", false, "9"),
        ] {
            let mut config = alter_configs_request::AlterableConfig::default();
            config.name = "segment.ms".into();
            config.value = Some(segment_ms.into());
            let mut resource = alter_configs_request::AlterConfigsResource::default();
            resource.resource_type = TOPIC;
            resource.resource_name = "t".into();
            resource.configs = vec![config];
            let mut request = AlterConfigsRequest::default();
            request.resources = vec![resource];
            request.validate_only = validate_only;
            let api = Api::AlterConfigs;
            let response: AlterConfigsResponse = node.client.ask(api, version, &request).await;
            assert_eq!(response.responses[0].error_code, 0);
            let now = value(&mut node, TOPIC, "t", "segment.ms").await;
            assert_eq!(now, (left.to_owned(), 1));
            let source = value(&mut node, TOPIC, "t", "retention.ms").await.1;
            assert_eq!(source, if validate_only { 1 } else { 5 });
        }
    });
}

/// Kind and name of a resource, a change of it, and with which code and words it is refused.
const REFUSED: &[(i8, &str, Op<'_>, i16, &str)] = &[
    (
        TOPIC,
        "t",
        ("no.such", SET, Some("1")),
        40,
        "unknown key no.such",
    ),
    (
        TOPIC,
        "t",
        ("retention.ms", SET, Some("x")),
        40,
        "retention.ms=x",
    ),
    (
        TOPIC,
        "t",
        ("retention.ms", SET, Some("-2")),
        40,
        "-1 (no limit)",
    ),
    (
        TOPIC,
        "t",
        ("remote.storage.enable", SET, Some("true")),
        40,
        "no effect",
    ),
    (TOPIC, "t", ("retention.ms", SET, None), 42, "Null value"),
    (
        TOPIC,
        "t",
        ("cleanup.policy", APPEND, None),
        42,
        "Null value",
    ),
    (
        TOPIC,
        "t",
        ("cleanup.policy", APPEND, Some("shred")),
        40,
        "shred",
    ),
    (
        TOPIC,
        "t",
        ("retention.ms", APPEND, Some("1")),
        40,
        "Can't APPEND",
    ),
    (TOPIC, "t", ("retention.ms", 9, Some("1")), 42, "operation"),
    (TOPIC, "nope", ("retention.ms", SET, Some("1")), 3, "nope"),
    (TOPIC, "no pe", ("retention.ms", SET, Some("1")), 17, ""),
    (
        TOPIC,
        "",
        ("retention.ms", SET, Some("1")),
        42,
        "Default topic",
    ),
    (
        BROKER,
        "2",
        ("log.retention.ms", SET, Some("1")),
        42,
        "expected 1",
    ),
    (
        BROKER,
        "x",
        ("log.retention.ms", SET, Some("1")),
        42,
        "integer",
    ),
    (
        BROKER,
        "1",
        ("num.partitions", SET, Some("2")),
        42,
        "can't be changed while",
    ),
    (
        BROKER,
        "",
        ("listeners", SET, Some("PLAINTEXT://:1")),
        42,
        "name one broker",
    ),
    (
        BROKER,
        "1",
        ("log.retention.ms", SET, Some("0")),
        42,
        "log.retention.ms=0",
    ),
    (
        BROKER,
        "1",
        ("message.max.bytes", SET, Some("4000000")),
        42,
        "socket.request",
    ),
    (
        BROKER,
        "1",
        ("background.threads", SET, Some("2")),
        42,
        "no effect",
    ),
    (8, "1", ("root", SET, Some("DEBUG")), 40, "does not exist"),
    (16, "m", ("interval.ms", SET, Some("1000")), 40, "no effect"),
    (
        32,
        "g",
        ("consumer.session.timeout.ms", SET, Some("1")),
        40,
        "no effect",
    ),
    (
        32,
        "g",
        ("nonsense", SET, Some("1")),
        40,
        "Unknown group config name: nonsense",
    ),
    (
        32,
        "",
        ("consumer.session.timeout.ms", SET, Some("45000")),
        42,
        "Default group resources",
    ),
    (
        16,
        "m",
        ("nonsense", DELETE, None),
        42,
        "Unknown client metrics configuration: nonsense",
    ),
    (5, "x", ("a", SET, Some("1")), 42, "resource type 5"),
];

#[test]
fn what_cannot_be_changed_says_why_and_changes_nothing() {
    with(
        &[("socket.request.max.bytes", "3000000")],
        async |mut node| {
            node.topic("t", &[]).await;
            for (kind, name, op, code, part) in REFUSED {
                let (told, words) = alter(&mut node, *kind, name, &[*op]).await;
                assert_eq!(told, *code, "{kind} {name} {op:?}: {words}");
                assert!(words.contains(part), "{words:?} lacks {part:?}");
            }
            let twice = [
                ("retention.ms", SET, Some("1")),
                ("retention.ms", SET, Some("2")),
            ];
            assert_eq!(alter(&mut node, TOPIC, "t", &twice).await.0, 42);
            let good = change(TOPIC, "t", &[("segment.ms", SET, Some("9"))]);
            let bad = change(TOPIC, "nope", &[("segment.ms", SET, Some("9"))]);
            let rows = alter_all(
                &mut node,
                1,
                vec![good.clone(), good.clone(), bad.clone()],
                false,
            );
            let codes: Vec<i16> = rows.await.into_iter().map(|(code, _)| code).collect();
            assert_eq!(codes, [42, 42, 3], "each resource once");
            assert_eq!(value(&mut node, TOPIC, "t", "segment.ms").await.1, 5);
            let rows = alter_all(&mut node, 1, vec![bad, good], false).await;
            assert_eq!((rows[0].0, rows[1].0), (3, 0));
            assert_eq!(value(&mut node, TOPIC, "t", "segment.ms").await.1, 1);
            let topic = describe(&mut node, 4, (TOPIC, "t"), None).await;
            let own = topic.configs.iter().filter(|row| row.config_source == 1);
            assert_eq!(own.count(), 1);
        },
    );
}

#[test]
fn dynamic_configuration_wins_over_the_file_and_comes_back() {
    with(&[("log.retention.ms", "1000")], async |mut node| {
        node.topic("t", &[]).await;
        let of_topic = async |node: &mut Node| value(node, TOPIC, "t", "retention.ms").await;
        assert_eq!(of_topic(&mut node).await, ("1000".to_owned(), 4));
        set(&mut node, BROKER, "", "log.retention.ms", "2000").await;
        assert_eq!(of_topic(&mut node).await, ("2000".to_owned(), 3));
        set(&mut node, BROKER, "1", "log.retention.ms", "3000").await;
        set(&mut node, TOPIC, "t", "segment.ms", "4000").await;
        for round in 0..2 {
            let row = key(&mut node, BROKER, "1", "log.retention.ms").await;
            let synonyms = row
                .synonyms
                .iter()
                .map(|s| (s.value.as_deref().unwrap(), s.source));
            let synonyms: Vec<_> = synonyms.collect();
            assert_eq!(
                synonyms,
                [("3000", 2), ("2000", 3), ("1000", 4), ("168", 5)]
            );
            assert_eq!(of_topic(&mut node).await, ("3000".to_owned(), 2));
            let segment = value(&mut node, TOPIC, "t", "segment.ms").await;
            assert_eq!(segment, ("4000".to_owned(), 1));
            let all = describe(&mut node, 4, (BROKER, ""), None).await;
            assert_eq!(all.configs.len(), 1);
            assert_eq!(
                (all.configs[0].config_source, all.configs[0].read_only),
                (3, false)
            );
            if round == 0 {
                node.restart().await;
            } else {
                node.crash().await;
            }
        }
        for name in ["1", ""] {
            let gone = [("log.retention.ms", DELETE, None)];
            assert_eq!(alter(&mut node, BROKER, name, &gone).await.0, 0);
        }
        assert_eq!(of_topic(&mut node).await, ("1000".to_owned(), 4));
    });
}

#[test]
fn a_file_that_contradicts_what_was_set_at_run_time_leaves_that_key_out() {
    with(&[], async |mut node| {
        set(&mut node, BROKER, "1", "message.max.bytes", "2000000").await;
        set(&mut node, BROKER, "1", "log.retention.ms", "5").await;
        node.set("socket.request.max.bytes", "1500000");
        node.restart().await;
        let max = value(&mut node, BROKER, "1", "message.max.bytes").await;
        assert_eq!(max, ("1048588".to_owned(), 5));
        let retention = value(&mut node, BROKER, "1", "log.retention.ms").await;
        assert_eq!(retention, ("5".to_owned(), 2));
    });
}

#[test]
fn what_has_a_configuration_is_listed_by_kind() {
    with(&[], async |mut node| {
        node.topic("b", &[]).await;
        node.topic("a", &[]).await;
        let list = async |node: &mut Node, version, kinds: &[i8]| {
            let mut request = ListConfigResourcesRequest::default();
            request.resource_types = kinds.to_vec();
            let api = Api::ListConfigResources;
            let response: ListConfigResourcesResponse =
                node.client.ask(api, version, &request).await;
            let resources = response.config_resources.iter();
            let resources: Vec<_> = resources
                .map(|one| (one.resource_type, one.resource_name.to_string()))
                .collect();
            (response.error_code, resources)
        };
        let of = |kind: i8, name: &str| (kind, name.to_owned());
        let topics = [of(2, "a"), of(2, "b")];
        assert_eq!(list(&mut node, 0, &[]).await, (0, vec![]));
        let all = [&topics[..], &[of(4, "1"), of(8, "1")]].concat();
        assert_eq!(list(&mut node, 1, &[]).await, (0, all));
        assert_eq!(list(&mut node, 1, &[2, 32, 2]).await, (0, topics.to_vec()));
        assert_eq!(list(&mut node, 1, &[2, 99]).await, (35, vec![]));
    });
}

/// As Kafka 4.3.1 describes them where none was set.
#[test]
fn groups_and_client_metrics_have_kafkas_keys_and_nothing_but_their_defaults() {
    with(&[], async |mut node| {
        let told = describe(&mut node, 4, (32, "g"), None).await;
        assert_eq!(told.configs.len(), 17);
        let row = &told.configs[2];
        assert_eq!(&*row.name, "consumer.session.timeout.ms");
        assert_eq!(row.value.as_deref(), Some("45000"));
        assert_eq!(
            (row.config_source, row.config_type, row.read_only),
            (5, 3, false)
        );
        let behind = &row.synonyms[0];
        assert_eq!(&*behind.name, "group.consumer.session.timeout.ms");
        assert_eq!((behind.value.as_deref(), behind.source), (Some("45000"), 5));
        let told = describe(&mut node, 4, (16, "m"), None).await;
        let rows: Vec<_> = told
            .configs
            .iter()
            .map(|row| (&*row.name, row.value.as_deref(), row.synonyms.len()))
            .collect();
        let expected = [("interval.ms", "300000"), ("match", ""), ("metrics", "")];
        assert_eq!(rows, expected.map(|(name, value)| (name, Some(value), 0)));
        for (kind, name, key, value) in [
            (32, "g", "consumer.session.timeout.ms", "45000"),
            (16, "m", "interval.ms", "300000"),
        ] {
            set(&mut node, kind, name, key, value).await;
            let ops = [(key, DELETE, None)];
            assert_eq!(alter(&mut node, kind, name, &ops).await.0, 0);
            let told = describe(&mut node, 4, (kind, name), Some(&[key])).await;
            assert_eq!(told.configs[0].config_source, 5);
        }
    });
}
