//! Names, counts and lists at their limits, over real files: what a file system can't hold is
//! refused before it sees it, what it can is made, written, removed and gone.

use std::fs;

use bytes::Bytes;
use millrace_client::{Client, ClientOptions, NewTopic, Topic};
use millrace_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use millrace_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use millrace_protocol::messages::metadata_request::MetadataRequestTopic;
use millrace_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
    encode,
};

use crate::stage::{Node, Place, connect, everything, now_ms, produce, record_of, topic};

/// The metadata log's.
const METADATA: &str = "__cluster_metadata";
const UNKNOWN: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_ASSIGNMENT: i16 = 39;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const POLICY_VIOLATION: i16 = 44;
/// Elements of the longest lists here.
const A_MILLION: usize = 1_000_000;
/// What a broker may have taken at most behind requests of that length.
const MEMORY_MAX: u64 = 1 << 30;

fn new(name: &str, partitions: i32) -> CreatableTopic {
    let mut topic = CreatableTopic::default();
    topic.name = name.into();
    topic.num_partitions = partitions;
    topic.replication_factor = -1;
    topic
}

/// Code and words.
async fn create(client: &Client, topic: CreatableTopic) -> (i16, String) {
    let mut request = CreateTopicsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = 60_000;
    let answer = client.call(&request).await.unwrap();
    let row = answer.read().unwrap().topics.into_iter().next().unwrap();
    (
        row.error_code,
        row.error_message.unwrap_or_default().to_owned(),
    )
}

async fn delete(client: &Client, name: &str) -> i16 {
    let mut state = DeleteTopicState::default();
    state.name = Some(name.into());
    let mut request = DeleteTopicsRequest::default();
    request.topics = vec![state];
    request.timeout_ms = 60_000;
    let answer = client.call(&request).await.unwrap();
    answer
        .read()
        .unwrap()
        .responses
        .into_iter()
        .next()
        .unwrap()
        .error_code
}

async fn names(client: &Client) -> Vec<String> {
    let answer = client.metadata(None).await.unwrap();
    let topics = answer.read().unwrap().topics.into_iter();
    let mut names: Vec<String> = topics.filter_map(|t| t.name.map(str::to_owned)).collect();
    names.sort();
    names
}

