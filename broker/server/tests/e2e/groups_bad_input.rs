//! What no member of a group should do: whoever does it gets Kafka's error, everyone else goes on,
//! no group is stuck, and what was held for it is given back.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use millrace_protocol::api::Api;
use millrace_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millrace_protocol::messages::leave_group_request::MemberIdentity;
use millrace_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millrace_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use millrace_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millrace_protocol::messages::{
    self, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    SyncGroupRequest, SyncGroupResponse,
};

use crate::node::{Node, with};
use crate::wire::Client;

/// Between two looks at what is to change by itself.
const PAUSE: Duration = Duration::from_millis(100);
/// What changes by itself has changed after so many looks.
const LOOKS_MAX: usize = 3000;
/// The longest text of the protocol.
const TEXT_BYTES_MAX: usize = 32_767;
/// Sessions and rebalances here, in milliseconds.
const SESSION_MS: i32 = 10_000;

const AT_ONCE: [(&str, &str); 1] = [("group.initial.rebalance.delay.ms", "0")];

async fn coordinator(node: &mut Node) {
    let mut request = FindCoordinatorRequest::default();
    request.key = "g".into();
    let response: FindCoordinatorResponse =
        node.client.ask(Api::FindCoordinator, 0, &request).await;
    assert_eq!((response.error_code, response.node_id), (0, 1));
}

fn join_request(version: i16, group: &str, member: &str) -> JoinGroupRequest {
    let mut request = JoinGroupRequest::default();
    request.group_id = group.to_owned().into();
    request.session_timeout_ms = SESSION_MS;
    if version >= 1 {
        request.rebalance_timeout_ms = SESSION_MS;
    }
    request.member_id = member.to_owned().into();
    request.protocol_type = "consumer".into();
    let mut protocol = JoinGroupRequestProtocol::default();
    protocol.name = "range".into();
    protocol.metadata = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff".as_slice().into();
    request.protocols = vec![protocol];
    request
}

async fn join(client: &mut Client, version: i16, request: &JoinGroupRequest) -> JoinGroupResponse {
    client.ask(Api::JoinGroup, version, request).await
}

/// Asks to join and does not wait for the answer.
async fn begin_join(client: &mut Client, group: &str, member: &str) {
    let body = messages::encode(&join_request(3, group, member), 3).unwrap();
    client
        .send_request(Api::JoinGroup.key(), 3, false, &body)
        .await;
}

fn sync_request(group: &str, member: &str, generation: i32) -> SyncGroupRequest {
    let mut request = SyncGroupRequest::default();
    request.group_id = group.to_owned().into();
    request.generation_id = generation;
    request.member_id = member.to_owned().into();
    let mut assignment = SyncGroupRequestAssignment::default();
    assignment.member_id = member.to_owned().into();
    assignment.assignment = b"all".as_slice().into();
    request.assignments = vec![assignment];
    request
}

/// A member alone in a group, with its assignment.
async fn member(node: &mut Node, group: &str) -> String {
    let joined = join(&mut node.client, 3, &join_request(3, group, "")).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    let id = joined.member_id.to_string();
    let request = sync_request(group, &id, 1);
    let synced: SyncGroupResponse = node.client.ask(Api::SyncGroup, 3, &request).await;
    assert_eq!(synced.error_code, 0);
    id
}

async fn heartbeat(
    node: &mut Node,
    (group, member, instance, generation): (&str, &str, Option<&str>, i32),
) -> i16 {
    let mut request = HeartbeatRequest::default();
    request.group_id = group.to_owned().into();
    request.generation_id = generation;
    request.member_id = member.to_owned().into();
    request.group_instance_id = instance.map(|instance| instance.to_owned().into());
    let response: HeartbeatResponse = node.client.ask(Api::Heartbeat, 4, &request).await;
    response.error_code
}

