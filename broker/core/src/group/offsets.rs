//! Offsets: committed, deleted, expired; and the end of a group.

use std::sync::Arc;

use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;

use super::record::{Committed, Record};
use super::request::{Commit, CommitPartition, Reply, Text, Token};
use super::soft::Phase;
use super::turn::Turn;

impl Turn<'_> {
    pub(super) fn commit(&mut self, token: Token, commit: &Commit) {
        if let Err(error) = self.may_commit(commit) {
            self.reply(token, Reply::Offsets(Err(error)));
            return;
        }
        self.touch(&commit.member.member_id);
        let expires_at_ms = commit.retention_ms;
        let expires_at_ms = expires_at_ms.map(|keep| self.now.wall_ms.saturating_add(keep.max(0)));
        let offsets = commit.offsets.iter();
        let codes = offsets
            .map(|offset| self.keep(offset, expires_at_ms))
            .collect();
        self.reply(token, Reply::Offsets(Ok(codes)));
    }

    fn may_commit(&self, commit: &Commit) -> Result<(), ErrorCode> {
        let member = &commit.member;
        let is_empty = self.soft.phase == Phase::Empty;
        if !self.exists() && member.generation >= 0 {
            return Err(commit.absent);
        }
        if is_empty && member.generation < 0 {
            // A consumer without a group, or somebody who sets a group's offsets.
            return Ok(());
        }
        let is_named = !member.member_id.is_empty() || member.group_instance_id.is_some();
        if !is_named && member.generation < 0 {
            // While there are members, only they commit.
            return Err(ErrorCode::UnknownMemberId);
        }
        let checked = self.check(member);
        if checked.is_err() && !planted(Bug::FencedCommitAccepted) {
            return checked;
        }
        // In the phases before and after the offsets still say how far a member came.
        if self.soft.phase == Phase::Completing {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    fn keep(&mut self, offset: &CommitPartition, expires_at_ms: Option<i64>) -> ErrorCode {
        // Kafka's key says bytes, and its broker counts the units of Java's texts.
        let metadata = offset.metadata.encode_utf16();
        if metadata.count() > self.settings.offset_metadata_bytes_max {
            return ErrorCode::OffsetMetadataTooLarge;
        }
        let value = Committed {
            offset: offset.offset,
            leader_epoch: offset.leader_epoch,
            metadata: Arc::clone(&offset.metadata),
            committed_at_ms: self.now.wall_ms,
            expires_at_ms,
            topic_id: offset.topic_id,
        };
        self.write_offset(&offset.topic, offset.partition, Some(value));
        ErrorCode::None
    }

    fn write_offset(&mut self, topic: &Text, partition: i32, value: Option<Committed>) {
        self.records.push(Record::Offset {
            group: Arc::clone(self.group),
            topic: Arc::clone(topic),
            partition,
            value,
        });
    }

    /// The offsets that are kept.
    fn kept(&self) -> impl Iterator<Item = (&Text, i32, &Committed)> {
        let topics = self.hard.offsets.iter();
        topics.flat_map(|(topic, partitions)| {
            let offsets = partitions.iter();
            offsets.map(move |(partition, offset)| (topic, *partition, offset))
        })
    }

    /// Those of which `is_meant` says so.
    fn chosen(&self, is_meant: impl Fn(&Text, &Committed) -> bool) -> Vec<(Text, i32)> {
        let chosen = self
            .kept()
            .filter(|(topic, _, offset)| is_meant(topic, offset));
        chosen
            .map(|(topic, partition, _)| (Arc::clone(topic), partition))
            .collect()
    }

    fn forget(&mut self, offsets: &[(Text, i32)]) {
        for (topic, partition) in offsets {
            self.write_offset(topic, *partition, None);
        }
    }

    pub(super) fn delete_offsets(&mut self, token: Token, offsets: &[(Text, i32)]) {
        let refused = if !self.exists() {
            Some(ErrorCode::GroupIdNotFound)
        } else if self.soft.phase != Phase::Empty && !self.soft.speaks_consumer() {
            // Nobody can tell which topics they read.
            Some(ErrorCode::NonEmptyGroup)
        } else {
            None
        };
        if let Some(error) = refused {
            self.reply(token, Reply::Offsets(Err(error)));
            return;
        }
        let mut codes = Vec::with_capacity(offsets.len());
        for (topic, partition) in offsets {
            if self.soft.is_subscribed_to(topic) {
                codes.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            let kept = self.hard.offsets.get(topic);
            if kept.is_some_and(|partitions| partitions.contains_key(partition)) {
                self.write_offset(topic, *partition, None);
            }
            codes.push(ErrorCode::None);
        }
        self.reply(token, Reply::Offsets(Ok(codes)));
    }

    pub(super) fn delete(&mut self, token: Token) {
        let code = if !self.exists() {
            ErrorCode::GroupIdNotFound
        } else if self.soft.phase != Phase::Empty {
            ErrorCode::NonEmptyGroup
        } else {
            let kept = self.chosen(|_, _| true);
            self.forget(&kept);
            self.end();
            ErrorCode::None
        };
        self.reply(token, Reply::Code(code));
    }

    /// The group is no more.
    fn end(&mut self) {
        if self.hard.generation.is_some() {
            self.records
                .push(Record::Group(Arc::clone(self.group), None));
        }
        self.soft = super::soft::Soft::default();
    }

    pub(super) fn topics_deleted(&mut self, topics: &[(Text, TopicId)]) {
        let gone = self.chosen(|topic, offset| {
            let mut topics = topics.iter();
            topics.any(|(name, id)| name == topic && *id == offset.topic_id)
        });
        self.forget(&gone);
    }

    /// Forgets offsets that have not been used for too long, and the group with the last of them.
    pub(super) fn expire(&mut self, at_ms: i64) {
        let expired = self.chosen(|topic, offset| self.has_expired(topic, offset, at_ms));
        let are_all = expired.len() == self.kept().count();
        if !expired.is_empty() {
            reached(Branch::GroupOffsetExpired);
        }
        self.forget(&expired);
        if are_all && self.exists() && self.soft.is_vacant() {
            reached(Branch::GroupEndedByItself);
            self.end();
        }
    }

    fn has_expired(&self, topic: &Text, offset: &Committed, at_ms: i64) -> bool {
        let soft = &self.soft;
        let unused_since_ms = match soft.phase {
            // Kafka counts from when the last member left, even for an offset that an operator has
            // committed since: it would be gone at the next look.
            Phase::Empty => soft.since_ms.max(offset.committed_at_ms),
            Phase::Stable if soft.subscribed.is_some() && !soft.is_subscribed_to(topic) => {
                offset.committed_at_ms
            }
            // In use, or on its way to be.
            _ if planted(Bug::OffsetExpiredInUse) => offset.committed_at_ms,
            Phase::Stable | Phase::Preparing { .. } | Phase::Completing => return false,
        };
        match offset.expires_at_ms {
            Some(expires_at_ms) => expires_at_ms <= at_ms,
            None => at_ms.saturating_sub(unused_since_ms) >= self.settings.offsets_retention_ms,
        }
    }
}