/// The names of everything in a directory.
fn entries(place: &Place) -> Vec<String> {
    let listed = fs::read_dir(place.path("data")).unwrap();
    let mut names: Vec<String> = listed
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_name_that_no_topic_may_have_is_refused_and_touches_no_file() {
    let place = Place::new();
    let node = place.start(&["data"]);
    let host = place.host();
    place.block_on(async {
        let client = connect(&host, &node).await;
        topic(&client, "a.b").await;
        let long = "x".repeat(250);
        let longest = "y".repeat(i16::MAX as usize);
        for name in [
            "",
            ".",
            "..",
            "a_b",
            "a/b",
            "/etc",
            "../../outside",
            "..\\up",
            "a\0b",
            "a\nb",
            "\x7f",
            "\u{1b}[31mred",
            "täglich",
            "日本",
            "a b",
            "a:b",
            "*",
            "~",
            "%2e%2e",
            &long,
            &longest,
        ] {
            let (code, words) = create(&client, new(name, 1)).await;
            assert_eq!(code, INVALID_TOPIC, "{name:?}: {words}");
            assert!(
                !words.is_empty() && words.len() < 2000,
                "{} bytes",
                words.len()
            );
            assert!(!words.contains(['\u{1b}', '\0', '\n']), "{words:?}");
            assert_ne!(delete(&client, name).await, 0, "{name:?}");
        }
        let (code, words) = create(&client, new(METADATA, 1)).await;
        let kafkas = format!("Creation of internal topic {METADATA} is prohibited.");
        assert_eq!((code, words), (INVALID_REQUEST, kafkas));
        assert_eq!(delete(&client, METADATA).await, UNKNOWN);
        assert_eq!(create(&client, new("a.b", 1)).await.0, EXISTS);
        assert_eq!(names(&client).await, ["a.b"]);
    });
    assert!(!place.path("outside").exists() && !place.root().join("../outside").exists());
    node.stop();
}

#[test]
fn the_longest_names_are_made_written_removed_and_gone_also_behind_a_kill() {
    let place = Place::new();
    let host = place.host();
    let sets = ["log.segment.delete.delay.ms=1"];
    let node = Node::start(&place, place.serve(&["data"], &sets));
    let long = |end: &str| "n".repeat(249 - end.len()) + end;
    let (first, second) = (long("1"), long("2"));
    let before = place.block_on(async {
        let client = connect(&host, &node).await;
        let before = entries(&place);
        for name in [&first, &second] {
            // The last partition's directory has the longest name that a file system takes.
            let wish = NewTopic::new(name, 10_000);
            let many = client.create_topic(&wish).await.unwrap();
            let batch = record_of(now_ms(), b"at the end");
            let acks = millrace_client::Acks::All;
            client.produce(&many, 9_999, acks, batch).await.unwrap();
            produce(&client, &many, b"at the start").await.unwrap();
        }
        assert_eq!(delete(&client, &first).await, 0);
        before
    });
    node.kill();
    let node = Node::start(&place, place.serve(&["data"], &sets));
    place.block_on(async {
        let client = connect(&host, &node).await;
        assert_eq!(names(&client).await, [second.as_str()]);
        let kept = client.topic(&second).await.unwrap();
        assert_eq!(
            everything(&client, &kept).await,
            [(0, b"at the start".to_vec())]
        );
        // The same name again, at once.
        let again = topic(&client, &first).await;
        produce(&client, &again, b"anew").await.unwrap();
        assert_eq!(everything(&client, &again).await, [(0, b"anew".to_vec())]);
        assert_eq!(delete(&client, &second).await, 0);
        assert_eq!(delete(&client, &first).await, 0);
        place
            .until("an empty directory", async || {
                let now = entries(&place);
                now.iter().all(|name| !name.contains("nnnn"))
            })
            .await;
    });
    let left: Vec<String> = entries(&place);
    assert_eq!(left.len(), before.len(), "{left:?}");
    node.stop();
}

#[test]
fn counts_and_assignments_that_make_no_sense_are_refused() {
    let place = Place::new();
    let node = place.start(&["data"]);
    let host = place.host();
    let assigned = |rows: &[(i32, &[i32])]| {
        let mut topic = new("assigned", -1);
        for (partition, brokers) in rows {
            let mut row = CreatableReplicaAssignment::default();
            row.partition_index = *partition;
            row.broker_ids = brokers.to_vec();
            topic.assignments.push(row);
        }
        topic
    };
    let mut both = assigned(&[(0, &[1])]);
    both.num_partitions = 3;
    let mut copies = new("copies", 1);
    copies.replication_factor = i16::MAX;
    let many_replicas = vec![1; 100_000];
    let config = |key: &str, value: String| {
        let mut topic = new("configured", 1);
        let mut row = CreatableTopicConfig::default();
        row.name = key.into();
        row.value = Some(value.as_str().into());
        topic.configs = vec![row];
        topic
    };
    let long = "9".repeat(i16::MAX as usize);
    place.block_on(async {
        let client = connect(&host, &node).await;
        for (wish, codes) in [
            (new("p", 0), &[INVALID_PARTITIONS][..]),
            (new("p", -2), &[INVALID_PARTITIONS]),
            (new("p", i32::MIN), &[INVALID_PARTITIONS]),
            (new("p", 100_001), &[INVALID_PARTITIONS, POLICY_VIOLATION]),
            (new("p", i32::MAX), &[INVALID_PARTITIONS, POLICY_VIOLATION]),
            (copies, &[38]),
            (both, &[INVALID_REQUEST]),
            (assigned(&[(1, &[1])]), &[INVALID_ASSIGNMENT]),
            (assigned(&[(-1, &[1])]), &[INVALID_ASSIGNMENT]),
            (assigned(&[(i32::MAX, &[1])]), &[INVALID_ASSIGNMENT]),
            (assigned(&[(0, &[])]), &[INVALID_ASSIGNMENT]),
            (assigned(&[(0, &[-1])]), &[INVALID_ASSIGNMENT]),
            (assigned(&[(0, &[2])]), &[INVALID_ASSIGNMENT]),
            (assigned(&[(0, &[1, 1])]), &[INVALID_ASSIGNMENT]),
            (assigned(&[(0, &many_replicas)]), &[INVALID_ASSIGNMENT]),
            (
                assigned(&[(0, &[1]), (0, &[1])]),
                &[INVALID_ASSIGNMENT, INVALID_REQUEST],
            ),
            (config("retention.ms", long.clone()), &[INVALID_CONFIG]),
            (config(&long, "1".to_owned()), &[INVALID_CONFIG]),
        ] {
            let shown = format!("{:?} {:?}", wish.num_partitions, wish.assignments.first());
            let (code, words) = create(&client, wish).await;
            assert!(codes.contains(&code), "{shown}: {code} {words}");
            assert!(
                !words.is_empty() && words.len() < 2000,
                "{} bytes",
                words.len()
            );
        }
        assert!(names(&client).await.is_empty());
        produce(&client, &topic(&client, "beside").await, b"served")
            .await
            .unwrap();
    });
    node.stop();
}

#[test]
fn a_client_id_of_the_greatest_length_is_served() {
    let place = Place::new();
    let node = place.start(&["data"]);
    let host = place.host();
    place.block_on(async {
        let options = ClientOptions {
            client_id: "i".repeat(i16::MAX as usize),
            ..ClientOptions::default()
        };
        let client = Client::connect(&host, node.address, options).await.unwrap();
        let made = topic(&client, "t").await;
        produce(&client, &made, b"served").await.unwrap();
    });
    assert!(!node.log().contains("iiiii") && !node.page("/metrics").contains("iiiii"));
    node.stop();
}

/// Whether the connection got an answer or was closed, others are served and memory is bounded.
async fn is_borne(place: &Place, node: &Node, what: &str, call: (i16, i16), body: Bytes) {
    let host = place.host();
    let sender = connect(&host, node).await;
    let call = millrace_client::Call {
        api_key: call.0,
        api_version: call.1,
        flexible: true,
    };
    let answer = sender.connection().call(call, body).await;
    if let Err(error) = &answer {
        let closed = matches!(error, millrace_client::Error::Disconnected { .. });
        assert!(closed, "{what}: {error}");
    }
    let client = connect(&host, node).await;
    let beside: Topic = client.topic("beside").await.unwrap();
    produce(&client, &beside, what.as_bytes()).await.unwrap();
    let peak = node.peak_memory();
    assert!(peak < MEMORY_MAX, "{what}: {peak} bytes");
}

#[test]
fn a_million_elements_are_answered_or_refused_and_the_others_are_served() {
    let place = Place::new();
    let node = place.start(&["data"]);
    let host = place.host();
    place.block_on(async {
        let client = connect(&host, &node).await;
        topic(&client, "beside").await;
        let named = |index: usize| {
            let mut topic = MetadataRequestTopic::default();
            topic.name = Some(format!("m{index}").as_str().into());
            topic
        };
        let mut metadata = MetadataRequest::default();
        metadata.topics = Some((0..A_MILLION).map(named).collect());
        is_borne(
            &place,
            &node,
            "metadata",
            (3, 12),
            encode(&metadata, 12).unwrap(),
        )
        .await;
        let mut created = CreateTopicsRequest::default();
        created.topics = (0..A_MILLION).map(|i| new(&format!("c{i}"), 1)).collect();
        is_borne(
            &place,
            &node,
            "creations",
            (19, 7),
            encode(&created, 7).unwrap(),
        )
        .await;
        let mut deleted = DeleteTopicsRequest::default();
        let state = |index: usize| {
            let mut state = DeleteTopicState::default();
            state.name = Some(format!("d{index}").as_str().into());
            state
        };
        deleted.topics = (0..A_MILLION).map(state).collect();
        is_borne(
            &place,
            &node,
            "deletions",
            (20, 6),
            encode(&deleted, 6).unwrap(),
        )
        .await;
        let mut altered = IncrementalAlterConfigsRequest::default();
        let resource = |index: usize| {
            let mut resource = AlterConfigsResource::default();
            resource.resource_type = 2;
            resource.resource_name = format!("a{index}").as_str().into();
            resource
        };
        altered.resources = (0..A_MILLION).map(resource).collect();
        is_borne(
            &place,
            &node,
            "changes",
            (44, 1),
            encode(&altered, 1).unwrap(),
        )
        .await;
        assert_eq!(names(&client).await, ["beside"]);
    });
    node.stop();
}
