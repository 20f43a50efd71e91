//! Elections, reassignments, the quorum, features and producers, at every version. Codes and words
//! are those that Apache Kafka 4.3.1 gave to the same requests.

use millrace_protocol::api::Api;
use millrace_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use millrace_protocol::messages::describe_producers_request::TopicRequest;
use millrace_protocol::messages::describe_producers_response::PartitionResponse;
use millrace_protocol::messages::elect_leaders_request::TopicPartitions;
use millrace_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use millrace_protocol::messages::update_features_request::FeatureUpdateKey;
use millrace_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    DescribeProducersRequest, DescribeProducersResponse, DescribeQuorumRequest,
    DescribeQuorumResponse, ElectLeadersRequest, ElectLeadersResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, StrBytes,
    UpdateFeaturesRequest, UpdateFeaturesResponse, describe_quorum_request,
};

use crate::node::{Node, WALL_MS, batch, batch_from, with};

fn words(text: Option<StrBytes>) -> String {
    text.map_or(String::new(), |text| text.to_string())
}

fn election(kind: i8, topics: Option<&[(&str, &[i32])]>) -> ElectLeadersRequest {
    let mut request = ElectLeadersRequest::default();
    request.election_type = kind;
    request.timeout_ms = 10_000;
    request.topic_partitions = topics.map(|topics| {
        let topic = |(name, partitions): &(&str, &[i32])| {
            let mut topic = TopicPartitions::default();
            topic.topic = (*name).into();
            topic.partitions = partitions.to_vec();
            topic
        };
        topics.iter().map(topic).collect()
    });
    request
}

/// The code of the whole, and topic, partition, code and words of each row.
async fn elect(
    node: &mut Node,
    version: i16,
    request: &ElectLeadersRequest,
) -> (i16, Vec<(String, i32, i16, String)>) {
    let api = Api::ElectLeaders;
    let response: ElectLeadersResponse = node.client.ask(api, version, request).await;
    let topics = response.replica_election_results.into_iter();
    let rows = topics.flat_map(|topic| {
        let name = topic.topic.to_string();
        let rows = topic.partition_result.into_iter();
        rows.map(move |row| {
            let words = words(row.error_message);
            (name.clone(), row.partition_id, row.error_code, words)
        })
    });
    (response.error_code, rows.collect())
}

#[test]
fn an_election_that_is_not_needed_or_not_possible_is_refused_as_in_kafka() {
    with(&[], async |mut node| {
        node.topic_of("a", 2, &[]).await;
        let row =
            |name: &str, index, code, words: &str| (name.to_owned(), index, code, words.to_owned());
        let unneeded = "Leader election not needed for topic partition.";
        for version in 0..=2 {
            let asked = election(0, Some(&[("a", &[0, 9, 0]), ("z", &[0])]));
            let expected = [
                row("a", 0, 84, unneeded),
                row("a", 9, 3, "No such partition as a-9"),
                row("a", 0, 84, unneeded),
                row("z", 0, 3, "No such topic as z"),
            ];
            assert_eq!(
                elect(&mut node, version, &asked).await,
                (0, expected.into())
            );
            assert_eq!(
                elect(&mut node, version, &election(0, None)).await,
                (0, vec![])
            );
            let mut late = election(0, Some(&[("a", &[0])]));
            late.timeout_ms = 0;
            let whole = if version >= 1 { 7 } else { 0 };
            let expected = (whole, vec![row("a", 0, 7, "")]);
            assert_eq!(elect(&mut node, version, &late).await, expected);
        }
        for version in 1..=2 {
            let asked = election(1, Some(&[("a", &[1])]));
            let expected = (0, vec![row("a", 1, 84, unneeded)]);
            assert_eq!(elect(&mut node, version, &asked).await, expected);
            assert_eq!(
                elect(&mut node, version, &election(2, None)).await,
                (42, vec![])
            );
            let asked = election(-1, Some(&[("a", &[0])]));
            let expected = (42, vec![row("a", 0, 42, "Unknown election type -1")]);
            assert_eq!(elect(&mut node, version, &asked).await, expected);
        }
    });
}

