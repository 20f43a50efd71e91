//! `CreateTopics`, `DeleteTopics` and Metadata at every version.

use millrace_protocol::api::Api;
use millrace_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use millrace_protocol::messages::create_topics_request::CreatableReplicaAssignment;
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use millrace_protocol::messages::delete_topics_response::DeletableTopicResult;
use millrace_protocol::messages::metadata_request::MetadataRequestTopic;
use millrace_protocol::messages::metadata_response::MetadataResponseTopic;
use millrace_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, DeleteTopicsRequest,
    DeleteTopicsResponse, MetadataRequest, MetadataResponse, Uuid,
};

use crate::node::{Node, new_topic, with};

/// Asks for topics by name; `None` asks for all.
fn by_name(names: Option<&[&str]>) -> MetadataRequest {
    let mut request = MetadataRequest::default();
    request.topics = names.map(|names| {
        let topic = |name: &&str| {
            let mut topic = MetadataRequestTopic::default();
            topic.name = Some((*name).into());
            topic
        };
        names.iter().map(topic).collect()
    });
    request.allow_auto_topic_creation = true;
    request
}

async fn metadata(node: &mut Node, version: i16, request: &MetadataRequest) -> MetadataResponse {
    node.client.ask(Api::Metadata, version, request).await
}

async fn rows(
    node: &mut Node,
    version: i16,
    request: &MetadataRequest,
) -> Vec<MetadataResponseTopic> {
    metadata(node, version, request).await.topics
}

fn codes(rows: &[MetadataResponseTopic]) -> Vec<(String, i16)> {
    let row = |row: &MetadataResponseTopic| {
        let name = row.name.as_ref().map(ToString::to_string);
        (name.unwrap_or_default(), row.error_code)
    };
    rows.iter().map(row).collect()
}

#[test]
fn every_version_of_metadata_tells_brokers_topics_and_partitions() {
    with(
        &[("node.id", "4"), ("broker.rack", "r1")],
        async |mut node| {
            let a = node.topic_of("a", 3, &[]).await;
            let _ = node.topic("b", &[]).await;
            for version in 0..=13 {
                let response = metadata(&mut node, version, &by_name(Some(&["a"]))).await;
                let broker = &response.brokers[0];
                assert_eq!(response.brokers.len(), 1);
                assert_eq!((broker.node_id, broker.port), (4, 9092));
                assert_eq!(broker.host.as_str(), "127.0.0.1");
                let rack = (version >= 1).then_some("r1");
                assert_eq!(broker.rack.as_deref(), rack);
                assert_eq!(response.error_code, 0);
                if version >= 1 {
                    assert_eq!(response.controller_id, 4);
                }
                if version >= 2 {
                    assert_eq!(response.cluster_id.as_ref().unwrap().len(), 22);
                }
                let topic = &response.topics[0];
                assert_eq!(response.topics.len(), 1);
                assert_eq!(topic.name.as_deref(), Some("a"));
                let id = if version >= 10 { a.id } else { Uuid::default() };
                assert_eq!(topic.topic_id, id);
                assert!(!topic.is_internal);
                let partitions: Vec<_> = topic
                    .partitions
                    .iter()
                    .map(|p| (p.error_code, p.partition_index, p.leader_id))
                    .collect();
                assert_eq!(partitions, [(0, 0, 4), (0, 1, 4), (0, 2, 4)]);
                for partition in &topic.partitions {
                    assert_eq!(partition.replica_nodes, [4]);
                    assert_eq!(partition.isr_nodes, [4]);
                    assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
                }
            }
        },
    );
}

#[test]
fn all_topics_or_none_are_asked_for_in_each_versions_way() {
    with(&[], async |mut node| {
        for name in ["a", "b"] {
            node.topic(name, &[]).await;
        }
        let none = by_name(Some(&[]));
        assert_eq!(rows(&mut node, 0, &none).await.len(), 2);
        for version in 1..=13 {
            assert_eq!(rows(&mut node, version, &none).await.len(), 0);
            let all = rows(&mut node, version, &by_name(None)).await;
            assert_eq!(codes(&all), [("a".to_owned(), 0), ("b".to_owned(), 0)]);
        }
    });
}