async fn commit(
    node: &mut Node,
    (group, member, generation): (&str, &str, i32),
    (topic, metadata): (&str, &str),
) -> i16 {
    let mut partition = OffsetCommitRequestPartition::default();
    partition.committed_offset = 5;
    partition.committed_metadata = Some(metadata.to_owned().into());
    let mut of = OffsetCommitRequestTopic::default();
    of.name = topic.to_owned().into();
    of.partitions = vec![partition];
    let mut request = OffsetCommitRequest::default();
    request.group_id = group.to_owned().into();
    request.generation_id_or_member_epoch = generation;
    request.member_id = member.to_owned().into();
    request.topics = vec![of];
    let response: OffsetCommitResponse = node.client.ask(Api::OffsetCommit, 8, &request).await;
    response.topics[0].partitions[0].error_code
}

async fn delete(node: &mut Node, groups: &[&str]) -> Vec<i16> {
    let mut request = DeleteGroupsRequest::default();
    request.groups_names = groups
        .iter()
        .map(|group| (*group).to_owned().into())
        .collect();
    let response: DeleteGroupsResponse = node.client.ask(Api::DeleteGroups, 2, &request).await;
    response.results.iter().map(|row| row.error_code).collect()
}

async fn leave(node: &mut Node, group: &str, member: &str) -> i16 {
    let mut identity = MemberIdentity::default();
    identity.member_id = member.to_owned().into();
    let mut request = LeaveGroupRequest::default();
    request.group_id = group.to_owned().into();
    request.members = vec![identity];
    let response: LeaveGroupResponse = node.client.ask(Api::LeaveGroup, 5, &request).await;
    assert_eq!(response.error_code, 0);
    response.members[0].error_code
}

/// State and members of a group.
async fn seen(node: &mut Node, group: &str) -> (String, usize) {
    let mut request = DescribeGroupsRequest::default();
    request.groups = vec![group.to_owned().into()];
    let response: DescribeGroupsResponse = node.client.ask(Api::DescribeGroups, 5, &request).await;
    let row = &response.groups[0];
    (row.group_state.to_string(), row.members.len())
}

async fn until_seen(node: &mut Node, group: &str, wanted: (&str, usize)) {
    let mut last = seen(node, group).await;
    for _ in 0..LOOKS_MAX {
        if (last.0.as_str(), last.1) == wanted {
            return;
        }
        node.world.pause(PAUSE).await;
        last = seen(node, group).await;
    }
    panic!("{group} is {last:?} and never becomes {wanted:?}");
}

/// The same while a member says that it lives.
async fn until_seen_with(node: &mut Node, (group, id): (&str, &str), wanted: (&str, usize)) {
    for _ in 0..LOOKS_MAX {
        heartbeat(node, (group, id, None, 1)).await;
        let found = seen(node, group).await;
        if (found.0.as_str(), found.1) == wanted {
            return;
        }
        node.world.pause(PAUSE).await;
    }
    panic!("{group} never becomes {wanted:?}");
}

fn held_bytes(node: &Node) -> u64 {
    node.metric("millrace_groups_bytes")
}

#[test]
fn members_that_are_unknown_stale_or_fenced_are_told_so_and_the_right_one_goes_on() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        node.topic("t", &[]).await;
        let id = member(&mut node, "g").await;
        let mut request = join_request(5, "static", "");
        request.group_instance_id = Some("a".into());
        let old = join(&mut node.client, 5, &request).await;
        let sync = sync_request("static", old.member_id.as_str(), 1);
        let synced: SyncGroupResponse = node.client.ask(Api::SyncGroup, 3, &sync).await;
        assert_eq!(synced.error_code, 0);
        let new = join(&mut node.client, 5, &request).await;
        assert_eq!((new.error_code, new.generation_id), (0, 1));
        let (old, new) = (old.member_id.to_string(), new.member_id.to_string());
        for (asked, code) in [
            (("g", id.as_str(), None, 1), 0),
            (("g", "who", None, 1), 25),
            (("g", "", None, 1), 25),
            (("g", id.as_str(), None, 0), 22),
            (("g", id.as_str(), None, i32::MAX), 22),
            (("g", id.as_str(), Some("a"), 1), 25),
            (("static", old.as_str(), Some("a"), 1), 82),
            (("static", old.as_str(), None, 1), 25),
            (("static", new.as_str(), Some("b"), 1), 25),
            (("static", new.as_str(), Some("a"), 1), 0),
            (("nowhere", id.as_str(), None, 1), 25),
        ] {
            assert_eq!(heartbeat(&mut node, asked).await, code, "{asked:?}");
        }
        for (asked, code) in [
            (("g", id.as_str(), 1), 0),
            (("g", "who", 1), 25),
            (("g", id.as_str(), 2), 22),
            (("g", "", -1), 25),
            (("nowhere", "m", 0), 22),
            (("nowhere", "", -1), 0),
        ] {
            assert_eq!(
                commit(&mut node, asked, ("t", "")).await,
                code,
                "a commit by {asked:?}"
            );
        }
        assert_eq!(leave(&mut node, "g", "who").await, 25);
        assert_eq!(seen(&mut node, "g").await, ("Stable".to_owned(), 1));
    });
}