#[test]
fn an_election_in_a_topic_of_the_longest_name_is_answered() {
    with(&[], async |mut node| {
        let longest = "x".repeat(32_767);
        for version in 0..=2 {
            let asked = election(0, Some(&[(&longest, &[0])]));
            let (whole, rows) = elect(&mut node, version, &asked).await;
            assert_eq!((whole, rows[0].2), (0, 3));
        }
    });
}

#[test]
fn an_election_of_all_names_every_topic() {
    with(&[], async |mut node| {
        for name in ["a", "b"] {
            node.topic(name, &[]).await;
        }
        let api = Api::ElectLeaders;
        let response: ElectLeadersResponse = node.client.ask(api, 2, &election(0, None)).await;
        let topics = response.replica_election_results.iter();
        let names: Vec<_> = topics
            .map(|t| (t.topic.as_str(), t.partition_result.len()))
            .collect();
        assert_eq!(names, [("a", 0), ("b", 0)]);
    });
}

fn moves(partitions: &[(i32, Option<&[i32]>)]) -> AlterPartitionReassignmentsRequest {
    let mut topic = ReassignableTopic::default();
    topic.name = "a".into();
    for (index, replicas) in partitions {
        let mut partition = ReassignablePartition::default();
        partition.partition_index = *index;
        partition.replicas = replicas.map(<[i32]>::to_vec);
        topic.partitions.push(partition);
    }
    let mut request = AlterPartitionReassignmentsRequest::default();
    request.timeout_ms = 10_000;
    request.allow_replication_factor_change = true;
    request.topics = vec![topic];
    request
}

async fn reassign(
    node: &mut Node,
    version: i16,
    request: &AlterPartitionReassignmentsRequest,
) -> (i16, Vec<(i32, i16, String)>) {
    let api = Api::AlterPartitionReassignments;
    let response: AlterPartitionReassignmentsResponse =
        node.client.ask(api, version, request).await;
    assert!(response.error_message.is_none());
    let asked = request.allow_replication_factor_change;
    assert_eq!(response.allow_replication_factor_change, asked);
    let rows = response.responses.into_iter().flat_map(|t| t.partitions);
    let rows = rows.map(|row| {
        (
            row.partition_index,
            row.error_code,
            words(row.error_message),
        )
    });
    (response.error_code, rows.collect())
}

#[test]
fn a_partition_stays_where_it_is_and_no_move_is_ever_under_way() {
    let manual = "The manual partition assignment includes";
    let expected = [
        (0, 85, String::new()),
        (1, 0, String::new()),
        (
            1,
            39,
            format!("{manual} broker 2, but no such broker is registered."),
        ),
        (9, 3, "Unable to find partition a:9.".to_owned()),
        (0, 39, format!("{manual} an empty replica list.")),
        (0, 39, format!("{manual} the broker 1 more than once.")),
    ];
    with(&[], async |mut node| {
        node.topic_of("a", 2, &[]).await;
        for version in 0..=1 {
            let mut request = moves(&[
                (0, None),
                (1, Some(&[1])),
                (1, Some(&[2])),
                (9, Some(&[1])),
                (0, Some(&[])),
                (0, Some(&[1, 1])),
            ]);
            let answer = reassign(&mut node, version, &request).await;
            assert_eq!(answer, (0, expected.to_vec()));
            request.timeout_ms = 0;
            let (whole, rows) = reassign(&mut node, version, &request).await;
            assert_eq!(whole, 7);
            assert!(rows.iter().all(|row| row.1 == 7));
            let mut unknown = moves(&[(0, None)]);
            unknown.topics[0].name = "z".into();
            let expected = (0, 3, "Unable to find a topic named z.".to_owned());
            assert_eq!(
                reassign(&mut node, version, &unknown).await,
                (0, vec![expected])
            );
        }
        let mut request = moves(&[(0, Some(&[1]))]);
        request.allow_replication_factor_change = false;
        assert_eq!(reassign(&mut node, 1, &request).await.1[0].1, 0);
        let mut request = ListPartitionReassignmentsRequest::default();
        let mut topic = ListPartitionReassignmentsTopics::default();
        topic.name = "a".into();
        topic.partition_indexes = vec![0, 9];
        for topics in [None, Some(vec![]), Some(vec![topic])] {
            request.topics = topics;
            let api = Api::ListPartitionReassignments;
            let response: ListPartitionReassignmentsResponse =
                node.client.ask(api, 0, &request).await;
            assert_eq!((response.error_code, response.topics.len()), (0, 0));
        }
    });
}

