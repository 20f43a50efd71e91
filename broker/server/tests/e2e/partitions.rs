//! `CreatePartitions` at every version, and `DescribeTopicPartitions` page by page. Codes and words
//! are those that Apache Kafka 4.3.1 gave to the same requests.

use millrace_protocol::api::Api;
use millrace_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use millrace_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use millrace_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
};

use crate::node::{Node, batch, produce_request, with};

/// What a topic is to have, with the brokers of each new partition.
fn grow(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let mut topic = CreatePartitionsTopic::default();
    topic.name = name.into();
    topic.count = count;
    topic.assignments = assignments.map(|assignments| {
        let assignment = |brokers: &&[i32]| {
            let mut assignment = CreatePartitionsAssignment::default();
            assignment.broker_ids = brokers.to_vec();
            assignment
        };
        assignments.iter().map(assignment).collect()
    });
    topic
}

fn asked(topics: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
    let mut request = CreatePartitionsRequest::default();
    request.topics = topics;
    request.timeout_ms = 10_000;
    request
}

/// Name, code and words of each row.
type Row = (String, i16, Option<String>);

async fn ask(node: &mut Node, version: i16, request: &CreatePartitionsRequest) -> Vec<Row> {
    let api = Api::CreatePartitions;
    let response: CreatePartitionsResponse = node.client.ask(api, version, request).await;
    let words = |text: millrace_protocol::messages::StrBytes| text.to_string();
    let rows = response.results.into_iter();
    rows.map(|row| {
        (
            words(row.name),
            row.error_code,
            row.error_message.map(words),
        )
    })
    .collect()
}

fn row(name: &str, code: i16, words: &str) -> Row {
    let words = (!words.is_empty()).then(|| words.to_owned());
    (name.to_owned(), code, words)
}

#[test]
fn every_version_adds_partitions_that_can_be_written_and_outlast_a_restart() {
    with(&[("log.dirs", "/a,/b")], async |mut node| {
        let topic = node.topic_of("t", 1, &[]).await;
        for version in 0..=3_i16 {
            let request = asked(vec![grow("t", 2 + i32::from(version), None)]);
            assert_eq!(ask(&mut node, version, &request).await, [row("t", 0, "")]);
        }
        let placed = asked(vec![grow("t", 7, Some(&[&[1], &[1]]))]);
        assert_eq!(ask(&mut node, 3, &placed).await, [row("t", 0, "")]);
        assert_eq!(node.produce_to_each(&topic, 7, "x").await, [0; 7]);
        node.crash().await;
        assert_eq!(node.produce_to_each(&topic, 7, "y").await, [0; 7]);
        for found in node.read_each(&topic, 7).await {
            assert_eq!(found.unwrap(), ["x", "y"]);
        }
        // Both directories have some.
        for directory in ["/a", "/b"] {
            let disk = node.world.node("broker").disk;
            let names = disk.list(directory.as_ref()).await.unwrap();
            let held = names.iter().filter(|entry| entry.name.starts_with("t-"));
            assert!(held.count() >= 2, "{directory}");
        }
        let request = produce_request(&topic, 7, -1, Some(batch(&["none"])));
        assert_eq!(node.produce_row(13, &request).await.error_code, 3);
    });
}

/// A count and brokers that are asked for, and the code and words of the refusal.
type Refused = (i32, Option<&'static [&'static [i32]]>, i16, String);

#[test]
fn what_cannot_be_added_is_refused_with_kafkas_code_and_words() {
    let manual = "The manual partition assignment includes";
    let less = |count| {
        format!("The topic t currently has 2 partition(s); {count} would not be an increase.")
    };
    let given = |added, given| {
        format!(
            "Attempted to add {added} additional partition(s), but only {given} assignment(s) were \
             specified."
        )
    };
    let cases: [Refused; 12] = [
        (2, None, 37, "Topic already has 2 partition(s).".into()),
        (1, None, 37, less(1)),
        (0, None, 37, less(0)),
        (-1, None, 37, less(-1)),
        (i32::MIN, None, 37, less(i32::MIN)),
        (3, Some(&[]), 39, given(1, 0)),
        (4, Some(&[&[1]]), 39, given(2, 1)),
        (3, Some(&[&[1], &[1]]), 39, given(1, 2)),
        (
            3,
            Some(&[&[]]),
            39,
            format!("{manual} an empty replica list."),
        ),
        (
            3,
            Some(&[&[9]]),
            39,
            format!("{manual} broker 9, but no such broker is registered."),
        ),
        (
            3,
            Some(&[&[1, 1]]),
            39,
            format!("{manual} the broker 1 more than once."),
        ),
        (
            10_003,
            None,
            44,
            "10001 partitions in one request; 10000 are the most \
             (create.partitions.per.request.max)"
                .into(),
        ),
    ];
    with(&[], async |mut node| {
        let topic = node.topic_of("t", 2, &[]).await;
        for version in 0..=3 {
            for (count, assignments, code, words) in &cases {
                let request = asked(vec![grow("t", *count, *assignments)]);
                let rows = ask(&mut node, version, &request).await;
                assert_eq!(rows, [row("t", *code, words)], "{count} {assignments:?}");
            }
            let most = asked(vec![grow("t", i32::MAX, None)]);
            assert_eq!(ask(&mut node, version, &most).await[0].1, 44);
            for unknown in ["none", "", "__cluster_metadata"] {
                let request = asked(vec![grow(unknown, 3, None)]);
                assert_eq!(
                    ask(&mut node, version, &request).await,
                    [row(unknown, 3, "")]
                );
            }
            assert_eq!(ask(&mut node, version, &asked(vec![])).await, []);
        }
        assert_eq!(node.read_each(&topic, 3).await[2], Err(3));
    });
}

