//! What a member asks its coordinator, and what the answers mean for it.
//!
//! What always holds: every error becomes one [`Fault`], by one table (KIP-62, KIP-345, KIP-394).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millrace_protocol::messages::leave_group_request::MemberIdentity;
use millrace_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millrace_protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};

use super::assignor::{Applicant, Assignor, Shares};
use super::member::{Fault, Partitions};
use super::options::GroupOptions;
use super::protocol::{self, Subscription};
use crate::client::refuse;
use crate::cluster::Cluster;
use crate::topics::milliseconds;
use crate::{Client, Error};

/// What members of a group of consumers speak.
const PROTOCOL_TYPE: &str = "consumer";
/// The request can name several groups from this version on (KIP-699).
const FIND_MANY: i16 = 4;
/// Members leave by a list from this version on (KIP-345).
const LEAVE_MANY: i16 = 3;
/// An answer to a request for which the broker waits for others may come that much later.
const GRACE: Duration = Duration::from_secs(5);

/// Another broker may coordinate the group.
const MOVED: [ErrorCode; 3] = [
    ErrorCode::NotCoordinator,
    ErrorCode::CoordinatorNotAvailable,
    ErrorCode::RequestTimedOut,
];

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) group: String,
    pub(super) instance_id: Option<String>,
    pub(super) member_id: String,
    pub(super) generation: i32,
}

/// The generation that a member has joined.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) member_id: String,
    pub(super) generation: i32,
    pub(super) assignor: Assignor,
    /// Everyone, if the member is to assign.
    pub(super) members: Option<BTreeMap<String, Applicant>>,
}

impl Fault {
    /// What an error means.
    pub(super) fn of(error: Error) -> Self {
        let Error::Broker { code, .. } = &error else {
            return if error.is_retriable() {
                Self::Moved(error)
            } else {
                Self::Final(error)
            };
        };
        let code = *code;
        if MOVED.contains(&code) {
            Self::Moved(error)
        } else if code == ErrorCode::RebalanceInProgress {
            Self::Rebalance
        } else if code == ErrorCode::UnknownMemberId {
            Self::UnknownMember
        } else if code == ErrorCode::IllegalGeneration {
            Self::StaleGeneration
        } else if code.is_retriable() {
            Self::Again(error)
        } else {
            Self::Final(error)
        }
    }
}

fn faulty(code: i16, what: impl FnOnce() -> String) -> Result<(), Fault> {
    refuse(code, what).map_err(Fault::of)
}

/// Asks who coordinates a group.
pub(super) async fn find(cluster: &Cluster, group: &str) -> Result<i32, Fault> {
    let found = async {
        let client = cluster.any_broker().await?;
        let mut request = FindCoordinatorRequest::default();
        let many = client.call_of::<FindCoordinatorRequest>()?.api_version >= FIND_MANY;
        if many {
            request.coordinator_keys = vec![group.into()];
        } else {
            request.key = group.into();
        }
        let answer = client.call(&request).await?;
        let answer = answer.read()?;
        let (code, id) = if many {
            let found = client.only(answer.coordinators, "coordinators")?;
            (found.error_code, found.node_id)
        } else {
            (answer.error_code, answer.node_id)
        };
        refuse(code, || format!("to say who coordinates group {group}"))?;
        let image = cluster.metadata();
        if !image.brokers.contains_key(&id) {
            cluster.refresh(image.generation).await?;
        }
        Ok(id)
    };
    found.await.map_err(Fault::of)
}

/// Joins, and waits for all others to have.
pub(super) async fn join(
    client: &Client,
    identity: &Identity,
    options: &GroupOptions,
    offers: &[(Assignor, Bytes)],
) -> Result<Joined, Fault> {
    let offer = |(assignor, metadata): &(Assignor, Bytes)| {
        let mut protocol = JoinGroupRequestProtocol::default();
        protocol.name = assignor.name().into();
        protocol.metadata = metadata.clone();
        protocol
    };
    let mut request = JoinGroupRequest::default();
    request.group_id = identity.group.as_str().into();
    request.session_timeout_ms = milliseconds(options.session_timeout);
    request.rebalance_timeout_ms = milliseconds(options.poll_interval_max);
    request.member_id = identity.member_id.as_str().into();
    request.group_instance_id = identity.instance_id.as_deref().map(Into::into);
    request.protocol_type = PROTOCOL_TYPE.into();
    request.protocols = offers.iter().map(offer).collect();
    let patience = options.poll_interval_max + GRACE;
    let answered = async { client.send(&request).await?.allow(patience).wait().await };
    let answer = answered.await.map_err(Fault::of)?;
    let answer = answer.read().map_err(Fault::of)?;
    if answer.error_code == ErrorCode::MemberIdRequired.code() {
        return Err(Fault::TakeId(answer.member_id.to_owned()));
    }
    faulty(answer.error_code, || {
        format!("to let a member join group {}", identity.group)
    })?;
    let chosen = answer.protocol_name.unwrap_or_default();
    let mut offered = offers.iter().map(|(assignor, _)| *assignor);
    let Some(assignor) = offered.find(|offered| offered.name() == chosen) else {
        let reason = format!("the group uses assignor {chosen:?}, which wasn't offered");
        return Err(Fault::Final(client.malformed(reason)));
    };
    let leads = answer.leader == answer.member_id && !answer.skip_assignment;
    let members = leads.then(|| {
        let told = answer.members.into_iter();
        told.map(|told| {
            let instance_id = told.group_instance_id.map(str::to_owned);
            let applicant = applicant(told.member_id, instance_id, told.metadata);
            (told.member_id.to_owned(), applicant)
        })
        .collect()
    });
    Ok(Joined {
        member_id: answer.member_id.to_owned(),
        generation: answer.generation_id,
        assignor,
        members,
    })
}

