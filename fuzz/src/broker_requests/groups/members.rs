//! What members ask.

use std::collections::BTreeSet;

use bytes::Bytes;
use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millrace_protocol::messages::leave_group_request::MemberIdentity;
use millrace_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millrace_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::model::{Member, Phase, REBALANCE, SESSION};
use super::{is_to_wait, may_be};
use crate::broker_requests::wire::Wire;
use crate::broker_requests::{Run, text, version};
use crate::input::Input;

/// First version in which a new member must come back with its id.
const IDS_FROM: i16 = 4;
/// First version with static names.
const NAMES_FROM: i16 = 5;
/// First version that names the protocol in a sync.
const PROTOCOL_FROM: i16 = 5;
/// First version with several members that leave.
const SEVERAL_FROM: i16 = 3;
/// What all of them speak.
const SPOKEN: &str = "range";

/// Codes for somebody who may or may not be a member.
const ANY: [ErrorCode; 6] = [
    ErrorCode::None,
    ErrorCode::UnknownMemberId,
    ErrorCode::IllegalGeneration,
    ErrorCode::RebalanceInProgress,
    ErrorCode::FencedInstanceId,
    ErrorCode::InvalidGroupId,
];

fn joining(version: i16, group: &str, id: &str) -> JoinGroupRequest {
    let mut protocol = JoinGroupRequestProtocol::default();
    protocol.name = text(SPOKEN);
    // Version 0 of a subscription, to nothing: offsets of any topic may be removed.
    protocol.metadata = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut request = JoinGroupRequest::default();
    request.group_id = text(group);
    let in_ms = |span: std::time::Duration| i32::try_from(span.as_millis()).unwrap_or(i32::MAX);
    request.session_timeout_ms = in_ms(SESSION);
    if version >= 1 {
        request.rebalance_timeout_ms = in_ms(REBALANCE);
    }
    request.member_id = text(id);
    request.protocol_type = text("consumer");
    request.protocols = vec![protocol];
    request
}

