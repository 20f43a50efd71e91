//! Consumer groups at every version: members join, share, live and leave; offsets are kept, told,
//! removed, and there again after a restart.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::delete_groups_response::DeletableGroupResult;
use millrace_protocol::messages::describe_groups_response::DescribedGroup;
use millrace_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millrace_protocol::messages::leave_group_request::MemberIdentity;
use millrace_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millrace_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use millrace_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use millrace_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millrace_protocol::messages::{
    self, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, StrBytes, SyncGroupRequest,
    SyncGroupResponse,
};

use crate::node::{Node, Topic, batch, with};

/// Between two looks at what is to change by itself.
const PAUSE: Duration = Duration::from_millis(100);

/// Groups that begin wait for nobody.
pub(crate) const AT_ONCE: [(&str, &str); 1] = [("group.initial.rebalance.delay.ms", "0")];

pub(crate) async fn coordinator(node: &mut Node) {
    let mut request = FindCoordinatorRequest::default();
    request.key = "g".into();
    let response: FindCoordinatorResponse =
        node.client.ask(Api::FindCoordinator, 0, &request).await;
    assert_eq!((response.error_code, response.node_id), (0, 1));
}

async fn join(node: &mut Node, version: i16, group: &str, member: &str) -> JoinGroupResponse {
    let mut request = JoinGroupRequest::default();
    request.group_id = group.to_owned().into();
    request.session_timeout_ms = 10_000;
    if version >= 1 {
        request.rebalance_timeout_ms = 10_000;
    }
    request.member_id = member.to_owned().into();
    request.protocol_type = "consumer".into();
    let mut protocol = JoinGroupRequestProtocol::default();
    protocol.name = "range".into();
    protocol.metadata = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff".as_slice().into();
    request.protocols = vec![protocol];
    node.client.ask(Api::JoinGroup, version, &request).await
}

/// Joins, with the id that is given on the way where the version wants that.
pub(crate) async fn member(node: &mut Node, version: i16, group: &str) -> JoinGroupResponse {
    let joined = join(node, version, group, "").await;
    if version < 4 {
        return joined;
    }
    assert_eq!(joined.error_code, 79, "it is given an id first");
    assert_eq!(joined.generation_id, -1);
    join(node, version, group, &joined.member_id).await
}

pub(crate) async fn sync(
    node: &mut Node,
    version: i16,
    group: &str,
    member: &str,
) -> SyncGroupResponse {
    let mut request = SyncGroupRequest::default();
    request.group_id = group.to_owned().into();
    request.generation_id = 1;
    request.member_id = member.to_owned().into();
    if version >= 5 {
        request.protocol_type = Some("consumer".into());
        request.protocol_name = Some("range".into());
    }
    let mut assignment = SyncGroupRequestAssignment::default();
    assignment.member_id = member.to_owned().into();
    assignment.assignment = b"all".as_slice().into();
    request.assignments = vec![assignment];
    node.client.ask(Api::SyncGroup, version, &request).await
}

pub(crate) async fn heartbeat(node: &mut Node, version: i16, group: &str, member: &str) -> i16 {
    let mut request = HeartbeatRequest::default();
    request.group_id = group.to_owned().into();
    request.generation_id = 1;
    request.member_id = member.to_owned().into();
    let response: HeartbeatResponse = node.client.ask(Api::Heartbeat, version, &request).await;
    response.error_code
}

pub(crate) async fn commit(
    node: &mut Node,
    version: i16,
    (group, member, generation): (&str, &str, i32),
    topic: &Topic,
    offset: i64,
) -> Vec<i16> {
    let mut partition = OffsetCommitRequestPartition::default();
    partition.committed_offset = offset;
    if version >= 6 {
        partition.committed_leader_epoch = 3;
    }
    partition.committed_metadata = Some("note".into());
    let mut unknown = OffsetCommitRequestPartition::default();
    unknown.partition_index = 99;
    let mut of = OffsetCommitRequestTopic::default();
    if version >= 10 {
        of.topic_id = topic.id;
    } else {
        of.name = topic.name.clone();
    }
    of.partitions = vec![partition, unknown];
    let mut request = OffsetCommitRequest::default();
    request.group_id = group.to_owned().into();
    request.generation_id_or_member_epoch = generation;
    request.member_id = member.to_owned().into();
    request.topics = vec![of];
    let response: OffsetCommitResponse =
        node.client.ask(Api::OffsetCommit, version, &request).await;
    let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
    rows.map(|row| row.error_code).collect()
}