fn quorum(topics: &[(&str, &[i32])]) -> DescribeQuorumRequest {
    let mut request = DescribeQuorumRequest::default();
    for (name, partitions) in topics {
        let mut topic = describe_quorum_request::TopicData::default();
        topic.topic_name = (*name).into();
        for index in *partitions {
            let mut partition = describe_quorum_request::PartitionData::default();
            partition.partition_index = *index;
            topic.partitions.push(partition);
        }
        request.topics.push(topic);
    }
    request
}

const METADATA: &str = "__cluster_metadata";

#[test]
fn the_quorum_is_this_node_and_grows_with_every_change() {
    with(&[("node.id", "4")], async |mut node| {
        let request = quorum(&[(METADATA, &[0])]);
        let mut before = 0;
        for version in 0..=2 {
            let name = format!("t{version}");
            node.topic(&name, &[]).await;
            let api = Api::DescribeQuorum;
            let response: DescribeQuorumResponse = node.client.ask(api, version, &request).await;
            assert_eq!(response.error_code, 0);
            let partition = &response.topics[0].partitions[0];
            assert_eq!((partition.leader_id, partition.leader_epoch), (4, 1));
            assert!(partition.high_watermark > before);
            before = partition.high_watermark;
            let [voter] = &partition.current_voters[..] else {
                panic!("{response:?}");
            };
            assert_eq!((voter.replica_id, voter.log_end_offset), (4, before));
            assert_eq!(voter.last_caught_up_timestamp >= WALL_MS, version >= 1);
            assert!(partition.observers.is_empty());
            let listeners = response.nodes.iter().flat_map(|node| &node.listeners);
            let ports: Vec<_> = listeners.map(|l| (l.name.as_str(), l.port)).collect();
            let expected: &[_] = if version >= 2 {
                &[("PLAINTEXT", 9092)]
            } else {
                &[]
            };
            assert_eq!(ports, expected);
        }
    });
}

#[test]
fn another_partition_than_the_quorums_alone_is_not_there() {
    with(&[], async |mut node| {
        node.topic("a", &[]).await;
        let unknown: [&[(&str, &[i32])]; 4] = [
            &[("a", &[0])],
            &[(METADATA, &[1])],
            &[(METADATA, &[0, 1])],
            &[(METADATA, &[0]), ("a", &[0])],
        ];
        for version in 0..=2 {
            for topics in unknown {
                let api = Api::DescribeQuorum;
                let response: DescribeQuorumResponse =
                    node.client.ask(api, version, &quorum(topics)).await;
                let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
                assert!(rows.clone().all(|row| row.error_code == 3));
                assert_eq!(
                    rows.count(),
                    topics.iter().map(|t| t.1.len()).sum::<usize>()
                );
                assert_eq!((response.error_code, response.nodes.len()), (0, 0));
            }
        }
    });
}