#[test]
fn joins_that_cannot_be_are_refused_and_make_no_group() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        let before = held_bytes(&node);
        let mut nothing = join_request(9, "x", "");
        nothing.protocols.clear();
        let mut nameless = join_request(9, "x", "");
        nameless.protocol_type = "".into();
        let mut hasty = join_request(9, "x", "");
        hasty.session_timeout_ms = 5_999;
        let mut patient = join_request(9, "x", "");
        patient.session_timeout_ms = 1_800_001;
        let mut endless = join_request(9, "x", "");
        endless.group_instance_id = Some("i".repeat(TEXT_BYTES_MAX).into());
        let stranger = join_request(9, "x", "who");
        let unnamed = join_request(9, "", "");
        for (request, code) in [
            (nothing, 23),
            (nameless, 23),
            (hasty, 26),
            (patient, 26),
            (endless, 42),
            (stranger, 25),
            (unnamed, 24),
        ] {
            let joined = join(&mut node.client, 9, &request).await;
            assert_eq!(joined.error_code, code, "{request:?}");
            assert_eq!((joined.generation_id, joined.protocol_name), (-1, None));
            assert_eq!(seen(&mut node, "x").await, ("Dead".to_owned(), 0));
        }
        assert_eq!(held_bytes(&node), before);
        let id = member(&mut node, "g").await;
        let mut other = join_request(3, "g", "");
        other.protocols[0].name = "sticky".into();
        assert_eq!(join(&mut node.client, 3, &other).await.error_code, 23);
        let mut connect = join_request(3, "g", "");
        connect.protocol_type = "connect".into();
        assert_eq!(join(&mut node.client, 3, &connect).await.error_code, 23);
        assert_eq!(heartbeat(&mut node, ("g", &id, None, 1)).await, 0);
    });
}

#[test]
fn ids_of_groups_may_be_long_or_odd_but_no_longer_than_a_text() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        node.topic("t", &[]).await;
        let before = held_bytes(&node);
        let long = "x".repeat(TEXT_BYTES_MAX);
        for group in ["a\u{1}b\n\"}", " ", "größe", "../..", long.as_str()] {
            let id = member(&mut node, group).await;
            assert_eq!(commit(&mut node, (group, &id, 1), ("t", "")).await, 0);
            assert!(
                held_bytes(&node) > before + group.len() as u64,
                "its id is counted"
            );
            node.restart().await;
            assert_eq!(seen(&mut node, group).await, ("Stable".to_owned(), 1));
            assert_eq!(leave(&mut node, group, &id).await, 0);
            assert_eq!(delete(&mut node, &[group, group]).await, [0]);
            until_held(&mut node, before).await;
        }
        // One that holds more than a text can is not read at all.
        let mut body = BytesMut::new();
        body.put_slice(b"\x02\x81\x80\x04");
        body.put_bytes(b'x', 1 << 16);
        body.put_slice(b"\0\0");
        let mut sender = node.connect().await;
        sender
            .send_request(Api::DescribeGroups.key(), 6, true, &body)
            .await;
        assert_eq!(sender.reply().await, None, "the connection is closed");
        assert!(node.client.is_served().await, "everyone else is served");
        // A group without a name has offsets alone.
        assert_eq!(commit(&mut node, ("", "", -1), ("t", "")).await, 0);
        let mut offsets = OffsetDeleteRequest::default();
        let mut topic = OffsetDeleteRequestTopic::default();
        topic.name = "t".into();
        topic.partitions = vec![OffsetDeleteRequestPartition::default()];
        offsets.topics = vec![topic];
        let deleted: OffsetDeleteResponse = node.client.ask(Api::OffsetDelete, 0, &offsets).await;
        assert_eq!((deleted.error_code, deleted.topics.len()), (24, 0));
        assert_eq!(delete(&mut node, &[""]).await, [0]);
        until_held(&mut node, before).await;
    });
}

