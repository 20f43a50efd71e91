//! Members that leave: by themselves, taken out by somebody, gone, or not heard of for too long.

use std::sync::Arc;

use millrace_probe::{Branch, reached};
use millrace_protocol::error_code::ErrorCode;

use super::request::{Leaving, Reply, Text, Token};
use super::soft::{Awaiting, Phase};
use super::turn::Turn;

impl Turn<'_> {
    pub(super) fn leave(&mut self, token: Token, leaving: &[Leaving]) {
        if !self.exists() {
            self.reply(token, Reply::Leave(Err(ErrorCode::UnknownMemberId)));
            return;
        }
        let mut codes = Vec::with_capacity(leaving.len());
        let members = self.soft.members.size();
        for member in leaving {
            let left = self.leave_one(member);
            codes.push(left.err().unwrap_or(ErrorCode::None));
        }
        self.after_removal(members);
        self.reply(token, Reply::Leave(Ok(codes)));
    }

    fn leave_one(&mut self, leaving: &Leaving) -> Result<(), ErrorCode> {
        let instance = leaving.group_instance_id.as_ref();
        if leaving.member_id.is_empty() {
            // Somebody else takes a static member out, by the name that it has.
            let id = instance.and_then(|instance| self.soft.instances.get(instance));
            let id = id.cloned().ok_or(ErrorCode::UnknownMemberId)?;
            self.remove(&id, ErrorCode::UnknownMemberId);
            return Ok(());
        }
        if self.soft.expect_no_more(&leaving.member_id) {
            return Ok(());
        }
        self.check_member(&leaving.member_id, instance)?;
        self.remove(&leaving.member_id, ErrorCode::UnknownMemberId);
        Ok(())
    }

    /// Takes a member out; what it waits for is answered with `error`.
    fn remove(&mut self, member_id: &Text, error: ErrorCode) {
        self.fail(member_id, error);
        self.soft.remove(member_id);
    }

    /// If members are fewer than they were, the rest share anew. An id that was given out and is not
    /// used is nobody's loss, but a join may have waited for it.
    fn after_removal(&mut self, members_before: usize) {
        let is_fewer = self.soft.members.size() < members_before;
        match self.soft.phase {
            Phase::Preparing { .. } => self.complete_join_if_all_joined(),
            Phase::Completing | Phase::Stable if is_fewer => self.rebalance(),
            Phase::Empty | Phase::Completing | Phase::Stable => {}
        }
    }

    /// Whoever waits under that token has gone. A member that was never told its id goes with it;
    /// another one has its session to come back.
    pub(super) fn gone(&mut self, token: Token) {
        let awaits =
            |awaiting| matches!(awaiting, Awaiting::Join(t) | Awaiting::Sync(t) if t == token);
        let mut members = self.soft.members.iter();
        let found = members.find(|(_, member)| awaits(member.awaiting));
        let Some((id, is_new)) = found.map(|(id, member)| (Arc::clone(id), member.is_new)) else {
            return;
        };
        if is_new {
            reached(Branch::NewMemberGone);
            let members = self.soft.members.size();
            self.soft.remove(&id);
            self.after_removal(members);
        } else {
            self.soft
                .update(&id, |member| member.awaiting = Awaiting::Nothing);
            self.touch(&id);
        }
    }

    /// Does what is due, and finds out when something is due next.
    pub(super) fn timer(&mut self) {
        let now_ns = self.now.mono_ns;
        self.soft.check_at_ns = u64::MAX;
        self.expire_members(now_ns);
        if let Phase::Preparing { until_ns, first } = self.soft.phase
            && until_ns <= now_ns
        {
            self.join_is_over(first);
        }
        if let Some(syncs) = self
            .soft
            .syncs
            .as_ref()
            .filter(|syncs| syncs.until_ns <= now_ns)
        {
            let missing: Vec<Text> = syncs.missing.keys().cloned().collect();
            let members = self.soft.members.size();
            for id in &missing {
                reached(Branch::SyncTimedOut);
                self.remove(id, ErrorCode::UnknownMemberId);
            }
            self.soft.syncs = None;
            self.after_removal(members);
        }
        self.find_next_due();
    }

    fn expire_members(&mut self, now_ns: u64) {
        let late = self
            .soft
            .pending
            .iter()
            .filter(|(_, until_ns)| **until_ns <= now_ns);
        let late: Vec<Text> = late.map(|(id, _)| Arc::clone(id)).collect();
        for id in &late {
            reached(Branch::PendingMemberLapsed);
            self.soft.expect_no_more(id);
        }
        // Whoever waits for us can't say that it lives; only one that was never answered has a
        // limit on that.
        let silent = self.soft.members.iter().filter(|(_, member)| {
            let waits = member.awaiting != Awaiting::Nothing;
            member.until_ns <= now_ns && (!waits || member.is_new)
        });
        let silent: Vec<Text> = silent.map(|(id, _)| Arc::clone(id)).collect();
        let members = self.soft.members.size();
        for id in &silent {
            reached(Branch::SessionLapsed);
            self.remove(id, ErrorCode::UnknownMemberId);
        }
        if !late.is_empty() || !silent.is_empty() {
            self.after_removal(members);
        }
    }

    fn find_next_due(&mut self) {
        let soft = &self.soft;
        let sessions = soft
            .members
            .values()
            .filter(|member| member.awaiting == Awaiting::Nothing || member.is_new);
        let sessions = sessions.map(|member| member.until_ns);
        let phase = match soft.phase {
            Phase::Preparing { until_ns, .. } => Some(until_ns),
            Phase::Empty | Phase::Completing | Phase::Stable => None,
        };
        let syncs = soft.syncs.as_ref().map(|syncs| syncs.until_ns);
        let next = sessions
            .chain(soft.pending.values().copied())
            .chain(phase)
            .chain(syncs)
            .min();
        self.soft.check_at_ns = next.unwrap_or(u64::MAX);
    }
}