/// Offset, epoch and metadata of partition 0; `None` asks for all.
pub(crate) async fn fetch(
    node: &mut Node,
    version: i16,
    group: &str,
    topic: Option<&Topic>,
) -> Vec<(i64, i32, String, i16)> {
    let mut request = OffsetFetchRequest::default();
    if version >= 8 {
        let mut of = OffsetFetchRequestGroup::default();
        of.group_id = group.to_owned().into();
        of.topics = topic.map(|topic| {
            let mut row = OffsetFetchRequestTopics::default();
            if version >= 10 {
                row.topic_id = topic.id;
            } else {
                row.name = topic.name.clone();
            }
            row.partition_indexes = vec![0];
            vec![row]
        });
        request.groups = vec![of];
    } else {
        request.group_id = group.to_owned().into();
        request.topics = topic.map(|topic| {
            let mut row = OffsetFetchRequestTopic::default();
            row.name = topic.name.clone();
            row.partition_indexes = vec![0];
            vec![row]
        });
    }
    let response: OffsetFetchResponse = node.client.ask(Api::OffsetFetch, version, &request).await;
    assert_eq!(response.error_code, 0);
    let text = |text: &Option<StrBytes>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    let early = response.topics.iter().flat_map(|topic| &topic.partitions);
    let early = early.map(|row| {
        let epoch = row.committed_leader_epoch;
        (
            row.committed_offset,
            epoch,
            text(&row.metadata),
            row.error_code,
        )
    });
    let late = response.groups.iter().flat_map(|group| &group.topics);
    let late = late.flat_map(|topic| &topic.partitions).map(|row| {
        let epoch = row.committed_leader_epoch;
        (
            row.committed_offset,
            epoch,
            text(&row.metadata),
            row.error_code,
        )
    });
    early.chain(late).collect()
}

async fn describe(node: &mut Node, version: i16, group: &str) -> DescribedGroup {
    let mut request = DescribeGroupsRequest::default();
    request.groups = vec![group.to_owned().into()];
    request.include_authorized_operations = version >= 3;
    let mut response: DescribeGroupsResponse = node
        .client
        .ask(Api::DescribeGroups, version, &request)
        .await;
    response.groups.remove(0)
}

async fn listed(node: &mut Node, version: i16, states: &[&str]) -> Vec<(String, String, String)> {
    let mut request = ListGroupsRequest::default();
    request.states_filter = states
        .iter()
        .map(|state| (*state).to_owned().into())
        .collect();
    let response: ListGroupsResponse = node.client.ask(Api::ListGroups, version, &request).await;
    assert_eq!(response.error_code, 0);
    let rows = response.groups.iter();
    rows.map(|row| {
        let text = |text: &StrBytes| text.to_string();
        (
            text(&row.group_id),
            text(&row.group_state),
            text(&row.group_type),
        )
    })
    .collect()
}

async fn leave(node: &mut Node, version: i16, group: &str, member: &str) -> Vec<i16> {
    let mut request = LeaveGroupRequest::default();
    request.group_id = group.to_owned().into();
    if version >= 3 {
        let mut identity = MemberIdentity::default();
        identity.member_id = member.to_owned().into();
        request.members = vec![identity];
    } else {
        request.member_id = member.to_owned().into();
    }
    let response: LeaveGroupResponse = node.client.ask(Api::LeaveGroup, version, &request).await;
    let rows = response.members.iter().map(|row| row.error_code);
    std::iter::once(response.error_code).chain(rows).collect()
}

pub(crate) async fn delete(node: &mut Node, version: i16, group: &str) -> i16 {
    let mut request = DeleteGroupsRequest::default();
    request.groups_names = vec![group.to_owned().into()];
    let response: DeleteGroupsResponse =
        node.client.ask(Api::DeleteGroups, version, &request).await;
    let codes: Vec<_> = response
        .results
        .iter()
        .map(|row: &DeletableGroupResult| row.error_code)
        .collect();
    assert_eq!(codes.len(), 1);
    codes[0]
}

#[test]
fn members_join_share_live_and_leave_at_every_version() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        for version in 0..=9 {
            let group = format!("g{version}");
            let joined = member(&mut node, version, &group).await;
            assert_eq!(
                (joined.error_code, joined.generation_id),
                (0, 1),
                "version {version}"
            );
            assert_eq!(joined.leader, joined.member_id);
            assert_eq!(joined.members.len(), 1);
            assert_eq!(joined.protocol_name.as_deref(), Some("range"));
            let named = (version >= 7).then_some("consumer");
            assert_eq!(joined.protocol_type.as_deref(), named);
            let id = joined.member_id.to_string();
            assert!(id.len() > 36, "{id} has a random part");
            let synced = sync(&mut node, version.min(5), &group, &id).await;
            assert_eq!(
                (synced.error_code, &synced.assignment[..]),
                (0, &b"all"[..])
            );
            assert_eq!(heartbeat(&mut node, version.min(4), &group, &id).await, 0);
            assert_eq!(
                heartbeat(&mut node, version.min(4), &group, "other").await,
                25
            );
            assert_eq!(heartbeat(&mut node, version.min(4), "", &id).await, 24);
            let left = leave(&mut node, version.min(5), &group, &id).await;
            assert_eq!(left, if version >= 3 { vec![0, 0] } else { vec![0] });
            let again = leave(&mut node, version.min(5), &group, &id).await;
            assert_eq!(again, if version >= 3 { vec![0, 25] } else { vec![25] });
            let absent = leave(&mut node, version.min(5), "nobody", &id).await;
            assert_eq!(absent, again);
        }
    });
}

