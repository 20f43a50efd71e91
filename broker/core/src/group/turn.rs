//! One event being decided: a working copy of the group's soft state, and what comes of it.
//!
//! What always holds: the hard state is only looked at; what is to become of it is a record.

use std::sync::Arc;

use millrace_protocol::error_code::ErrorCode;

use super::hard::Hard;
use super::record::{Generation, KeptMember, Record};
use super::request::{Assigned, Joined, JoinedMember, Membership, Reply, Text, Token};
use super::settings::Settings;
use super::soft::{Awaiting, Phase, Soft};
use crate::Now;

/// A decision on its way.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) group: &'a Text,
    pub(super) hard: &'a Hard,
    pub(super) soft: Soft,
    pub(super) now: Now,
    pub(super) settings: &'a Settings,
    pub(super) records: Vec<Record>,
    pub(super) replies: Vec<(Token, Reply)>,
}

impl Turn<'_> {
    pub(super) fn reply(&mut self, token: Token, reply: Reply) {
        self.replies.push((token, reply));
    }

    /// Whether there is such a group.
    pub(super) fn exists(&self) -> bool {
        !self.hard.is_empty() || !self.soft.is_vacant()
    }

    /// Goes into another phase.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.soft.phase = phase;
        self.soft.since_ms = self.now.wall_ms;
    }

    /// Whether somebody is the member that they say to be (KIP-345).
    pub(super) fn check_member(
        &self,
        member_id: &Text,
        group_instance_id: Option<&Text>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = group_instance_id {
            match self.soft.instances.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if known != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.soft.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// The same, and of the group's generation.
    pub(super) fn check(&self, member: &Membership) -> Result<(), ErrorCode> {
        self.check_member(&member.member_id, member.group_instance_id.as_ref())?;
        if member.generation == self.soft.generation {
            Ok(())
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    /// A member has said that it lives.
    pub(super) fn touch(&mut self, member_id: &Text) {
        if let Some(member) = self.soft.members.get(member_id) {
            let until_ns = self.now.after_ms(member.session_timeout_ms);
            self.soft.touch(member_id, until_ns);
        }
    }

    /// Answers a join with the group's generation; the leader gets everyone's metadata if `listed`.
    pub(super) fn joined(&self, member_id: &Text, listed: bool) -> Joined {
        let soft = &self.soft;
        let leads = soft.leader.as_ref() == Some(member_id);
        let listed = soft.members.iter().filter(|_| leads && listed);
        Joined {
            error: ErrorCode::None,
            generation: soft.generation,
            protocol_type: soft.protocol_type.clone(),
            protocol: soft.protocol.clone(),
            leader: soft.leader.clone().unwrap_or_else(|| Text::from("")),
            skip_assignment: false,
            member_id: Arc::clone(member_id),
            members: listed
                .map(|(id, member)| JoinedMember {
                    member_id: Arc::clone(id),
                    group_instance_id: member.group_instance_id.clone(),
                    metadata: member.metadata(soft.protocol.as_ref()),
                })
                .collect(),
        }
    }

    /// Answers whatever a member waits for with an error, if it waits.
    pub(super) fn fail(&mut self, member_id: &Text, error: ErrorCode) {
        let Some(member) = self.soft.members.get(member_id) else {
            return;
        };
        match member.awaiting {
            Awaiting::Nothing => return,
            Awaiting::Join(token) => {
                let refused = Joined::refused(error, Arc::clone(member_id));
                self.reply(token, Reply::Join(refused));
            }
            Awaiting::Sync(token) => self.reply(token, Reply::Sync(Err(error))),
        }
        self.soft
            .update(member_id, |member| member.awaiting = Awaiting::Nothing);
    }

    /// What a member gets of an assignment.
    pub(super) fn assigned(&self, assignment: Arc<[u8]>) -> Assigned {
        Assigned {
            protocol_type: self.soft.protocol_type.clone(),
            protocol: self.soft.protocol.clone(),
            assignment,
        }
    }

    /// Writes down the group as it is now, each member with what `assignment` gives for its id.
    pub(super) fn write_group(&mut self, assignment: impl Fn(&Text) -> Arc<[u8]>) {
        let soft = &self.soft;
        let members = soft.members.iter().map(|(id, member)| KeptMember {
            member_id: Arc::clone(id),
            group_instance_id: member.group_instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: milliseconds(member.rebalance_timeout_ms),
            session_timeout_ms: milliseconds(member.session_timeout_ms),
            subscription: member.metadata(soft.protocol.as_ref()),
            assignment: assignment(id),
        });
        let generation = Generation {
            protocol_type: soft.protocol_type.clone().unwrap_or_else(|| Text::from("")),
            generation: soft.generation,
            protocol: soft.protocol.clone(),
            leader: soft.leader.clone(),
            since_ms: soft.since_ms,
            members: members.collect(),
        };
        let group = Arc::clone(self.group);
        self.records
            .push(Record::Group(group, Some(Arc::new(generation))));
    }
}

fn milliseconds(timeout_ms: u64) -> i32 {
    i32::try_from(timeout_ms).unwrap_or(i32::MAX)
}