#[test]
fn an_answer_of_all_topics_shows_what_was_acknowledged_and_is_encoded_once() {
    const HITS: &str = "millrace_metadata_cache_hits_total";
    const MISSES: &str = "millrace_metadata_cache_misses_total";
    with(&[], async |mut node| {
        let mut other = node.connect().await;
        let mut expected: Vec<(String, usize)> = Vec::new();
        for round in 0..4 {
            match round {
                0 => expected = Vec::new(),
                1 => {
                    node.topic_of("a", 1, &[]).await;
                    node.topic_of("b", 2, &[]).await;
                    expected = vec![("a".to_owned(), 1), ("b".to_owned(), 2)];
                }
                2 => {
                    let mut topic = CreatePartitionsTopic::default();
                    topic.name = "a".into();
                    topic.count = 3;
                    topic.assignments = None;
                    let mut request = CreatePartitionsRequest::default();
                    request.topics = vec![topic];
                    request.timeout_ms = 10_000;
                    let grown: CreatePartitionsResponse =
                        node.client.ask(Api::CreatePartitions, 3, &request).await;
                    assert_eq!(grown.results[0].error_code, 0);
                    expected[0].1 = 3;
                }
                _ => {
                    let gone = delete(&mut node, 6, &["b"], &[]).await;
                    assert_eq!(gone[0].error_code, 0);
                    expected.pop();
                }
            }
            for version in 1..=13 {
                let misses = node.metric(MISSES);
                let all = rows(&mut node, version, &by_name(None)).await;
                let again: MetadataResponse =
                    other.ask(Api::Metadata, version, &by_name(None)).await;
                assert_eq!(again.topics, all, "version {version}");
                let found: Vec<(String, usize)> = all
                    .iter()
                    .map(|row| {
                        let name = row.name.as_ref().map(ToString::to_string);
                        (name.unwrap_or_default(), row.partitions.len())
                    })
                    .collect();
                assert_eq!(found, expected, "version {version}");
                assert_eq!(node.metric(MISSES), misses + 1, "version {version}");
            }
            assert_eq!(node.metric(HITS), 13 * (round + 1));
        }
    });
}

#[test]
fn a_topic_is_found_by_its_id() {
    with(&[], async |mut node| {
        let a = node.topic("a", &[]).await;
        let by_id = |id: Uuid| {
            let mut topic = MetadataRequestTopic::default();
            topic.topic_id = id;
            topic.name = None;
            let mut request = MetadataRequest::default();
            request.topics = Some(vec![topic]);
            request
        };
        for version in [12, 13] {
            let found = rows(&mut node, version, &by_id(a.id)).await;
            assert_eq!(codes(&found), [("a".to_owned(), 0)]);
            let unknown = Uuid::from_bytes([9; 16]);
            let found = rows(&mut node, version, &by_id(unknown)).await;
            assert_eq!((found[0].error_code, found[0].topic_id), (100, unknown));
            assert_eq!(found[0].name, None);
        }
        // Before ids could be asked for, whoever names one is refused, and told of nothing else.
        for version in [10, 11] {
            let mut both = by_id(a.id);
            both.topics.as_mut().unwrap()[0].name = Some("a".into());
            let refused = metadata(&mut node, version, &both).await;
            let row = &refused.topics[0];
            assert_eq!((row.error_code, row.topic_id), (42, a.id));
            assert!(refused.brokers.is_empty() && refused.cluster_id.is_none());
        }
    });
}

