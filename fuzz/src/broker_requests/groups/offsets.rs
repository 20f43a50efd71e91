//! Offsets that groups keep: committed, read, removed.

use std::collections::BTreeMap;

use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millrace_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use millrace_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use millrace_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};

use super::may_be;
use super::model::{Kept, Phase, SESSION};
use crate::broker_requests::{NAMES, Run, place, text, version};
use crate::input::Input;

/// First versions with topics by id, with leader epochs, and with a code for a group that is none.
const COMMIT_IDS_FROM: i16 = 10;
const COMMIT_EPOCHS_FROM: i16 = 6;
const COMMIT_ABSENT_FROM: i16 = 9;
const FETCH_IDS_FROM: i16 = 10;
const FETCH_EPOCHS_FROM: i16 = 5;
const FETCH_GROUPS_FROM: i16 = 8;
const FETCH_ALL_FROM: i16 = 2;
/// No more is kept beside an offset.
const METADATA_MAX: usize = 4096;

/// Who commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    /// Nobody in particular.
    Nobody,
    /// A member.
    Member,
    /// A member of another generation.
    Late,
    /// Somebody who is no member.
    Stranger,
}

impl Run<'_> {
    /// One offset of one partition, by somebody.
    pub(super) async fn commit(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (Api::OffsetCommit, version(Api::OffsetCommit, input));
        let (topic, partition) = place(input);
        let shape = input.byte();
        let whoever = [As::Nobody, As::Member, As::Late, As::Stranger][usize::from(shape % 4)];
        let offset = match shape / 4 % 8 {
            0 => i64::MAX,
            other => i64::from(other) * 1000 + i64::from(input.byte()),
        };
        let long = shape / 32 % 4 == 3;
        let beside = "\u{e9}".repeat(if long {
            METADATA_MAX + 1
        } else {
            usize::from(shape / 32)
        });
        let mut row = OffsetCommitRequestPartition::default();
        row.partition_index = partition;
        row.committed_offset = offset;
        row.committed_leader_epoch = -1;
        if api.1 >= COMMIT_EPOCHS_FROM {
            row.committed_leader_epoch = i32::from(shape % 3) - 1;
        }
        row.committed_metadata = (!beside.is_empty()).then(|| text(&beside));
        let kept = Kept {
            offset,
            leader_epoch: row.committed_leader_epoch,
            metadata: beside,
        };
        let mut of = OffsetCommitRequestTopic::default();
        let by_id = api.1 >= COMMIT_IDS_FROM;
        let meant = self.meant(topic, by_id);
        if by_id {
            of.topic_id = self.id_of(topic);
        } else {
            of.name = text(topic);
        }
        of.partitions = vec![row];
        let mut request = OffsetCommitRequest::default();
        request.group_id = text(name);
        request.topics = vec![of];
        let may = self.may_commit((name, api.1), (whoever, shape), &mut request);
        let code = |answer: &OffsetCommitResponse| answer.topics[0].partitions[0].error_code;
        let answer: OffsetCommitResponse = self.coordinate(api, &request, code).await;
        let is_there = meant
            .as_ref()
            .and_then(|meant| self.model.topics.get(meant))
            .is_some_and(|topic| usize::try_from(partition).is_ok_and(|at| at < topic.logs.len()));
        let may = match &meant {
            None if by_id => vec![ErrorCode::UnknownTopicId],
            _ if !is_there => vec![ErrorCode::UnknownTopicOrPartition],
            _ if long && may == [ErrorCode::None] => vec![ErrorCode::OffsetMetadataTooLarge],
            _ => may,
        };
        may_be(&request, code(&answer), &may);
        if code(&answer) == 0 {
            let place = (meant.expect("it was kept"), partition);
            self.group(name).offsets.insert(place, kept);
        }
    }

    /// The topic that is meant by a name, or by the id that stands for it.
    fn meant(&self, topic: &str, by_id: bool) -> Option<String> {
        if by_id {
            self.model.name_of(self.id_of(topic))
        } else {
            let there = self.model.topics.contains_key(topic);
            there.then(|| topic.to_owned())
        }
    }

    /// Names whoever commits; what the group may answer.
    fn may_commit(
        &mut self,
        (name, version): (&str, i16),
        (whoever, number): (As, u8),
        request: &mut OffsetCommitRequest,
    ) -> Vec<ErrorCode> {
        let now = self.client.clock.now().mono;
        let group = self.group(name);
        let (phase, generation) = (group.phase, group.generation);
        let exists = !group.offsets.is_empty() || !group.members.is_empty();
        let may_exist = group.may_exist;
        request.generation_id_or_member_epoch = match whoever {
            As::Nobody => -1,
            As::Late => generation + 1,
            As::Member | As::Stranger => generation,
        };
        let member = group.some(number).filter(|_| whoever != As::Nobody);
        let member = member.filter(|_| whoever != As::Stranger);
        let id = member.as_ref().map(|member| member.id.clone());
        let nobody = if whoever == As::Nobody { "" } else { "nobody" };
        request.member_id = text(id.as_deref().unwrap_or(nobody));
        let absent = if version >= COMMIT_ABSENT_FROM {
            ErrorCode::GroupIdNotFound
        } else {
            ErrorCode::IllegalGeneration
        };
        match (whoever, phase) {
            (_, Phase::Unsure) => vec![
                ErrorCode::None,
                ErrorCode::OffsetMetadataTooLarge,
                ErrorCode::UnknownMemberId,
                ErrorCode::IllegalGeneration,
                ErrorCode::RebalanceInProgress,
                absent,
            ],
            (As::Nobody, Phase::Empty) => vec![ErrorCode::None],
            (As::Nobody, _) => vec![ErrorCode::UnknownMemberId],
            (_, Phase::Empty) if !exists && !may_exist => vec![absent],
            (_, Phase::Empty) if !exists => vec![absent, ErrorCode::UnknownMemberId],
            (As::Stranger, _) | (_, Phase::Empty) => vec![ErrorCode::UnknownMemberId],
            (As::Late, _) => vec![ErrorCode::IllegalGeneration],
            (As::Member, Phase::Joined(_)) => vec![ErrorCode::RebalanceInProgress],
            (As::Member, Phase::Stable) => {
                if let Some(member) = member {
                    member.until = now + SESSION;
                }
                vec![ErrorCode::None]
            }
        }
    }

    /// What a group keeps of all partitions that may be named, or of all.
    pub(super) async fn fetch_offsets(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (Api::OffsetFetch, version(Api::OffsetFetch, input));
        let all = input.byte() & 1 == 0 && api.1 >= FETCH_ALL_FROM;
        let mut request = OffsetFetchRequest::default();
        let names: Vec<&str> = ["a", "b", "c.d"].into();
        let numbers = vec![0, 1, 2, 9];
        if api.1 < FETCH_GROUPS_FROM {
            request.group_id = text(name);
            let rows = names.iter().map(|topic| {
                let mut row = OffsetFetchRequestTopic::default();
                row.name = text(topic);
                row.partition_indexes.clone_from(&numbers);
                row
            });
            request.topics = (!all).then(|| rows.collect());
        } else {
            let rows = names.iter().map(|topic| {
                let mut row = OffsetFetchRequestTopics::default();
                if api.1 >= FETCH_IDS_FROM {
                    row.topic_id = self.id_of(topic);
                } else {
                    row.name = text(topic);
                }
                row.partition_indexes.clone_from(&numbers);
                row
            });
            let mut of = OffsetFetchRequestGroup::default();
            of.group_id = text(name);
            of.topics = (!all).then(|| rows.collect());
            request.groups = vec![of];
        }
        let code = |answer: &OffsetFetchResponse| {
            let of_group = answer.groups.first().map_or(0, |group| group.error_code);
            let rows = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let of_rows = rows.map(|row| row.error_code).max().unwrap_or(0);
            answer.error_code.max(of_group).max(of_rows)
        };
        let answer: OffsetFetchResponse = self.coordinate(api, &request, code).await;
        assert_eq!(code(&answer), 0, "{answer:?}");
        let found = self.found(api.1, &answer);
        let mut wanted = self.group(name).offsets.clone();
        if api.1 < FETCH_EPOCHS_FROM {
            for kept in wanted.values_mut() {
                kept.leader_epoch = -1;
            }
        }
        if !all {
            wanted.retain(|(topic, _), _| names.contains(&topic.as_str()));
        }
        assert_eq!(found, wanted, "what {name:?} keeps");
    }

    /// The offsets of an answer.
    fn found(&self, version: i16, answer: &OffsetFetchResponse) -> BTreeMap<(String, i32), Kept> {
        let mut found = BTreeMap::new();
        let mut keep = |topic: &str,
                        partition: i32,
                        (offset, leader_epoch): (i64, i32),
                        beside: Option<&str>| {
            if offset >= 0 {
                let kept = Kept {
                    offset,
                    leader_epoch,
                    metadata: beside.unwrap_or_default().to_owned(),
                };
                found.insert((topic.to_owned(), partition), kept);
            }
        };
        for topic in &answer.topics {
            for row in &topic.partitions {
                let at = (row.committed_offset, row.committed_leader_epoch);
                keep(
                    &topic.name,
                    row.partition_index,
                    at,
                    row.metadata.as_deref(),
                );
            }
        }
        for topic in answer.groups.iter().flat_map(|group| &group.topics) {
            let by_id = self.model.name_of(topic.topic_id);
            let name = by_id.filter(|_| version >= FETCH_IDS_FROM);
            let name = name.unwrap_or_else(|| topic.name.to_string());
            for row in &topic.partitions {
                let at = (row.committed_offset, row.committed_leader_epoch);
                let by_id = version >= FETCH_IDS_FROM;
                let unknown = by_id && self.model.name_of(topic.topic_id).is_none();
                let code = if unknown {
                    ErrorCode::UnknownTopicId
                } else {
                    ErrorCode::None
                };
                assert_eq!(row.error_code, code.code(), "{topic:?}");
                keep(&name, row.partition_index, at, row.metadata.as_deref());
            }
        }
        found
    }

    /// Removes the offset of one partition. Members here read nothing, so that any may go.
    pub(super) async fn delete_offset(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (Api::OffsetDelete, version(Api::OffsetDelete, input));
        let (topic, partition) = (*input.choice(&NAMES), i32::from(input.byte() % 3));
        let mut row = OffsetDeleteRequestPartition::default();
        row.partition_index = partition;
        let mut of = OffsetDeleteRequestTopic::default();
        of.name = text(topic);
        of.partitions = vec![row];
        let mut request = OffsetDeleteRequest::default();
        request.group_id = text(name);
        request.topics = vec![of];
        let code = |answer: &OffsetDeleteResponse| match &answer.topics[..] {
            [topic, ..] if answer.error_code == 0 => topic.partitions[0].error_code,
            _ => answer.error_code,
        };
        let answer: OffsetDeleteResponse = self.coordinate(api, &request, code).await;
        let is_there =
            self.model.topics.get(topic).is_some_and(|topic| {
                usize::try_from(partition).is_ok_and(|at| at < topic.logs.len())
            });
        let group = self.group(name);
        let exists = !group.offsets.is_empty() || !group.members.is_empty();
        let may = match (is_there, exists, group.may_exist) {
            _ if name.is_empty() => vec![
                ErrorCode::InvalidGroupId,
                ErrorCode::UnknownTopicOrPartition,
            ],
            (false, ..) => vec![
                ErrorCode::UnknownTopicOrPartition,
                ErrorCode::GroupIdNotFound,
            ],
            (true, true, _) => vec![ErrorCode::None],
            (true, false, true) => vec![ErrorCode::None, ErrorCode::GroupIdNotFound],
            (true, false, false) => vec![ErrorCode::GroupIdNotFound],
        };
        may_be(&request, code(&answer), &may);
        if code(&answer) == 0 && is_there {
            let removed = group.offsets.remove(&(topic.to_owned(), partition));
            group.may_exist |= removed.is_some();
        }
    }
}