async fn until_held(node: &mut Node, bytes: u64) {
    for _ in 0..LOOKS_MAX {
        if held_bytes(node) == bytes {
            return;
        }
        node.world.pause(PAUSE).await;
    }
    assert_eq!(held_bytes(node), bytes, "what was held is given back");
}

#[test]
fn offsets_that_cannot_be_kept_are_refused_one_by_one() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        node.topic("t", &[]).await;
        let alone = ("g", "", -1);
        assert_eq!(commit(&mut node, alone, ("nope", "")).await, 3);
        assert_eq!(seen(&mut node, "g").await.0, "Dead", "nothing was kept");
        let long = "m".repeat(4097);
        assert_eq!(commit(&mut node, alone, ("t", &long)).await, 12);
        assert_eq!(commit(&mut node, alone, ("t", &long[1..])).await, 0);
        node.remove_topic("t").await;
        assert_eq!(commit(&mut node, alone, ("t", "")).await, 3);
        // The topic's offsets go with it.
        until_held(&mut node, 0).await;
    });
}

#[test]
fn a_thousand_joins_of_clients_that_never_come_back_leave_nothing() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        let id = member(&mut node, "g").await;
        let before = held_bytes(&node);
        // They ask for ids, and do not use them.
        for _ in 0..1000 {
            let joined = join(&mut node.client, 9, &join_request(9, "g", "")).await;
            assert_eq!(joined.error_code, 79);
        }
        assert!(held_bytes(&node) > before + 100_000, "they are counted");
        until_held_with(&mut node, &id, before).await;
        // They join, and hang up at once; the member joins again and is alone as before.
        for _ in 0..1000 {
            let mut client = node.connect().await;
            begin_join(&mut client, "g", "").await;
        }
        until_seen_with(&mut node, ("g", &id), ("PreparingRebalance", 1)).await;
        let joined = join(&mut node.client, 3, &join_request(3, "g", &id)).await;
        assert_eq!((joined.error_code, joined.members.len()), (0, 1));
        let request = sync_request("g", &id, joined.generation_id);
        let synced: SyncGroupResponse = node.client.ask(Api::SyncGroup, 3, &request).await;
        assert_eq!(synced.error_code, 0);
        until_held(&mut node, before).await;
    });
}

async fn until_held_with(node: &mut Node, id: &str, bytes: u64) {
    for _ in 0..LOOKS_MAX {
        assert_eq!(heartbeat(node, ("g", id, None, 1)).await, 0, "it goes on");
        if held_bytes(node) == bytes {
            return;
        }
        node.world.pause(PAUSE).await;
    }
    assert_eq!(held_bytes(node), bytes, "what was held is given back");
}

