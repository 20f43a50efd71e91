//! Configurations that can't be: at a start the node doesn't start and nothing is touched; at run
//! time nothing changes, and what else the request asks for is done.

use std::fs;
use std::process::Command;

use millrace_client::Client;
use millrace_protocol::messages::describe_configs_request::DescribeConfigsResource;
use millrace_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use millrace_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

use crate::stage::{Node, Place, connect, produce, topic};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const APPEND: i8 = 2;

/// The exit code for a configuration that is refused.
const REFUSED: i32 = 2;
const INVALID_REQUEST: i16 = 42;
const INVALID_CONFIG: i16 = 40;

/// What is set, and what the refusal says: the key, what is there, what may be.
const AT_A_START: &[(&str, &[&str])] = &[
    (
        "no.such.key=1",
        &["no.such.key", "--set", "millrace config"],
    ),
    ("=5", &["=5", "key=value"]),
    ("num.partitions", &["num.partitions", "key=value"]),
    ("num.partitions=", &["num.partitions", "integer from 1"]),
    ("num.partitions=0", &["num.partitions=0", "from 1 to"]),
    ("num.partitions=many", &["num.partitions=many", "integer"]),
    (
        "num.partitions=2147483648",
        &["2147483648", "to 2147483647"],
    ),
    ("node.id=-1", &["node.id=-1", "from 0"]),
    ("log.segment.bytes=1", &["log.segment.bytes=1", "1048576"]),
    ("log.retention.ms=-2", &["log.retention.ms=-2", "-1"]),
    (
        "log.retention.bytes=9223372036854775808",
        &["to 9223372036854775807"],
    ),
    ("log.dirs=", &["log.dirs", "not empty"]),
    ("listeners=", &["listeners", "not empty"]),
    (
        "listeners=PLAINTEXT://127.0.0.1",
        &["listeners", "as PLAINTEXT://127.0.0.1:9092"],
    ),
    (
        "listeners=PLAINTEXT://127.0.0.1:65536",
        &["listeners", "port"],
    ),
    ("listeners=SSL://127.0.0.1:0", &["listeners", "TLS"]),
    (
        "advertised.listeners=PLAINTEXT://0.0.0.0:9092",
        &["advertised.listeners", "all interfaces"],
    ),
    ("compression.type=rar", &["compression.type=rar", "zstd"]),
    (
        "ssl.keystore.location=/x",
        &["ssl.keystore.location", "no effect"],
    ),
    (
        "zookeeper.connect=x",
        &["zookeeper.connect", "no ZooKeeper", "leave the key out"],
    ),
    // One contradicts another.
    (
        "message.max.bytes=200000000",
        &["message.max.bytes", "socket.request.max.bytes", "at most"],
    ),
];

#[test]
fn what_cannot_be_is_refused_at_a_start_and_nothing_is_touched() {
    let place = Place::new();
    for (set, words) in AT_A_START {
        Place::refuses(place.serve(&["data"], &[set]), REFUSED, words);
    }
    let twice = format!(
        "{},{}",
        place.dirs(&["data"]),
        place.path("./data/").display()
    );
    Place::refuses(
        place.serve(&["data"], &[&twice]),
        REFUSED,
        &["each directory once"],
    );
    let nested = format!("log.dirs={0},{0}/t-0", place.path("data").display());
    Place::refuses(
        place.serve(&["data"], &[&nested]),
        REFUSED,
        &["lies in another"],
    );
    let mut from_environment = place.serve(&["data"], &[]);
    from_environment.env("MILLRACE_NUM_PARTITIONS", "none");
    let words = ["num.partitions=none", "MILLRACE_NUM_PARTITIONS"];
    Place::refuses(from_environment, REFUSED, &words);
    assert_eq!(
        fs::read_dir(place.root()).unwrap().count(),
        0,
        "nothing was touched"
    );
}

