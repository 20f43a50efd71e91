//! What members and tools ask of a coordinator, each time at any version that both sides speak.
//!
//! What always holds: a request says what its version can say and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_client::{Answer, Call, Client, Error, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millrace_protocol::messages::leave_group_request::MemberIdentity;
use millrace_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millrace_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millrace_protocol::messages::{
    self, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest,
};
use millrace_protocol::responses::Request;

use super::wire::Place;

/// What members of a group speak.
const PROTOCOL_TYPE: &str = "consumer";

/// Who asks, and as which member of which generation.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat {
    pub(super) group: String,
    pub(super) member_id: String,
    pub(super) instance: Option<String>,
    pub(super) generation: i32,
    /// The protocol that was chosen.
    pub(super) protocol: String,
    /// Before the join, and after its answer, as the book counts.
    pub(super) joined: (u64, u64),
}

/// How a member joins.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    pub(super) seat: Seat,
    pub(super) session_ms: i32,
    pub(super) rebalance_ms: i32,
    pub(super) subscription: Vec<u8>,
}

/// What a join came to.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) code: ErrorCode,
    pub(super) member_id: String,
    pub(super) generation: i32,
    pub(super) leader: String,
    pub(super) skip_assignment: bool,
    /// For the leader: ids, static names where the version tells them, and what they said.
    pub(super) members: Vec<(String, Option<String>, Vec<u8>)>,
}