impl Run<'_> {
    /// Some join at once, each on a connection of its own: new ones, and those that were members if
    /// they are to stay.
    pub(super) async fn join(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (Api::JoinGroup, version(Api::JoinGroup, input));
        let shape = input.byte();
        if name.is_empty() || (api.1 == 0 && shape & 1 == 0) {
            return self.join_unnamed(api).await;
        }
        let stay = shape & 8 != 0;
        let mut ids: Vec<String> = Vec::new();
        for _ in 0..=(shape % 3) {
            ids.push(self.id_for(api, name).await);
        }
        let group = self.group(name);
        if stay {
            ids.extend(group.members.iter().map(|member| member.id.clone()));
        }
        let mut wires = Vec::new();
        for id in &ids {
            let mut wire = Wire::connect(&self.client).await;
            wire.tell(api, &joining(api.1, name, id)).await;
            wires.push(wire);
        }
        let mut answers: Vec<JoinGroupResponse> = Vec::new();
        for wire in &mut wires {
            let answer: Option<JoinGroupResponse> = wire.answer(api).await;
            answers.push(answer.expect("it is answered"));
        }
        self.joined(name, &ids, &answers);
    }

    /// An id for a new member: none in versions that don't ask for one.
    async fn id_for(&mut self, api: (Api, i16), name: &str) -> String {
        if api.1 < IDS_FROM {
            return String::new();
        }
        let request = joining(api.1, name, "");
        let answer: JoinGroupResponse = self
            .coordinate(api, &request, |answer: &JoinGroupResponse| {
                answer.error_code
            })
            .await;
        may_be(&request, answer.error_code, &[ErrorCode::MemberIdRequired]);
        self.group(name).may_exist = true;
        answer.member_id.to_string()
    }

    /// A group without a name has no members, and a group has a name.
    async fn join_unnamed(&mut self, api: (Api, i16)) {
        let answer: JoinGroupResponse = self
            .coordinate(
                api,
                &joining(api.1, "", ""),
                |answer: &JoinGroupResponse| answer.error_code,
            )
            .await;
        may_be(&answer, answer.error_code, &[ErrorCode::InvalidGroupId]);
    }

    /// All that joined are members of one generation, led by one of them.
    fn joined(&mut self, name: &str, ids: &[String], answers: &[JoinGroupResponse]) {
        let now = self.client.clock.now().mono;
        let group = self.group(name);
        if answers.iter().any(|answer| is_to_wait(answer.error_code)) {
            return group.doubt();
        }
        let was_known = group.phase != Phase::Unsure;
        let first = &answers[0];
        for (answer, id) in answers.iter().zip(ids) {
            may_be(answer, answer.error_code, &[ErrorCode::None]);
            assert!(id.is_empty() || *answer.member_id == **id, "{answer:?}");
            assert_eq!(answer.generation_id, first.generation_id, "of one join");
            assert_eq!(answer.leader, first.leader, "of one join");
            let leads = answer.member_id == answer.leader;
            assert!(leads || answer.members.is_empty(), "{answer:?}");
        }
        let own: BTreeSet<&str> = answers.iter().map(|answer| &*answer.member_id).collect();
        assert_eq!(own.len(), answers.len(), "each has an id of its own");
        if was_known {
            let mut leaders = answers
                .iter()
                .filter(|answer| answer.member_id == answer.leader);
            let leader = leaders.next().expect("one of those that joined leads");
            let told = leader.members.iter().map(|member| &*member.member_id);
            assert_eq!(told.collect::<BTreeSet<_>>(), own);
            assert!(
                first.generation_id > group.generation,
                "{first:?} behind {}",
                group.generation
            );
        }
        group.generation = first.generation_id;
        group.may_exist = true;
        if !was_known {
            // Static members stay until their sessions end.
            return group.doubt();
        }
        let mut members: Vec<Member> = own
            .iter()
            .map(|id| Member {
                id: (*id).to_owned(),
                until: now + SESSION,
                part: Bytes::new(),
            })
            .collect();
        members.sort_by_key(|member| *member.id != *first.leader);
        group.members = members;
        group.phase = Phase::Joined(now + REBALANCE);
    }

    /// One joins under a static name, and takes the place of whoever has it.
    pub(super) async fn join_by_name(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (
            Api::JoinGroup,
            version(Api::JoinGroup, input).max(NAMES_FROM),
        );
        if name.is_empty() {
            return;
        }
        let mut request = joining(api.1, name, "");
        let instance = ["i", "k"][usize::from(input.byte() % 2)];
        request.group_instance_id = Some(text(instance));
        let answer: JoinGroupResponse = self
            .coordinate(api, &request, |answer: &JoinGroupResponse| {
                answer.error_code
            })
            .await;
        may_be(&answer, answer.error_code, &[ErrorCode::None]);
        let group = self.group(name);
        group.generation = answer.generation_id;
        group.doubt();
    }

    /// All ask for their parts, the leader with everybody's.
    pub(super) async fn sync(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (Api::SyncGroup, version(Api::SyncGroup, input));
        let (shape, drawn) = (input.byte(), input.byte());
        let group = self.group(name).clone();
        if !matches!(group.phase, Phase::Joined(_)) || group.members.is_empty() {
            return self.sync_again(api, name, shape).await;
        }
        let part = |at: usize| Bytes::from(vec![drawn; usize::from(shape % 32) + at]);
        let mut wires = Vec::new();
        for member in &group.members {
            let mut request = syncing(api.1, name, (&member.id, group.generation));
            if *member.id == *group.members[0].id {
                let rows = group.members.iter().enumerate().map(|(at, member)| {
                    let mut row = SyncGroupRequestAssignment::default();
                    row.member_id = text(&member.id);
                    row.assignment = part(at);
                    row
                });
                request.assignments = rows.collect();
            }
            let mut wire = Wire::connect(&self.client).await;
            wire.tell(api, &request).await;
            wires.push(wire);
        }
        for (at, wire) in wires.iter_mut().enumerate() {
            let answer: Option<SyncGroupResponse> = wire.answer(api).await;
            let answer = answer.expect("it is answered");
            may_be(&answer, answer.error_code, &[ErrorCode::None]);
            assert_eq!(answer.assignment, part(at), "of member {at}");
        }
        let now = self.client.clock.now().mono;
        let group = self.group(name);
        group.phase = Phase::Stable;
        for (at, member) in group.members.iter_mut().enumerate() {
            member.part = part(at);
            member.until = now + SESSION;
        }
    }

    /// Somebody asks for what it has, or what it never had.
    async fn sync_again(&mut self, api: (Api, i16), name: &str, shape: u8) {
        let group = self.group(name);
        let known = group.phase == Phase::Stable;
        let generation = group.generation + i32::from(shape & 1);
        let member = group.some(shape / 2).cloned();
        let id = member.as_ref().map_or("nobody", |member| &member.id);
        let request = syncing(api.1, name, (id, generation));
        let answer: SyncGroupResponse = self
            .coordinate(api, &request, |answer: &SyncGroupResponse| {
                answer.error_code
            })
            .await;
        let wanted = match &member {
            Some(_) if known && shape & 1 == 1 => ErrorCode::IllegalGeneration,
            Some(member) if known => {
                assert_eq!(answer.assignment, member.part);
                ErrorCode::None
            }
            _ => return may_be(&answer, answer.error_code, &ANY),
        };
        may_be(&answer, answer.error_code, &[wanted]);
    }

    /// A sign of life: of a member, of one in another generation, or of nobody.
    pub(super) async fn heartbeat(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (Api::Heartbeat, version(Api::Heartbeat, input));
        let shape = input.byte();
        let now = self.client.clock.now().mono;
        let group = self.group(name);
        let (phase, is_off) = (group.phase, shape & 1 == 1);
        let mut request = HeartbeatRequest::default();
        request.group_id = text(name);
        request.generation_id = group.generation + i32::from(is_off);
        let member = group.some(shape / 4).filter(|_| shape & 2 == 0);
        request.member_id = text(member.as_ref().map_or("nobody", |member| &member.id));
        let wanted = match (member, phase) {
            (_, _) if name.is_empty() => ErrorCode::InvalidGroupId,
            (_, Phase::Unsure) => {
                let answer = self.heard(api, &request).await;
                return may_be(&request, answer, &ANY);
            }
            (None, _) => ErrorCode::UnknownMemberId,
            (Some(_), _) if is_off => ErrorCode::IllegalGeneration,
            (Some(member), _) => {
                member.until = now + SESSION;
                ErrorCode::None
            }
        };
        let answer = self.heard(api, &request).await;
        may_be(&request, answer, &[wanted]);
    }

    async fn heard(&mut self, api: (Api, i16), request: &HeartbeatRequest) -> i16 {
        let answer: HeartbeatResponse = self
            .coordinate(api, request, |answer: &HeartbeatResponse| answer.error_code)
            .await;
        answer.error_code
    }

    /// One leaves, or nobody does.
    pub(super) async fn leave(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (Api::LeaveGroup, version(Api::LeaveGroup, input));
        let shape = input.byte();
        let group = self.group(name);
        let member = group.some(shape / 2).filter(|_| shape & 1 == 0);
        let id = member.as_ref().map(|member| member.id.clone());
        let phase = group.phase;
        let mut request = LeaveGroupRequest::default();
        request.group_id = text(name);
        let said = text(id.as_deref().unwrap_or("nobody"));
        if api.1 < SEVERAL_FROM {
            request.member_id = said;
        } else {
            let mut row = MemberIdentity::default();
            row.member_id = said;
            request.members = vec![row];
        }
        let code = |answer: &LeaveGroupResponse| match &answer.members[..] {
            [row, ..] if answer.error_code == 0 => row.error_code,
            _ => answer.error_code,
        };
        let answer: LeaveGroupResponse = self.coordinate(api, &request, code).await;
        let group = self.group(name);
        let wanted = match (&id, phase) {
            (_, _) if name.is_empty() => ErrorCode::InvalidGroupId,
            (_, Phase::Unsure) => return may_be(&answer, code(&answer), &ANY),
            (None, _) => ErrorCode::UnknownMemberId,
            (Some(id), _) => {
                group.members.retain(|member| member.id != *id);
                if group.members.is_empty() {
                    group.phase = Phase::Empty;
                    // Its end is a generation of its own.
                    group.generation += 1;
                } else {
                    group.doubt();
                }
                ErrorCode::None
            }
        };
        may_be(&answer, code(&answer), &[wanted]);
    }
}

fn syncing(version: i16, group: &str, (id, generation): (&str, i32)) -> SyncGroupRequest {
    let mut request = SyncGroupRequest::default();
    request.group_id = text(group);
    request.generation_id = generation;
    request.member_id = text(id);
    if version >= PROTOCOL_FROM {
        request.protocol_type = Some(text("consumer"));
        request.protocol_name = Some(text(SPOKEN));
    }
    request
}