#[test]
fn a_file_that_cannot_be_is_refused_with_its_line() {
    let place = Place::new();
    let with = |file: &str| -> Command {
        let mut command = place.serve(&["data"], &[]);
        command.arg("--config").arg(place.path(file));
        command
    };
    fs::create_dir(place.path("directory.toml")).unwrap();
    for (name, content, words) in [
        (
            "twice.properties",
            &b"num.partitions=3\n\nnum.partitions=4\n"[..],
            &["line 3", "line 1"][..],
        ),
        (
            "unknown.properties",
            b"num.partitons=3\n",
            &["num.partitons", "line 1"],
        ),
        (
            "open.toml",
            b"x = 1\n\"num.partitions\" = [\n",
            &["open.toml", "line 2"],
        ),
        (
            "binary.properties",
            b"num.partitions=\xff\xfe\n",
            &["binary.properties", "UTF-8"],
        ),
        (
            "range.toml",
            b"\"num.partitions\" = -4\n",
            &["num.partitions", "range.toml", "from 1"],
        ),
        (
            "name.yaml",
            b"num.partitions: 3\n",
            &["name.yaml", ".properties or .toml"],
        ),
    ] {
        fs::write(place.path(name), content).unwrap();
        Place::refuses(with(name), REFUSED, words);
    }
    Place::refuses(
        with("missing.toml"),
        REFUSED,
        &["missing.toml", "No such file"],
    );
    Place::refuses(
        with("directory.toml"),
        REFUSED,
        &["directory.toml", "directory"],
    );
    assert!(!place.path("data").exists(), "nothing was touched");
}

fn resource(kind: i8, name: &str, operation: i8, key: &str, value: &str) -> AlterConfigsResource {
    let mut config = AlterableConfig::default();
    config.name = key.into();
    config.config_operation = operation;
    config.value = Some(value.into());
    let mut resource = AlterConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = name.into();
    resource.configs = vec![config];
    resource
}

/// Code and words for each resource, in order.
async fn alter(client: &Client, resources: Vec<AlterConfigsResource>) -> Vec<(i16, String)> {
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = resources;
    let answer = client.call(&request).await.unwrap();
    let rows = answer.read().unwrap().responses.into_iter();
    rows.map(|row| {
        (
            row.error_code,
            row.error_message.unwrap_or_default().to_owned(),
        )
    })
    .collect()
}

/// A value that is told, and where it comes from.
async fn told(client: &Client, kind: i8, name: &str, key: &str) -> (String, i8) {
    let mut resource = DescribeConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = name.into();
    resource.configuration_keys = Some(vec![key.into()]);
    let mut request = DescribeConfigsRequest::default();
    request.resources = vec![resource];
    let answer = client.call(&request).await.unwrap();
    let result = answer.read().unwrap().results.into_iter().next().unwrap();
    assert_eq!(result.error_code, 0, "{name}");
    let row = result.configs.into_iter().next().unwrap();
    (row.value.unwrap_or_default().to_owned(), row.config_source)
}

/// Kind, name, operation, key, value; the code and what stands in the words.
type Wrong<'a> = (i8, &'a str, i8, &'a str, &'a str, i16, &'a str);