#[test]
fn offsets_are_kept_and_told_at_every_version_and_after_a_restart() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        let topic = node.topic("t", &[]).await;
        for version in 2..=10 {
            let group = format!("g{version}");
            let offset = 100 + i64::from(version);
            let alone = (group.as_str(), "", -1);
            assert_eq!(
                commit(&mut node, version, alone, &topic, offset).await,
                [0, 3]
            );
            let stranger = ("nobody", "m", 1);
            let absent = if version >= 9 { 69 } else { 22 };
            let codes = commit(&mut node, version, stranger, &topic, 1).await;
            assert_eq!(codes, [absent, 3]);
        }
        node.restart().await;
        for version in 1..=10 {
            let committed_by = 2 + version.max(2) - 2;
            let group = format!("g{committed_by}");
            let offset = 100 + i64::from(committed_by);
            let epoch = if version >= 5 && committed_by >= 6 {
                3
            } else {
                -1
            };
            let kept = (offset, epoch, "note".to_owned(), 0);
            let told = fetch(&mut node, version, &group, Some(&topic)).await;
            assert_eq!(told, std::slice::from_ref(&kept));
            if version >= 2 {
                assert_eq!(fetch(&mut node, version, &group, None).await, [kept]);
            }
            let nothing = (-1, -1, String::new(), 0);
            assert_eq!(
                fetch(&mut node, version, "nobody", Some(&topic)).await,
                [nothing]
            );
        }
        let mut unknown = topic.clone();
        unknown.id = TopicId::from_bytes([7; 16]).into();
        let told = fetch(&mut node, 10, "g10", Some(&unknown)).await;
        assert_eq!(told, [(-1, -1, String::new(), 100)]);
    });
}

#[test]
fn groups_are_described_listed_and_deleted_at_every_version() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        let topic = node.topic("t", &[]).await;
        let joined = member(&mut node, 3, "g").await;
        let id = joined.member_id.to_string();
        sync(&mut node, 3, "g", &id).await;
        commit(&mut node, 8, ("g", &id, 1), &topic, 5).await;
        commit(&mut node, 8, ("alone", "", -1), &topic, 5).await;
        for version in 0..=6 {
            let group = describe(&mut node, version, "g").await;
            assert_eq!(
                (group.error_code, group.group_state.as_str()),
                (0, "Stable")
            );
            assert_eq!(
                (group.protocol_type.as_str(), group.protocol_data.as_str()),
                ("consumer", "range")
            );
            assert_eq!(group.members.len(), 1);
            let member = &group.members[0];
            assert_eq!(member.member_id.as_str(), id);
            assert_eq!(member.client_host.as_str(), "/127.0.0.1");
            assert_eq!(&member.member_assignment[..], b"all");
            let operations = if version >= 3 {
                1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11
            } else {
                i32::MIN
            };
            assert_eq!(group.authorized_operations, operations);
            let absent = describe(&mut node, version, "nobody").await;
            assert_eq!(absent.error_code, if version >= 6 { 69 } else { 0 });
            assert_eq!(absent.group_state.as_str(), "Dead");
        }
        for version in 0..=5 {
            let all = listed(&mut node, version, &[]).await;
            let names: Vec<_> = all.iter().map(|(name, _, _)| name.as_str()).collect();
            assert_eq!(names.len(), 2, "{names:?}");
            if version >= 4 {
                let kind = if version >= 5 { "classic" } else { "" };
                let row =
                    |name: &str, state: &str| (name.to_owned(), state.to_owned(), kind.to_owned());
                assert_eq!(
                    listed(&mut node, version, &["stable"]).await,
                    [row("g", "Stable")]
                );
                assert_eq!(
                    listed(&mut node, version, &["Empty", "x"]).await,
                    [row("alone", "Empty")]
                );
            }
        }
        for version in 0..=2 {
            assert_eq!(delete(&mut node, version, "g").await, 68);
            assert_eq!(delete(&mut node, version, "nobody").await, 69);
            assert_eq!(delete(&mut node, version, "").await, 69);
        }
        leave(&mut node, 3, "g", &id).await;
        assert_eq!(delete(&mut node, 2, "g").await, 0);
        node.restart().await;
        assert_eq!(delete(&mut node, 2, "g").await, 69);
        assert_eq!(delete(&mut node, 2, "alone").await, 0);
        assert_eq!(listed(&mut node, 5, &[]).await, []);
    });
}

