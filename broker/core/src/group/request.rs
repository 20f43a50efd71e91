//! What members and tools ask of a group, and what they are answered.

use std::sync::Arc;

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;

/// Names one waiting request; chosen by the caller, unique among those that wait.
pub use crate::partition::Token;

/// Text that many share.
pub type Text = Arc<str>;

/// Something that happens to one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member asks, and is answered under that token, now or later.
    Request(Token, Request),
    /// Whoever waits under that token has gone.
    Gone(Token),
    /// Something of the group is due ([`super::Groups::due`]).
    Timer,
    /// Time to look for offsets that have expired, and for a group of which nothing is left. It is
    /// then, in milliseconds since the Unix epoch, by a clock that was found sane.
    Expire(i64),
    /// These topics were deleted: their offsets mean nothing any more. By name and id, as the offsets
    /// were committed: a later topic of the name keeps its own.
    TopicsDeleted(Vec<(Text, TopicId)>),
}

/// What a client asks of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `JoinGroup`.
    Join(Join),
    /// `SyncGroup`.
    Sync(Sync),
    /// `Heartbeat`.
    Heartbeat(Membership),
    /// `LeaveGroup`.
    Leave(Vec<Leaving>),
    /// `OffsetCommit`.
    Commit(Commit),
    /// `OffsetDelete`.
    DeleteOffsets(Vec<(Text, i32)>),
    /// `DeleteGroups`, for one group.
    Delete,
}

/// One protocol that a member can follow, as it ranks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name, such as `range`.
    pub name: Text,
    /// What the member says in it; opaque.
    pub metadata: Arc<[u8]>,
}

/// A member that joins, or joins again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The id that it was given; empty for none yet.
    pub member_id: Text,
    /// What it calls itself, if it is static (KIP-345).
    pub group_instance_id: Option<Text>,
    /// The id that it gets if it is a new one: the client's or instance's name and something random.
    pub new_member_id: Text,
    /// The client's id.
    pub client_id: Text,
    /// Its address.
    pub client_host: Text,
    /// Without a sign of life for that long it is no member any more.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it; version 0 has the session's.
    pub rebalance_timeout_ms: i32,
    /// What it speaks, such as `consumer`.
    pub protocol_type: Text,
    /// The protocols that it can follow, its favourite first; no name twice.
    pub protocols: Arc<[Protocol]>,
    /// Whether it must come back with the id that it is given (KIP-394, from version 4).
    pub known_member_id_required: bool,
    /// Whether it knows of assignments that stay (KIP-814, from version 9).
    pub may_skip_assignment: bool,
}

/// A member that asks for its assignment; the leader brings everyone's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Who.
    pub member: Membership,
    /// What it thinks the group speaks; `None` in versions before 5.
    pub protocol_type: Option<Text>,
    /// The protocol it thinks was chosen; `None` in versions before 5.
    pub protocol: Option<Text>,
    /// Assignments by member id; of the leader only.
    pub assignments: Vec<(Text, Arc<[u8]>)>,
}

/// Which member of which generation somebody says to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Its id.
    pub member_id: Text,
    /// What it calls itself, if it is static.
    pub group_instance_id: Option<Text>,
    /// The generation; negative for somebody who is no member.
    pub generation: i32,
}

/// A member that is to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Its id; empty for a static member that somebody else takes out.
    pub member_id: Text,
    /// What it calls itself, if it is static.
    pub group_instance_id: Option<Text>,
}

/// Offsets to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Who commits.
    pub member: Membership,
    /// The code for a group that isn't there, which changed with version 9.
    pub absent: ErrorCode,
    /// How long they are kept, as versions 2–4 may say; `None` for the broker's retention.
    pub retention_ms: Option<i64>,
    /// The offsets.
    pub offsets: Vec<CommitPartition>,
}

/// One offset to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPartition {
    /// The topic's name.
    pub topic: Text,
    /// The topic's id; zero where the client named the topic only.
    pub topic_id: TopicId,
    /// Number of the partition.
    pub partition: i32,
    /// The offset of the record to be read next.
    pub offset: i64,
    /// Leader epoch of the last record that was read; -1 for none.
    pub leader_epoch: i32,
    /// Whatever the client writes beside it.
    pub metadata: Text,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a join.
    Join(Joined),
    /// To a request for an assignment.
    Sync(Result<Assigned, ErrorCode>),
    /// To a sign of life, to a deletion of the group.
    Code(ErrorCode),
    /// To leaving: a code for each, or one for all.
    Leave(Result<Vec<ErrorCode>, ErrorCode>),
    /// To offsets, in the order they were named.
    Offsets(Result<Vec<ErrorCode>, ErrorCode>),
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Why not.
    pub error: ErrorCode,
    /// The generation; -1 with an error.
    pub generation: i32,
    /// What the group speaks.
    pub protocol_type: Option<Text>,
    /// The protocol that was chosen.
    pub protocol: Option<Text>,
    /// The member that assigns; empty with an error.
    pub leader: Text,
    /// Who is asked to assign need not: the assignment stays (KIP-814).
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: Text,
    /// For the leader: everyone, with what they said in the protocol that was chosen.
    pub members: Vec<JoinedMember>,
}

/// One member, as the leader is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Text,
    /// What it calls itself, if it is static.
    pub group_instance_id: Option<Text>,
    /// What it said in the protocol that was chosen.
    pub metadata: Arc<[u8]>,
}

/// What a member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// What the group speaks.
    pub protocol_type: Option<Text>,
    /// The protocol that was chosen.
    pub protocol: Option<Text>,
    /// The leader's bytes for it; empty for none.
    pub assignment: Arc<[u8]>,
}

impl Joined {
    /// A join that is refused.
    pub(super) fn refused(error: ErrorCode, member_id: Text) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: Text::from(""),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

impl Request {
    /// The answer that says no.
    pub fn refused(&self, error: ErrorCode) -> Reply {
        match self {
            Self::Join(join) => Reply::Join(Joined::refused(error, Arc::clone(&join.member_id))),
            Self::Sync(_) => Reply::Sync(Err(error)),
            Self::Heartbeat(_) | Self::Delete => Reply::Code(error),
            Self::Leave(_) => Reply::Leave(Err(error)),
            Self::Commit(_) | Self::DeleteOffsets(_) => Reply::Offsets(Err(error)),
        }
    }
}