#[test]
fn a_name_given_twice_is_refused_once_and_others_grow() {
    with(&[], async |mut node| {
        for name in ["a", "b"] {
            node.topic(name, &[]).await;
        }
        let topics = [("b", 9), ("a", 9), ("c", 9), ("a", 8)];
        let topics = topics.map(|(name, count)| grow(name, count, None));
        let request = asked(topics.to_vec());
        let rows = ask(&mut node, 3, &request).await;
        let twice = row("a", 42, "Duplicate topic name.");
        assert_eq!(rows, [twice, row("b", 0, ""), row("c", 3, "")]);
        assert_eq!(
            sizes(&mut node).await,
            [("a".to_owned(), 1), ("b".to_owned(), 9)]
        );
    });
}

#[test]
fn nothing_is_added_when_it_is_only_validated_or_has_no_time() {
    with(&[], async |mut node| {
        node.topic("t", &[]).await;
        let mut request = asked(vec![grow("t", 3, None)]);
        request.validate_only = true;
        assert_eq!(ask(&mut node, 1, &request).await, [row("t", 0, "")]);
        request.topics[0].count = 1;
        assert_eq!(ask(&mut node, 1, &request).await[0].1, 37);
        for timeout_ms in [0, -1] {
            let mut late = asked(vec![grow("t", 3, None)]);
            late.timeout_ms = timeout_ms;
            assert_eq!(ask(&mut node, 3, &late).await, [row("t", 7, "")]);
        }
        assert_eq!(sizes(&mut node).await, [("t".to_owned(), 1)]);
    });
}

#[test]
fn a_cluster_holds_no_more_partitions_than_it_may() {
    with(&[("partitions.max", "4")], async |mut node| {
        node.topic_of("t", 2, &[]).await;
        let request = asked(vec![grow("t", 5, None)]);
        let words = "This cluster holds at most 4 partitions.";
        assert_eq!(ask(&mut node, 3, &request).await, [row("t", 44, words)]);
        let request = asked(vec![grow("t", 4, None)]);
        assert_eq!(ask(&mut node, 3, &request).await, [row("t", 0, "")]);
    });
}

/// A page that begins at a topic's partition.
fn page(names: &[&str], limit: i32, from: Option<(&str, i32)>) -> DescribeTopicPartitionsRequest {
    let mut request = DescribeTopicPartitionsRequest::default();
    let topic = |name: &&str| {
        let mut topic = TopicRequest::default();
        topic.name = (*name).into();
        topic
    };
    request.topics = names.iter().map(topic).collect();
    request.response_partition_limit = limit;
    request.cursor = from.map(|(name, partition)| {
        let mut cursor = Cursor::default();
        cursor.topic_name = name.into();
        cursor.partition_index = partition;
        cursor
    });
    request
}

async fn turn(
    node: &mut Node,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let api = Api::DescribeTopicPartitions;
    node.client.ask(api, 0, request).await
}

async fn sizes(node: &mut Node) -> Vec<(String, usize)> {
    let all = turn(node, &page(&[], 2000, None)).await;
    let topics = all.topics.iter();
    topics
        .map(|topic| {
            (
                topic.name.as_ref().unwrap().to_string(),
                topic.partitions.len(),
            )
        })
        .collect()
}