#[test]
fn a_first_question_creates_a_topic_if_client_and_broker_allow_it() {
    with(&[("num.partitions", "3")], async |mut node| {
        let found = rows(&mut node, 0, &by_name(Some(&["v0"]))).await;
        assert_eq!((found[0].error_code, found[0].partitions.len()), (0, 3));
        let mut forbidden = by_name(Some(&["absent"]));
        forbidden.allow_auto_topic_creation = false;
        let found = rows(&mut node, 13, &forbidden).await;
        assert_eq!(codes(&found), [("absent".to_owned(), 3)]);
        let found = rows(&mut node, 13, &by_name(Some(&["made", "a b", "..", ""]))).await;
        let expected = [("made", 0), ("a b", 17), ("..", 17), ("", 17)];
        let expected = expected.map(|(name, code)| (name.to_owned(), code));
        assert_eq!(codes(&found), expected);
        let long = "x".repeat(250);
        let found = rows(&mut node, 13, &by_name(Some(&[&long]))).await;
        assert_eq!(found[0].error_code, 17);
        let _ = node.topic("x.y", &[]).await;
        let found = rows(&mut node, 13, &by_name(Some(&["x_y"]))).await;
        assert_eq!(
            codes(&found),
            [("x_y".to_owned(), 3)],
            "it collides and isn't made"
        );
        node.crash().await;
        let all = rows(&mut node, 13, &by_name(None)).await;
        let made = ["made", "v0", "x.y"].map(|name| (name.to_owned(), 0));
        assert_eq!(codes(&all), made);
    });
    let off = [("auto.create.topics.enable", "false")];
    with(&off, async |mut node| {
        let found = rows(&mut node, 13, &by_name(Some(&["t"]))).await;
        assert_eq!(codes(&found), [("t".to_owned(), 3)]);
    });
}

#[test]
fn one_question_cannot_make_more_partitions_than_one_creation() {
    let pairs = [
        ("num.partitions", "10"),
        ("create.partitions.per.request.max", "25"),
    ];
    with(&pairs, async |mut node| {
        let found = rows(&mut node, 13, &by_name(Some(&["a", "b", "c"]))).await;
        assert!(found.iter().all(|row| row.error_code == 3));
        let found = rows(&mut node, 13, &by_name(Some(&["a", "b"]))).await;
        assert!(found.iter().all(|row| row.error_code == 0));
    });
}

#[test]
fn every_version_of_create_topics_makes_them_and_says_what_it_knows() {
    with(&[], async |mut node| {
        for version in 2..=7 {
            let mut request = CreateTopicsRequest::default();
            let name = format!("t{version}");
            request.topics = vec![new_topic(&name, 2, &[("retention.ms", "1000")])];
            request.validate_only = true;
            assert_eq!(node.create(version, &request).await[0].error_code, 0);
            request.validate_only = false;
            let made = node.create(version, &request).await.remove(0);
            assert_eq!(made.error_code, 0, "the validation made nothing");
            assert_eq!(made.name.as_str(), name);
            if version >= 5 {
                assert_eq!((made.num_partitions, made.replication_factor), (2, 1));
                let configs = made.configs.unwrap();
                let own = configs
                    .iter()
                    .find(|c| c.name.as_str() == "retention.ms")
                    .unwrap();
                assert_eq!((own.value.as_deref(), own.config_source), (Some("1000"), 1));
                let other = configs.iter().find(|c| c.config_source == 5).unwrap();
                assert!(other.value.is_some());
            }
            assert_eq!(made.topic_id == Uuid::default(), version < 7);
            let again = node.create(version, &request).await.remove(0);
            assert_eq!(again.error_code, 36);
            assert!(again.error_message.is_some());
        }
        node.restart().await;
        let all = rows(&mut node, 13, &by_name(None)).await;
        assert_eq!(all.len(), 6);
    });
}