#[test]
fn no_feature_is_known_and_each_is_refused_in_kafkas_words() {
    let prefix = "The update failed for all features since the following feature had an error: \
                  Invalid update version";
    let cases = [
        (
            "nope",
            1,
            1,
            "1 for feature nope. Local controller 1 does not support this feature.",
        ),
        ("nope", 0, 2, "0 for feature nope. Feature nope not found."),
        (
            "nope",
            -1,
            1,
            "-1 for feature nope. A feature version cannot be less than 0.",
        ),
        (
            "nope",
            1,
            7,
            "1 for feature nope. The controller does not support the given upgrade type.",
        ),
    ];
    with(&[], async |mut node| {
        for version in 0..=2 {
            for (feature, level, kind, reason) in cases {
                // Version 0 can't say of which kind it is.
                if version == 0 && kind == 7 {
                    continue;
                }
                let mut update = FeatureUpdateKey::default();
                update.feature = feature.into();
                update.max_version_level = level;
                update.upgrade_type = if version == 0 { 1 } else { kind };
                let mut request = UpdateFeaturesRequest::default();
                request.feature_updates = vec![update];
                let api = Api::UpdateFeatures;
                let response: UpdateFeaturesResponse =
                    node.client.ask(api, version, &request).await;
                assert_eq!((response.error_code, response.results.len()), (95, 0));
                assert_eq!(words(response.error_message), format!("{prefix} {reason}"));
            }
            let request = UpdateFeaturesRequest::default();
            let api = Api::UpdateFeatures;
            let response: UpdateFeaturesResponse = node.client.ask(api, version, &request).await;
            assert_eq!((response.error_code, response.error_message), (0, None));
        }
    });
}

async fn producers(node: &mut Node, name: &str, partitions: &[i32]) -> Vec<PartitionResponse> {
    let mut topic = TopicRequest::default();
    topic.name = name.into();
    topic.partition_indexes = partitions.to_vec();
    let mut request = DescribeProducersRequest::default();
    request.topics = vec![topic];
    let api = Api::DescribeProducers;
    let mut response: DescribeProducersResponse = node.client.ask(api, 0, &request).await;
    response.topics.remove(0).partitions
}

#[test]
fn producers_are_told_with_their_last_batch_also_after_a_crash() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        node.produce(&topic, batch(&["of nobody"])).await;
        for (producer, values) in [((7, 0, 0), &["a", "b"][..]), ((9, 3, 0), &["c"])] {
            let row = node.produce(&topic, batch_from(producer, values)).await;
            assert_eq!(row.error_code, 0);
        }
        for _ in 0..2 {
            let rows = producers(&mut node, "t", &[0, 0]).await;
            assert_eq!(rows.len(), 2);
            for row in &rows {
                assert_eq!((row.error_code, &row.error_message), (0, &None));
                let states = row.active_producers.iter();
                let states: Vec<_> = states
                    .map(|s| {
                        (
                            s.producer_id,
                            s.producer_epoch,
                            s.last_sequence,
                            s.last_timestamp,
                        )
                    })
                    .collect();
                assert_eq!(states, [(7, 0, 1, WALL_MS), (9, 3, 0, WALL_MS)]);
                let others = row.active_producers.iter();
                let mut others = others.map(|s| (s.coordinator_epoch, s.current_txn_start_offset));
                assert!(others.all(|pair| pair == (-1, -1)));
            }
            node.crash().await;
        }
    });
}

#[test]
fn producers_of_what_is_not_there_are_refused() {
    with(&[], async |mut node| {
        node.topic("t", &[]).await;
        let codes = |rows: Vec<PartitionResponse>| -> Vec<(i16, String)> {
            let row = |row: PartitionResponse| (row.error_code, words(row.error_message));
            rows.into_iter().map(row).collect()
        };
        let found = codes(producers(&mut node, "t", &[0, 9, -1]).await);
        assert_eq!(found.iter().map(|row| row.0).collect::<Vec<_>>(), [0, 3, 3]);
        let unknown = "This server does not host this topic-partition.".to_owned();
        assert_eq!(codes(producers(&mut node, "z", &[0]).await), [(3, unknown)]);
        for invalid in ["", "a/"] {
            assert_eq!(codes(producers(&mut node, invalid, &[0]).await)[0].0, 17);
        }
    });
}
