//! Assignments: the leader brings them, everyone fetches their own. And signs of life.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_protocol::error_code::ErrorCode;

use super::request::{Membership, Reply, Sync, Text, Token};
use super::soft::{Awaiting, Phase};
use super::turn::Turn;

impl Turn<'_> {
    pub(super) fn sync(&mut self, token: Token, sync: Sync) {
        if let Err(error) = self.may_sync(&sync) {
            self.reply(token, Reply::Sync(Err(error)));
            return;
        }
        let id = Arc::clone(&sync.member.member_id);
        self.touch(&id);
        self.has_synced(&id);
        if self.soft.phase == Phase::Stable {
            let assigned = self.assigned(self.hard.assignment(&id));
            self.reply(token, Reply::Sync(Ok(assigned)));
            return;
        }
        // Whoever asked for it before has gone.
        self.fail(&id, ErrorCode::RebalanceInProgress);
        self.soft
            .update(&id, |member| member.awaiting = Awaiting::Sync(token));
        if self.soft.leader.as_ref() == Some(&id) {
            self.assign(sync.assignments);
        }
    }

    fn may_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        self.check(&sync.member)?;
        let differs = |said: Option<&Text>, known: Option<&Text>| said.is_some() && said != known;
        let soft = &self.soft;
        if differs(sync.protocol_type.as_ref(), soft.protocol_type.as_ref())
            || differs(sync.protocol.as_ref(), soft.protocol.as_ref())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match soft.phase {
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
            Phase::Preparing { .. } => Err(ErrorCode::RebalanceInProgress),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    /// A member has asked for its assignment.
    fn has_synced(&mut self, member_id: &Text) {
        if let Some(syncs) = &mut self.soft.syncs {
            syncs.missing.remove_mut(member_id);
            if syncs.missing.is_empty() {
                self.soft.syncs = None;
            }
        }
    }

    /// The assignment is known: it is written down, and whoever waits for it gets it.
    fn assign(&mut self, assignments: Vec<(Text, Arc<[u8]>)>) {
        let assignments: BTreeMap<Text, Arc<[u8]>> = assignments.into_iter().collect();
        let of = |id: &Text| {
            assignments
                .get(id)
                .cloned()
                .unwrap_or_else(|| Arc::from([]))
        };
        self.enter(Phase::Stable);
        self.write_group(of);
        let waiting = self.soft.members.iter();
        let waiting: Vec<(Text, Token)> = waiting
            .filter_map(|(id, member)| match member.awaiting {
                Awaiting::Sync(token) => Some((Arc::clone(id), token)),
                Awaiting::Nothing | Awaiting::Join(_) => None,
            })
            .collect();
        for (id, token) in waiting {
            let assigned = self.assigned(of(&id));
            self.reply(token, Reply::Sync(Ok(assigned)));
            self.soft
                .update(&id, |member| member.awaiting = Awaiting::Nothing);
            self.touch(&id);
        }
    }

    pub(super) fn heartbeat(&mut self, token: Token, member: &Membership) {
        let code = self.sign_of_life(member).err();
        self.reply(token, Reply::Code(code.unwrap_or(ErrorCode::None)));
    }

    fn sign_of_life(&mut self, member: &Membership) -> Result<(), ErrorCode> {
        self.check(member)?;
        self.touch(&member.member_id);
        match self.soft.phase {
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
            Phase::Preparing { .. } => Err(ErrorCode::RebalanceInProgress),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }
}