/// One whose words can't be read gets nothing: the others shall not suffer for it.
fn applicant(member_id: &str, instance_id: Option<String>, metadata: &[u8]) -> Applicant {
    let subscription = Subscription::decode(metadata).unwrap_or_else(|| {
        tracing::warn!(member_id, "a member's subscription can't be read");
        Subscription::default()
    });
    Applicant {
        instance_id,
        subscription,
    }
}

/// Hears what is assigned, when the leader has said so; says so as the leader.
pub(super) async fn sync(
    client: &Client,
    identity: &Identity,
    assignor: Assignor,
    shares: &Shares,
    patience: Duration,
) -> Result<Partitions, Fault> {
    let assignment = |(member_id, share): (&String, &Partitions)| {
        let mut assignment = SyncGroupRequestAssignment::default();
        assignment.member_id = member_id.as_str().into();
        assignment.assignment = protocol::encode_assignment(share);
        assignment
    };
    let mut request = SyncGroupRequest::default();
    request.group_id = identity.group.as_str().into();
    request.generation_id = identity.generation;
    request.member_id = identity.member_id.as_str().into();
    request.group_instance_id = identity.instance_id.as_deref().map(Into::into);
    request.protocol_type = Some(PROTOCOL_TYPE.into());
    request.protocol_name = Some(assignor.name().into());
    request.assignments = shares.iter().map(assignment).collect();
    let answered = async { client.send(&request).await?.allow(patience).wait().await };
    let answer = answered.await.map_err(Fault::of)?;
    let answer = answer.read().map_err(Fault::of)?;
    faulty(answer.error_code, || {
        format!("to tell what is assigned in group {}", identity.group)
    })?;
    protocol::decode_assignment(answer.assignment).ok_or_else(|| {
        let reason = format!(
            "what group {}'s leader assigned can't be read",
            identity.group
        );
        Fault::Final(client.malformed(reason))
    })
}

/// Gives a sign of life.
pub(super) async fn heartbeat(client: &Client, identity: &Identity) -> Result<(), Fault> {
    let mut request = HeartbeatRequest::default();
    request.group_id = identity.group.as_str().into();
    request.generation_id = identity.generation;
    request.member_id = identity.member_id.as_str().into();
    request.group_instance_id = identity.instance_id.as_deref().map(Into::into);
    let answer = client.call(&request).await.map_err(Fault::of)?;
    let answer = answer.read().map_err(Fault::of)?;
    faulty(answer.error_code, || {
        format!("a member's sign of life in group {}", identity.group)
    })
}

/// Says that the member leaves.
pub(super) async fn leave(client: &Client, identity: &Identity) -> Result<(), Fault> {
    let left = async {
        let mut request = LeaveGroupRequest::default();
        request.group_id = identity.group.as_str().into();
        if client.call_of::<LeaveGroupRequest>()?.api_version >= LEAVE_MANY {
            let mut member = MemberIdentity::default();
            member.member_id = identity.member_id.as_str().into();
            request.members = vec![member];
        } else {
            request.member_id = identity.member_id.as_str().into();
        }
        let answer = client.call(&request).await?;
        let answer = answer.read()?;
        let each = answer.members.into_iter().map(|member| member.error_code);
        for code in std::iter::once(answer.error_code).chain(each) {
            refuse(code, || {
                format!("to let a member leave group {}", identity.group)
            })?;
        }
        Ok(())
    };
    left.await.map_err(Fault::of)
}

/// Topics by name, so that one `Arc` names all partitions of each.
pub(super) fn names(topics: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Arc<str>> {
    topics
        .into_iter()
        .map(|name| name.as_ref().into())
        .collect()
}