/// A page in short: `a:0,1,2` for partitions, `a!3` for an error, and where the next one begins.
fn short(response: &DescribeTopicPartitionsResponse) -> String {
    let topics = response.topics.iter().map(|topic| {
        let name = topic.name.as_deref().unwrap();
        if topic.error_code != 0 {
            return format!("{name}!{}", topic.error_code);
        }
        let partitions = topic.partitions.iter();
        let indexes: Vec<_> = partitions.map(|p| p.partition_index.to_string()).collect();
        format!("{name}:{}", indexes.join(","))
    });
    let mut parts: Vec<String> = topics.collect();
    if let Some(next) = &response.next_cursor {
        parts.push(format!(
            "-> {} {}",
            next.topic_name.as_str(),
            next.partition_index
        ));
    }
    parts.join(" ")
}

#[test]
fn pages_are_cut_and_go_on_as_kafkas() {
    let all = |limit, from| page(&[], limit, from);
    let cases = [
        (all(2000, None), "a:0,1,2 b:0,1 c.d:0"),
        (all(2, None), "a:0,1 -> a 2"),
        (all(0, None), "a:0 -> a 1"),
        (all(-1, None), "a:0 -> a 1"),
        (all(2000, Some(("b", 1))), "b:1 c.d:0"),
        (all(2000, Some(("aa", 1))), "b:0,1 c.d:0"),
        (all(3, Some(("a", 2))), "a:2 b:0,1 -> c.d 0"),
        (all(2000, Some(("z", 0))), ""),
        (page(&["a"], 3, None), "a:0,1,2"),
        (page(&["a", "b"], 3, None), "a:0,1,2 -> b 0"),
        (
            page(&["b", "a", "nope", "a"], 2000, None),
            "a:0,1,2 b:0,1 nope!3",
        ),
        (page(&["b", "nope", "aa"], 2, None), "aa!3 b:0,1 -> nope 0"),
        (page(&["a", "b"], 2000, Some(("b", 7))), "b:"),
        (page(&["a", "nope"], 2000, Some(("nope", 0))), "nope!3"),
        (page(&["x/y"], 2000, None), "x/y!17"),
        (page(&["a"], 2000, Some(("b", 0))), "a!42"),
        (page(&["a", "b"], 2000, Some(("a", -1))), "a!42 b!42"),
        (all(2000, Some(("a", -1))), ""),
    ];
    with(&[], async |mut node| {
        for (name, partitions) in [("a", 3), ("b", 2), ("c.d", 1)] {
            node.topic_of(name, partitions, &[]).await;
        }
        for (request, expected) in cases {
            let response = turn(&mut node, &request).await;
            assert_eq!(short(&response), expected, "{request:?}");
        }
    });
}

#[test]
fn a_topic_is_described_with_its_id_its_leaders_and_what_may_be_done() {
    with(&[("node.id", "4")], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let response = turn(&mut node, &page(&["t", "none"], 2000, None)).await;
        let [missing, found] = &response.topics[..] else {
            panic!("{response:?}");
        };
        assert_eq!(missing.topic_authorized_operations, 3576);
        assert_eq!(
            (found.topic_id, found.topic_authorized_operations),
            (topic.id, 3576)
        );
        let partition = &found.partitions[0];
        assert_eq!((partition.leader_id, partition.leader_epoch), (4, 0));
        assert_eq!(
            (&partition.replica_nodes, &partition.isr_nodes),
            (&vec![4], &vec![4])
        );
        assert_eq!(partition.eligible_leader_replicas, Some(vec![]));
        assert_eq!(partition.last_known_elr, Some(vec![]));
        assert_eq!(
            (partition.error_code, partition.offline_replicas.len()),
            (0, 0)
        );
    });
}

#[test]
fn a_walk_through_all_pages_meets_each_partition_once() {
    with(&[], async |mut node| {
        for at in 0..20 {
            node.topic_of(&format!("t{at:02}"), at % 4 + 1, &[]).await;
        }
        for limit in [1, 2, 3, 7, 50] {
            let mut met = Vec::new();
            let mut from: Option<(String, i32)> = None;
            loop {
                let begin = from.as_ref().map(|(name, at)| (name.as_str(), *at));
                let response = turn(&mut node, &page(&[], limit, begin)).await;
                for topic in &response.topics {
                    let name = topic.name.as_deref().unwrap();
                    let partitions = topic.partitions.iter();
                    met.extend(partitions.map(|p| (name.to_owned(), p.partition_index)));
                }
                let Some(next) = response.next_cursor else {
                    break;
                };
                from = Some((next.topic_name.to_string(), next.partition_index));
            }
            let every = (0..20).flat_map(|at| (0..=at % 4).map(move |p| (format!("t{at:02}"), p)));
            assert_eq!(met, every.collect::<Vec<_>>(), "{limit}");
        }
    });
}