#[test]
fn members_that_vanish_in_any_phase_hold_nobody_up_for_longer_than_they_asked() {
    with(&AT_ONCE, async |mut node| {
        coordinator(&mut node).await;
        // After it was given an id.
        let asked = join(&mut node.client, 4, &join_request(4, "id", "")).await;
        assert_eq!(asked.error_code, 79);
        until_seen(&mut node, "id", ("Dead", 0)).await;
        // After it joined, before it brings an assignment.
        let joined = join(&mut node.client, 3, &join_request(3, "joined", "")).await;
        assert_eq!(joined.error_code, 0);
        until_seen(&mut node, "joined", ("Empty", 0)).await;
        // While it has its assignment.
        member(&mut node, "stable").await;
        until_seen(&mut node, "stable", ("Empty", 0)).await;
        // While others join again: the one who does is alone then.
        member(&mut node, "again").await;
        let mut second = node.connect().await;
        let joined = join(&mut second, 3, &join_request(3, "again", "")).await;
        assert_eq!((joined.error_code, joined.members.len()), (0, 1));
        // The leader, while another one waits for its assignment.
        until_seen(&mut node, "again", ("Empty", 0)).await;
        let (first, second) = two(&mut node, "led").await;
        let mut follower = node.connect().await;
        let request = sync_request("led", &second, 2);
        let synced: SyncGroupResponse = follower.ask(Api::SyncGroup, 3, &request).await;
        assert_eq!(synced.error_code, 27, "it is to join again");
        let joined = join(&mut follower, 3, &join_request(3, "led", &second)).await;
        assert_eq!((joined.error_code, joined.members.len()), (0, 1));
        assert_eq!(heartbeat(&mut node, ("led", &first, None, 2)).await, 25);
        // A follower, while it waits.
        until_seen(&mut node, "led", ("Empty", 0)).await;
        let (first, second) = two(&mut node, "waits").await;
        let mut follower = node.connect().await;
        let body = messages::encode(&sync_request("waits", &second, 2), 3).unwrap();
        follower
            .send_request(Api::SyncGroup.key(), 3, false, &body)
            .await;
        drop(follower);
        let request = sync_request("waits", &first, 2);
        let synced: SyncGroupResponse = node.client.ask(Api::SyncGroup, 3, &request).await;
        assert_eq!(synced.error_code, 0);
        until_seen(&mut node, "waits", ("Empty", 0)).await;
        let groups = ["joined", "stable", "again", "led", "waits"];
        assert_eq!(delete(&mut node, &groups).await, [0; 5]);
        until_held(&mut node, 0).await;
    });
}

/// Two members that have joined generation 2 and have no assignment; the first one leads.
async fn two(node: &mut Node, group: &str) -> (String, String) {
    let first = member(node, group).await;
    let mut other = node.connect().await;
    begin_join(&mut other, group, "").await;
    until_seen_with(node, (group, &first), ("PreparingRebalance", 2)).await;
    let joined = join(&mut node.client, 3, &join_request(3, group, &first)).await;
    assert_eq!((joined.generation_id, joined.members.len()), (2, 2));
    let ids = joined.members.iter().map(|row| row.member_id.to_string());
    let second = ids.filter(|id| *id != first).collect();
    // The second one has its answer; its connection is not needed any more.
    assert!(other.reply().await.is_some());
    (first, second)
}

#[test]
fn at_the_limit_of_memory_nobody_new_comes_and_members_go_on() {
    let pairs = [
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.state.bytes.max", "1048576"),
    ];
    with(&pairs, async |mut node| {
        coordinator(&mut node).await;
        node.topic("t", &[]).await;
        let id = member(&mut node, "g").await;
        let mut refused = 0;
        for nth in 0..100 {
            let group = format!("{nth}{}", "x".repeat(30_000));
            match commit(&mut node, (&group, "", -1), ("t", "")).await {
                0 => {}
                15 => refused += 1,
                other => panic!("{other}"),
            }
        }
        assert!(refused > 50, "{refused} are refused");
        assert!(held_bytes(&node) < 2 << 20);
        let joined = join(&mut node.client, 3, &join_request(3, "new", "")).await;
        assert_eq!(joined.error_code, 15);
        assert_eq!(heartbeat(&mut node, ("g", &id, None, 1)).await, 0);
        assert_eq!(commit(&mut node, ("g", &id, 1), ("t", "")).await, 0);
        for nth in 0..100 {
            let group = format!("{nth}{}", "x".repeat(30_000));
            delete(&mut node, &[&group]).await;
        }
        member(&mut node, "new").await;
    });
}