#[test]
fn a_topic_that_cannot_be_made_says_why_and_the_others_are_made() {
    with(&[("num.partitions", "5")], async |mut node| {
        let mut assigned = new_topic("assigned", -1, &[]);
        assigned.replication_factor = -1;
        for partition in 0..2 {
            let mut assignment = CreatableReplicaAssignment::default();
            assignment.partition_index = partition;
            assignment.broker_ids = vec![1];
            assigned.assignments.push(assignment);
        }
        let with = |change: &dyn Fn(&mut Vec<CreatableReplicaAssignment>)| {
            let mut topic = assigned.clone();
            topic.name = "misassigned".into();
            change(&mut topic.assignments);
            topic
        };
        let mut two_copies = new_topic("copies", 1, &[]);
        two_copies.replication_factor = 2;
        let mut none = new_topic("none", 1, &[]);
        none.replication_factor = 0;
        let mut defaults = new_topic("defaults", -1, &[]);
        defaults.replication_factor = -1;
        for (topic, expected) in [
            (new_topic("a b", 1, &[]), 17),
            (new_topic("", 1, &[]), 17),
            (new_topic(".", 1, &[]), 17),
            (new_topic(&"x".repeat(250), 1, &[]), 17),
            (new_topic("zero", 0, &[]), 37),
            (new_topic("negative", -2, &[]), 37),
            (two_copies, 38),
            (none, 38),
            (new_topic("config", 1, &[("retention.mz", "1")]), 40),
            (new_topic("config", 1, &[("segment.bytes", "1")]), 40),
            (with(&|a| a[1].partition_index = 5), 39),
            (with(&|a| a[1].broker_ids = vec![8]), 39),
            (with(&|a| a[1].broker_ids = vec![1, 1]), 39),
            (assigned.clone(), 0),
            (defaults, 0),
            (new_topic("with.dots", 1, &[]), 0),
            (new_topic("with_dots", 1, &[]), 17),
        ] {
            let mut request = CreateTopicsRequest::default();
            let name = topic.name.clone();
            let other = format!("beside-{}", node.metric("millrace_received_bytes_total"));
            request.topics = vec![topic, new_topic(&other, 1, &[])];
            let results = node.create(7, &request).await;
            let codes: Vec<_> = results.iter().map(|r| r.error_code).collect();
            assert_eq!(codes, [expected, 0], "{name}");
        }
        let mut twice = CreateTopicsRequest::default();
        twice.topics = vec![
            new_topic("twice", 1, &[]),
            new_topic("once", 1, &[]),
            new_topic("twice", 2, &[]),
        ];
        let results = node.create(7, &twice).await;
        let outcome = |name: &str| {
            let mut found = results.iter().filter(|r| r.name.as_str() == name);
            found.next().unwrap().error_code
        };
        assert_eq!((outcome("twice"), outcome("once")), (42, 0));
        let mut many = CreateTopicsRequest::default();
        many.topics = vec![new_topic("x", 6000, &[]), new_topic("y", 6000, &[])];
        let results = node.create(7, &many).await;
        assert!(results.iter().all(|result| result.error_code == 44));
    });
}

pub(crate) async fn delete(
    node: &mut Node,
    version: i16,
    names: &[&str],
    ids: &[Uuid],
) -> Vec<DeletableTopicResult> {
    let mut request = DeleteTopicsRequest::default();
    if version >= 6 {
        let state = |name: Option<&str>, id| {
            let mut state = DeleteTopicState::default();
            state.name = name.map(Into::into);
            state.topic_id = id;
            state
        };
        let named = names.iter().map(|name| state(Some(name), Uuid::default()));
        let by_id = ids.iter().map(|id| state(None, *id));
        request.topics = named.chain(by_id).collect();
    } else {
        request.topic_names = names.iter().map(|name| (*name).into()).collect();
    }
    request.timeout_ms = 1000;
    let response: DeleteTopicsResponse =
        node.client.ask(Api::DeleteTopics, version, &request).await;
    response.responses
}