const AT_RUN_TIME: &[Wrong<'_>] = &[
    (
        TOPIC,
        "t",
        SET,
        "no.such.key",
        "1",
        INVALID_CONFIG,
        "no.such.key",
    ),
    (
        TOPIC,
        "t",
        SET,
        "retention.ms",
        "soon",
        INVALID_CONFIG,
        "retention.ms",
    ),
    (
        TOPIC,
        "t",
        SET,
        "retention.ms",
        "-2",
        INVALID_CONFIG,
        "retention.ms",
    ),
    (
        TOPIC,
        "t",
        SET,
        "retention.ms",
        "9223372036854775808",
        INVALID_CONFIG,
        "retention.ms",
    ),
    (
        TOPIC,
        "t",
        SET,
        "segment.bytes",
        "1",
        INVALID_CONFIG,
        "segment.bytes",
    ),
    (
        TOPIC,
        "t",
        SET,
        "segment.bytes",
        "2147483648",
        INVALID_CONFIG,
        "segment.bytes",
    ),
    (
        TOPIC,
        "t",
        SET,
        "cleanup.policy",
        "burn",
        INVALID_CONFIG,
        "cleanup.policy",
    ),
    (
        TOPIC,
        "t",
        SET,
        "compression.type",
        "rar",
        INVALID_CONFIG,
        "compression.type",
    ),
    (
        TOPIC,
        "t",
        SET,
        "min.insync.replicas",
        "0",
        INVALID_CONFIG,
        "min.insync.replicas",
    ),
    (
        TOPIC,
        "t",
        APPEND,
        "retention.ms",
        "1",
        INVALID_CONFIG,
        "retention.ms",
    ),
    (TOPIC, "t", 9, "retention.ms", "1", INVALID_REQUEST, ""),
    (TOPIC, "nope", SET, "retention.ms", "1", 3, ""),
    (TOPIC, "../../etc", SET, "retention.ms", "1", 17, ""),
    (BROKER, "1", SET, "node.id", "7", INVALID_REQUEST, "node.id"),
    (
        BROKER,
        "1",
        SET,
        "log.dirs",
        "/elsewhere",
        INVALID_REQUEST,
        "log.dirs",
    ),
    (
        BROKER,
        "1",
        SET,
        "log.retention.ms",
        "soon",
        INVALID_REQUEST,
        "log.retention.ms",
    ),
    (
        BROKER,
        "one",
        SET,
        "log.retention.ms",
        "1",
        INVALID_REQUEST,
        "integer",
    ),
    (
        BROKER,
        "2",
        SET,
        "log.retention.ms",
        "1",
        INVALID_REQUEST,
        "2",
    ),
    (99, "t", SET, "retention.ms", "1", INVALID_REQUEST, "99"),
];

#[test]
fn what_cannot_be_is_refused_at_run_time_and_the_rest_of_the_request_is_done() {
    let place = Place::new();
    let node = place.start(&["data"]);
    let host = place.host();
    let kept = place.block_on(async {
        let client = connect(&host, &node).await;
        let of_records = topic(&client, "t").await;
        topic(&client, "beside").await;
        let mut was = Vec::new();
        for key in [
            "retention.ms",
            "segment.bytes",
            "cleanup.policy",
            "max.message.bytes",
        ] {
            was.push((key, told(&client, TOPIC, "t", key).await));
        }
        for (number, wrong) in AT_RUN_TIME.iter().enumerate() {
            let (kind, name, operation, key, value, code, part) = *wrong;
            let wish = (number + 1_000_000).to_string();
            let good = resource(TOPIC, "beside", SET, "segment.ms", &wish);
            let bad = resource(kind, name, operation, key, value);
            let rows = alter(&client, vec![bad, good]).await;
            assert_eq!((rows[0].0, rows[1].0), (code, 0), "{wrong:?}: {rows:?}");
            assert!(
                rows[0].1.contains(part) && !rows[0].1.is_empty(),
                "{wrong:?}: {rows:?}"
            );
            assert_eq!(
                told(&client, TOPIC, "beside", "segment.ms").await,
                (wish, 1)
            );
            for (key, was) in &was {
                assert_eq!(told(&client, TOPIC, "t", key).await, *was, "{wrong:?}");
            }
            produce(&client, &of_records, b"served").await.unwrap();
        }
        was
    });
    // Counted, each by its code.
    let errors =
        |node: &Node| node.metric("millrace_request_errors_total", "IncrementalAlterConfigs");
    assert_eq!(errors(&node), AT_RUN_TIME.len() as u64);
    node.kill();
    let node = place.start(&["data"]);
    place.block_on(async {
        let client = connect(&host, &node).await;
        for (key, was) in kept {
            assert_eq!(told(&client, TOPIC, "t", key).await, was, "after a restart");
        }
    });
    node.stop();
}
