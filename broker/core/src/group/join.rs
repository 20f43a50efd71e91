//! Members that join: new ones, static ones under a new id, and those that join again.
//!
//! Apache Kafka 4.3 is the rule (`GroupMetadataManager.classicGroupJoin`; KIP-62, KIP-345, KIP-394,
//! KIP-814).

use std::sync::Arc;

use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::error_code::ErrorCode;

use super::request::{Join, Joined, Reply, Text, Token};
use super::settings::{NEW_MEMBER_TIMEOUT_MS, PENDING_MEMBERS_PER_GROUP_MAX};
use super::soft::{Awaiting, Member, Phase};
use super::turn::Turn;

impl Turn<'_> {
    pub(super) fn join(&mut self, token: Token, join: Join) {
        if let Err(error) = self.may_join(&join) {
            let mut named = Arc::clone(&join.member_id);
            if error == ErrorCode::GroupMaxSizeReached {
                // Whoever has no place has no id.
                self.fail(&named, error);
                self.soft.remove(&named);
                named = Text::from("");
            }
            self.reply(token, Reply::Join(Joined::refused(error, named)));
        } else if !join.member_id.is_empty() {
            self.join_again(token, join);
        } else if let Some(known) = self.static_member(&join) {
            self.replace(token, join, &known);
        } else if join.group_instance_id.is_none() && join.known_member_id_required {
            self.give_id(token, &join);
        } else {
            let id = Arc::clone(&join.new_member_id);
            self.add(token, join, id);
        }
        self.complete_join_if_all_joined();
    }

    fn may_join(&self, join: &Join) -> Result<(), ErrorCode> {
        let (least, most) = (
            self.settings.session_timeout_min_ms,
            self.settings.session_timeout_max_ms,
        );
        if !(least..=most).contains(&join.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if !join.member_id.is_empty() && !self.exists() {
            return Err(ErrorCode::UnknownMemberId);
        }
        if !self.has_room(join) {
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.soft.supports(&join.protocol_type, &join.protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// Whether the group takes one more. While it rebalances, those count that have joined: the
    /// last ones to come back are left out if the limit was lowered.
    fn has_room(&self, join: &Join) -> bool {
        let (soft, most) = (&self.soft, self.settings.members_max);
        let own = soft.members.get(&join.member_id);
        let replaces = join.member_id.is_empty() && self.static_member(join).is_some();
        let is_counted = match soft.phase {
            Phase::Empty => true,
            Phase::Preparing { .. } => {
                own.is_some_and(Member::awaits_join) || soft.awaiting_join < most
            }
            Phase::Completing | Phase::Stable => own.is_some() || soft.members.size() < most,
        };
        let is_asking = join.member_id.is_empty() && !replaces;
        let ids_left = soft.pending.size() < PENDING_MEMBERS_PER_GROUP_MAX;
        is_counted && (ids_left || !is_asking)
    }

    /// The member that has the static name.
    fn static_member(&self, join: &Join) -> Option<Text> {
        let instance = join.group_instance_id.as_ref()?;
        self.soft.instances.get(instance).cloned()
    }

    /// Tells a new member its id, with which it is to come back.
    fn give_id(&mut self, token: Token, join: &Join) {
        let until_ns = self.now.after_ms(milliseconds(join.session_timeout_ms));
        let id = Arc::clone(&join.new_member_id);
        reached(Branch::MemberIdGiven);
        self.soft.expect(Arc::clone(&id), until_ns);
        let refused = Joined::refused(ErrorCode::MemberIdRequired, id);
        self.reply(token, Reply::Join(refused));
    }

    /// Adds a member; it is answered when the join ends.
    fn add(&mut self, token: Token, join: Join, member_id: Text) {
        self.soft.expect_no_more(&member_id);
        if self.soft.members.is_empty() {
            self.soft.protocol_type = Some(Arc::clone(&join.protocol_type));
        }
        let until_ns = self.now.after_ms(NEW_MEMBER_TIMEOUT_MS);
        if let Phase::Preparing {
            first: Some(first), ..
        } = &mut self.soft.phase
        {
            first.joined = true;
        }
        self.soft
            .add(member_id, member(join, token, true, until_ns));
        self.rebalance();
    }

    /// A static member comes with no id: it started again, and gets a new one; whoever has the old
    /// one is out.
    fn replace(&mut self, token: Token, join: Join, old_id: &Text) {
        let old_leader = self.soft.leader.clone();
        let leads = old_leader.as_ref() == Some(old_id);
        let syncs = self.soft.syncs.as_ref();
        let was_missing = syncs.is_some_and(|syncs| syncs.missing.contains_key(old_id));
        self.fail(old_id, ErrorCode::FencedInstanceId);
        if !planted(Bug::StaticMemberDoubled) {
            self.soft.remove(old_id);
        }
        let new_id = Arc::clone(&join.new_member_id);
        let may_skip = join.may_skip_assignment;
        let until_ns = self.now.after_ms(milliseconds(join.session_timeout_ms));
        self.soft
            .add(Arc::clone(&new_id), member(join, token, false, until_ns));
        if leads {
            self.soft.leader = Some(Arc::clone(&new_id));
        }
        let stays =
            self.soft.phase == Phase::Stable && self.soft.elected_protocol() == self.soft.protocol;
        if !stays {
            reached(Branch::StaticMemberRejoined);
            self.rebalance();
            return;
        }
        if was_missing && let Some(syncs) = &mut self.soft.syncs {
            syncs.missing.insert_mut(Arc::clone(&new_id), ());
        }
        reached(Branch::StaticMemberReplaced);
        // The others go on with what they have; so does it, under its new id.
        let nothing = |member: &mut Member| member.awaiting = Awaiting::Nothing;
        self.soft.update(&new_id, nothing);
        let (hard, new, old) = (self.hard, Arc::clone(&new_id), Arc::clone(old_id));
        self.write_group(|id| hard.assignment(if *id == new { &old } else { id }));
        let mut joined = self.joined(&new_id, may_skip);
        joined.skip_assignment = may_skip && leads;
        if !may_skip && let Some(old_leader) = old_leader {
            // One that knows nothing of that must not take itself for the leader.
            joined.leader = old_leader;
        }
        self.reply(token, Reply::Join(joined));
    }

    fn join_again(&mut self, token: Token, join: Join) {
        let id = Arc::clone(&join.member_id);
        if self.soft.pending.contains_key(&id) && join.group_instance_id.is_none() {
            self.add(token, join, id);
            return;
        }
        if let Err(error) = self.check_member(&id, join.group_instance_id.as_ref()) {
            self.reply(token, Reply::Join(Joined::refused(error, id)));
            return;
        }
        let says_the_same =
            (self.soft.members.get(&id)).is_some_and(|member| member.protocols == join.protocols);
        let leads = self.soft.leader.as_ref() == Some(&id);
        let goes_on = match self.soft.phase {
            Phase::Empty | Phase::Preparing { .. } => false,
            Phase::Completing => says_the_same,
            Phase::Stable => says_the_same && !leads,
        };
        if goes_on {
            // It did not hear the answer, or nothing has changed.
            self.touch(&id);
            let joined = self.joined(&id, true);
            self.reply(token, Reply::Join(joined));
            return;
        }
        // Whoever asked for it before has gone, or this is not the same member.
        self.fail(&id, ErrorCode::RebalanceInProgress);
        let until_ns = self.now.after_ms(milliseconds(join.session_timeout_ms));
        self.soft.update(&id, |known| {
            let is_new = known.is_new;
            let until_ns = if is_new { known.until_ns } else { until_ns };
            *known = Member {
                group_instance_id: known.group_instance_id.clone(),
                client_id: Arc::clone(&known.client_id),
                client_host: Arc::clone(&known.client_host),
                ..member(join, token, is_new, until_ns)
            };
        });
        self.rebalance();
    }
}

fn member(join: Join, token: Token, is_new: bool, until_ns: u64) -> Member {
    Member {
        group_instance_id: join.group_instance_id,
        client_id: join.client_id,
        client_host: join.client_host,
        session_timeout_ms: milliseconds(join.session_timeout_ms),
        rebalance_timeout_ms: milliseconds(join.rebalance_timeout_ms),
        protocols: join.protocols,
        awaiting: Awaiting::Join(token),
        is_new,
        until_ns,
    }
}

/// A time that was asked for; one below nothing is none.
pub(super) fn milliseconds(timeout_ms: i32) -> u64 {
    u64::try_from(timeout_ms).unwrap_or(0)
}