#[test]
fn every_version_of_delete_topics_removes_them_for_good() {
    with(&[], async |mut node| {
        for version in 1..=6 {
            let name = format!("t{version}");
            let topic = node.topic(&name, &[]).await;
            node.produce(&topic, crate::node::batch(&["old"])).await;
            let result = delete(&mut node, version, &[&name, "absent"], &[]).await;
            let codes: Vec<_> = result.iter().map(|r| r.error_code).collect();
            assert_eq!(codes, [0, 3]);
            let row = node.fetch(&topic, 0).await;
            assert_eq!(row.error_code, 100);
            let again = node.topic(&name, &[]).await;
            assert_ne!(again.id, topic.id);
            assert_eq!(node.values(&again, 0).await, [""; 0], "nothing of the old");
            let row = node
                .produce_soon(&again, crate::node::batch(&["new"]))
                .await;
            assert_eq!((row.error_code, row.base_offset), (0, 0));
        }
        let topic = node.topic("by-id", &[]).await;
        let unknown = Uuid::from_bytes([9; 16]);
        let result = delete(&mut node, 6, &[], &[topic.id, unknown]).await;
        assert_eq!((result[0].error_code, result[1].error_code), (0, 100));
        assert_eq!(result[0].name.as_deref(), Some("by-id"));
        node.crash().await;
        let all = rows(&mut node, 13, &by_name(None)).await;
        assert_eq!(all.len(), 6);
        let row = node
            .fetch_in(
                12,
                &crate::node::Topic {
                    name: "t3".into(),
                    id: Uuid::default(),
                },
                0,
            )
            .await;
        assert_eq!(crate::node::values(&row), ["new"]);
    });
}

#[test]
fn a_request_without_time_makes_and_removes_nothing() {
    with(&[], async |mut node| {
        node.topic("t", &[]).await;
        for timeout_ms in [0, -1, i32::MIN] {
            let mut new = CreateTopicsRequest::default();
            new.topics = vec![new_topic("new", 1, &[])];
            new.timeout_ms = timeout_ms;
            assert_eq!(node.create(7, &new).await[0].error_code, 7);
            let mut old = DeleteTopicsRequest::default();
            old.topic_names = vec!["t".into()];
            old.timeout_ms = timeout_ms;
            let response: DeleteTopicsResponse = node.client.ask(Api::DeleteTopics, 5, &old).await;
            assert_eq!(response.responses[0].error_code, 7);
        }
        let all = rows(&mut node, 13, &by_name(None)).await;
        let names: Vec<_> = all.iter().map(|row| row.name.as_deref()).collect();
        assert_eq!(names, [Some("t")]);
    });
}

#[test]
fn a_topic_that_is_deleted_twice_is_refused_once() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        node.topic("u", &[]).await;
        for (version, names, ids) in [
            (1, vec!["t", "t"], vec![]),
            (6, vec!["t", "t"], vec![]),
            (6, vec![], vec![topic.id, topic.id]),
        ] {
            let result = delete(&mut node, version, &names, &ids).await;
            let codes: Vec<_> = result.iter().map(|r| r.error_code).collect();
            assert_eq!(codes, [42], "version {version}");
        }
        let result = delete(&mut node, 5, &["t", "u", "t"], &[]).await;
        let codes: Vec<_> = result.iter().map(|r| r.error_code).collect();
        assert_eq!(codes, [42, 0]);
    });
}

#[test]
fn deletion_can_be_off() {
    with(&[("delete.topic.enable", "false")], async |mut node| {
        node.topic("t", &[]).await;
        for (version, expected) in [(1, 42), (2, 42), (3, 73), (6, 73)] {
            let result = delete(&mut node, version, &["t"], &[]).await;
            assert_eq!(result[0].error_code, expected, "version {version}");
        }
    });
}

#[test]
fn a_topic_is_named_in_exactly_one_way_when_deleted() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let mut both = DeleteTopicState::default();
        both.name = Some("t".into());
        both.topic_id = topic.id;
        let mut neither = DeleteTopicState::default();
        neither.name = None;
        let mut request = DeleteTopicsRequest::default();
        request.topics = vec![both, neither];
        let response: DeleteTopicsResponse = node.client.ask(Api::DeleteTopics, 6, &request).await;
        let codes: Vec<_> = response.responses.iter().map(|r| r.error_code).collect();
        assert_eq!(codes, [42, 42]);
    });
}