/// Offsets to be committed: the topic, the partition, the offset and what stands beside it.
pub(super) type Offsets<'a> = &'a [(&'a Topic, i32, i64, String)];

/// A version of an API, by a number that was drawn.
pub(super) fn version<R: Request>(draw: u64) -> i16 {
    let served = R::API.row().served;
    let count = u64::from(served.max.abs_diff(served.min)) + 1;
    served.min + i16::try_from(draw % count).unwrap_or(0)
}

/// Asks at a version.
pub(super) async fn ask<R: Request>(
    client: &Client,
    version: i16,
    request: &R,
) -> Result<Answer<R>, Error> {
    let call = Call {
        api_key: R::API.key(),
        api_version: version,
        flexible: R::API.row().is_flexible(version),
    };
    let body = messages::encode(request, version)?;
    let reply = client.connection().send(call, body).await?.wait().await?;
    Ok(client.answer(call, reply))
}

/// The code that a number is.
pub(super) fn code(number: i16) -> ErrorCode {
    ErrorCode::from_code(number).unwrap_or(ErrorCode::UnknownServerError)
}

/// A code as an error that passes, or doesn't.
pub(super) fn refused(what: &str, code: ErrorCode) -> Error {
    Error::Broker {
        what: what.to_owned(),
        code,
    }
}

/// Fails on a code that asks for patience.
pub(super) fn bear(what: &str, code: ErrorCode) -> Result<ErrorCode, Error> {
    let passes = [
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
        ErrorCode::RequestTimedOut,
    ];
    if passes.contains(&code) {
        return Err(refused(what, code));
    }
    Ok(code)
}

/// Whether the group's coordinator is known; the topic that keeps groups is made by it.
pub(super) async fn find(client: &Client, group: &str, draw: u64) -> Result<ErrorCode, Error> {
    let version = version::<FindCoordinatorRequest>(draw);
    let mut request = FindCoordinatorRequest::default();
    if version < 4 {
        request.key = group.to_owned().into();
    } else {
        request.coordinator_keys = vec![group.to_owned().into()];
    }
    let answer = ask(client, version, &request).await?;
    let answer = answer.read()?;
    let row = answer.coordinators.into_iter().next();
    let found = row.map_or(answer.error_code, |row| row.error_code);
    bear("to find a coordinator", code(found))
}

/// Joins. A static member says so in versions that can.
pub(super) async fn join(client: &Client, joining: &Joining, draw: u64) -> Result<Joined, Error> {
    let seat = &joining.seat;
    let version = version::<JoinGroupRequest>(draw);
    let version = if seat.instance.is_some() {
        version.max(5)
    } else {
        version
    };
    let mut request = JoinGroupRequest::default();
    request.group_id = seat.group.clone().into();
    request.session_timeout_ms = joining.session_ms;
    if version >= 1 {
        request.rebalance_timeout_ms = joining.rebalance_ms;
    }
    if version >= 5 {
        request.group_instance_id = seat.instance.clone().map(Into::into);
    }
    request.member_id = seat.member_id.clone().into();
    request.protocol_type = PROTOCOL_TYPE.into();
    let mut protocol = JoinGroupRequestProtocol::default();
    protocol.name = seat.protocol.clone().into();
    protocol.metadata = Bytes::from(joining.subscription.clone());
    request.protocols = vec![protocol];
    let answer = ask(client, version, &request).await?;
    let answer = answer.read()?;
    let members = answer.members.into_iter().map(|member| {
        let instance = member.group_instance_id.map(str::to_owned);
        (
            member.member_id.to_owned(),
            instance,
            member.metadata.to_vec(),
        )
    });
    Ok(Joined {
        code: bear("to join", code(answer.error_code))?,
        member_id: answer.member_id.to_owned(),
        generation: answer.generation_id,
        leader: answer.leader.to_owned(),
        skip_assignment: answer.skip_assignment,
        members: members.collect(),
    })
}

/// Asks for the assignment, with everyone's from the leader.
pub(super) async fn sync(
    client: &Client,
    seat: &Seat,
    assignments: &BTreeMap<String, Vec<u8>>,
    draw: u64,
) -> Result<(ErrorCode, Vec<u8>), Error> {
    let version = version::<SyncGroupRequest>(draw);
    let mut request = SyncGroupRequest::default();
    request.group_id = seat.group.clone().into();
    request.generation_id = seat.generation;
    request.member_id = seat.member_id.clone().into();
    if version >= 3 {
        request.group_instance_id = seat.instance.clone().map(Into::into);
    }
    if version >= 5 {
        request.protocol_type = Some(PROTOCOL_TYPE.into());
        request.protocol_name = Some(seat.protocol.clone().into());
    }
    let rows = assignments.iter().map(|(id, bytes)| {
        let mut row = SyncGroupRequestAssignment::default();
        row.member_id = id.clone().into();
        row.assignment = Bytes::from(bytes.clone());
        row
    });
    request.assignments = rows.collect();
    let answer = ask(client, version, &request).await?;
    let answer = answer.read()?;
    let code = bear("an assignment", code(answer.error_code))?;
    Ok((code, answer.assignment.to_vec()))
}

/// Says that a member lives.
pub(super) async fn heartbeat(client: &Client, seat: &Seat, draw: u64) -> Result<ErrorCode, Error> {
    let version = version::<HeartbeatRequest>(draw);
    let mut request = HeartbeatRequest::default();
    request.group_id = seat.group.clone().into();
    request.generation_id = seat.generation;
    request.member_id = seat.member_id.clone().into();
    if version >= 3 {
        request.group_instance_id = seat.instance.clone().map(Into::into);
    }
    let answer = ask(client, version, &request).await?;
    bear("a heartbeat", code(answer.read()?.error_code))
}

/// Leaves.
pub(super) async fn leave(client: &Client, seat: &Seat, draw: u64) -> Result<ErrorCode, Error> {
    let version = version::<LeaveGroupRequest>(draw);
    let mut request = LeaveGroupRequest::default();
    request.group_id = seat.group.clone().into();
    if version < 3 {
        request.member_id = seat.member_id.clone().into();
    } else {
        let mut member = MemberIdentity::default();
        member.member_id = seat.member_id.clone().into();
        member.group_instance_id = seat.instance.clone().map(Into::into);
        request.members = vec![member];
    }
    let answer = ask(client, version, &request).await?;
    let answer = answer.read()?;
    let row = answer.members.into_iter().next();
    let of_member = row.map_or(0, |row| row.error_code);
    let first = if answer.error_code == 0 {
        of_member
    } else {
        answer.error_code
    };
    bear("to leave", code(first))
}

/// Commits; a code for each offset. `keep_ms` is said in versions that can.
pub(super) async fn commit(
    client: &Client,
    seat: &Seat,
    (version, keep_ms): (i16, i64),
    offsets: Offsets<'_>,
) -> Result<Vec<ErrorCode>, Error> {
    let mut request = OffsetCommitRequest::default();
    request.group_id = seat.group.clone().into();
    request.generation_id_or_member_epoch = seat.generation;
    request.member_id = seat.member_id.clone().into();
    if version >= 7 {
        request.group_instance_id = seat.instance.clone().map(Into::into);
    }
    if (2..=4).contains(&version) {
        request.retention_time_ms = keep_ms;
    }
    let topics: BTreeSet<&str> = offsets
        .iter()
        .map(|(topic, ..)| topic.name.as_str())
        .collect();
    let mut order = Vec::new();
    for name in topics {
        let mut of = OffsetCommitRequestTopic::default();
        let rows = offsets.iter().enumerate();
        for (at, (topic, number, offset, beside)) in rows.filter(|(_, row)| row.0.name == name) {
            if version >= 10 {
                of.topic_id = topic.id.into();
            } else {
                of.name = topic.name.clone().into();
            }
            let mut row = OffsetCommitRequestPartition::default();
            row.partition_index = *number;
            row.committed_offset = *offset;
            row.committed_metadata = Some(beside.clone().into());
            of.partitions.push(row);
            order.push(at);
        }
        request.topics.push(of);
    }
    let answer = ask(client, version, &request).await?;
    let answer = answer.read()?;
    let rows = answer.topics.into_iter().flat_map(|topic| topic.partitions);
    let mut codes = vec![ErrorCode::UnknownServerError; offsets.len()];
    for (at, row) in order.into_iter().zip(rows) {
        codes[at] = code(row.error_code);
    }
    Ok(codes)
}

/// What a group keeps of a place: the offset and what stands beside it.
pub(super) type Kept = BTreeMap<Place, (i64, String)>;