#[test]
fn offsets_are_removed_unless_members_read_the_topic_and_go_with_the_topic() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        let read = node.topic("t", &[]).await;
        let other = node.topic("u", &[]).await;
        let joined = member(&mut node, 3, "g").await;
        let id = joined.member_id.to_string();
        sync(&mut node, 3, "g", &id).await;
        for topic in [&read, &other] {
            commit(&mut node, 8, ("g", &id, 1), topic, 5).await;
        }
        let mut request = OffsetDeleteRequest::default();
        request.group_id = "g".into();
        let of = |name: &str| {
            let mut topic = OffsetDeleteRequestTopic::default();
            topic.name = name.to_owned().into();
            topic.partitions = vec![OffsetDeleteRequestPartition::default()];
            topic
        };
        request.topics = vec![of("t"), of("u"), of("nowhere")];
        let response: OffsetDeleteResponse = node.client.ask(Api::OffsetDelete, 0, &request).await;
        let rows = response.topics.iter().flat_map(|topic| &topic.partitions);
        let codes: Vec<_> = rows.map(|row| row.error_code).collect();
        assert_eq!((response.error_code, codes), (0, vec![86, 0, 3]));
        request.group_id = "nobody".into();
        let response: OffsetDeleteResponse = node.client.ask(Api::OffsetDelete, 0, &request).await;
        assert_eq!(response.error_code, 69);
        assert_eq!(fetch(&mut node, 8, "g", None).await.len(), 1);
        node.remove_topic("t").await;
        assert_eq!(fetch(&mut node, 8, "g", None).await, []);
    });
}

#[test]
fn a_member_that_falls_silent_is_out_and_one_that_hangs_up_while_it_joins_was_never_in() {
    with(&[], async |mut node| {
        coordinator(&mut node).await;
        let joined = member(&mut node, 3, "g").await;
        let id = joined.member_id.to_string();
        sync(&mut node, 3, "g", &id).await;
        // A second one joins, and goes before the first has heard of it.
        let mut second = node.connect().await;
        let mut request = JoinGroupRequest::default();
        request.group_id = "g".into();
        request.session_timeout_ms = 10_000;
        request.protocol_type = "consumer".into();
        let mut protocol = JoinGroupRequestProtocol::default();
        protocol.name = "range".into();
        request.protocols = vec![protocol];
        let body = messages::encode(&request, 0).unwrap();
        second
            .send_request(Api::JoinGroup.key(), 0, false, &body)
            .await;
        while describe(&mut node, 0, "g").await.members.len() < 2 {
            node.world.pause(PAUSE).await;
        }
        drop(second);
        while describe(&mut node, 0, "g").await.members.len() > 1 {
            node.world.pause(PAUSE).await;
        }
        assert_eq!(
            heartbeat(&mut node, 0, "g", &id).await,
            27,
            "it is to join again"
        );
        while describe(&mut node, 0, "g").await.group_state.as_str() != "Empty" {
            node.world.pause(PAUSE).await;
        }
        assert_eq!(heartbeat(&mut node, 0, "g", &id).await, 25);
    });
}

#[test]
fn lag_is_told_of_partitions_that_nobody_has_used_since_the_start() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        let topic = node.topic("t", &[]).await;
        let unread = node.topic("u", &[]).await;
        node.produce(&topic, batch(&["a", "b", "c", "d", "e"]))
            .await;
        for topic in [&topic, &unread] {
            commit(&mut node, 8, ("g", "", -1), topic, 2).await;
        }
        let lag = |node: &Node, topic| {
            let line = format!("millrace_group_lag_records{{group=\"g\",topic=\"{topic}\"}}");
            node.metric(&line)
        };
        assert_eq!((lag(&node, "t"), lag(&node, "u")), (3, 0));
        node.restart().await;
        // The shard that keeps the group is loaded; the topic's partition isn't open.
        while describe(&mut node, 0, "g").await.group_state.as_str() != "Empty" {
            node.world.pause(PAUSE).await;
        }
        assert_eq!((lag(&node, "t"), lag(&node, "u")), (3, 0));
        // An id that no page could hold a thousand times has no series.
        let long = "x".repeat(250);
        commit(&mut node, 8, (&long, "", -1), &topic, 2).await;
        let line = format!("millrace_group_members{{group=\"{long}\"}}");
        let text = node.broker.as_ref().unwrap().metrics_text();
        assert!(!text.contains(&line) && text.contains("millrace_groups{state=\"Empty\"} 2"));
    });
}
