//! What tools ask of groups: which there are, what they are doing, and that they go.

use std::collections::BTreeSet;

use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, ListGroupsRequest, ListGroupsResponse,
};

use super::may_be;
use super::model::{Group, Phase};
use crate::broker_requests::{Run, text, version};
use crate::input::Input;

/// First version that says of a group that isn't there that it isn't.
const DESCRIBE_ABSENT_FROM: i16 = 6;

impl Run<'_> {
    /// Sees to it that there is a topic that keeps groups.
    pub(super) async fn have_groups(&mut self) {
        if self.model.has_groups() {
            return;
        }
        let mut request = FindCoordinatorRequest::default();
        request.coordinator_keys = vec![text("g")];
        let api = (Api::FindCoordinator, Api::FindCoordinator.row().served.max);
        let answer: Option<FindCoordinatorResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        assert_eq!(answer.coordinators[0].error_code, 0, "{answer:?}");
        self.model.makes_groups();
    }

    /// All groups.
    pub(super) async fn list_groups(&mut self, input: &mut Input<'_>) {
        let api = (Api::ListGroups, version(Api::ListGroups, input));
        let answer: ListGroupsResponse = self
            .coordinate(
                api,
                &ListGroupsRequest::default(),
                |answer: &ListGroupsResponse| answer.error_code,
            )
            .await;
        may_be(&answer, answer.error_code, &[ErrorCode::None]);
        let listed = answer.groups.iter().map(|group| group.group_id.to_string());
        let listed: BTreeSet<String> = listed.collect();
        assert_eq!(listed.len(), answer.groups.len(), "each group once");
        for (name, group) in &self.model.groups {
            let is_there = !group.offsets.is_empty() || !group.members.is_empty();
            let may_be_there = is_there || group.may_exist;
            let is_listed = listed.contains(name);
            assert!(is_listed || !is_there, "{name:?} is not listed: {group:?}");
            assert!(!is_listed || may_be_there, "{name:?} is listed: {group:?}");
        }
        let known = |name: &&String| self.model.groups.contains_key(*name);
        assert!(listed.iter().all(|name| known(&name)), "{listed:?}");
    }

    /// What one group is doing.
    pub(super) async fn describe_group(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (Api::DescribeGroups, version(Api::DescribeGroups, input));
        let mut request = DescribeGroupsRequest::default();
        request.groups = vec![text(name)];
        let answer: DescribeGroupsResponse = self
            .coordinate(api, &request, |answer: &DescribeGroupsResponse| {
                answer.groups[0].error_code
            })
            .await;
        let row = &answer.groups[0];
        let group = self.group(name).clone();
        if name.is_empty() {
            return;
        }
        let ids: BTreeSet<&str> = row
            .members
            .iter()
            .map(|member| &*member.member_id)
            .collect();
        assert_eq!(ids.len(), row.members.len(), "each member once");
        let state = match group.phase {
            Phase::Unsure => return,
            Phase::Empty if group.offsets.is_empty() => {
                let is_none = row.error_code != 0 || &*row.group_state == "Dead";
                assert!(is_none || group.may_exist, "{row:?}");
                let absent = ErrorCode::GroupIdNotFound.code();
                let wanted = i16::from(api.1 >= DESCRIBE_ABSENT_FROM) * absent;
                assert!(row.error_code == 0 || row.error_code == wanted, "{row:?}");
                return assert!(ids.is_empty(), "{row:?}");
            }
            Phase::Empty => "Empty",
            Phase::Joined(_) => "CompletingRebalance",
            Phase::Stable => "Stable",
        };
        assert_eq!((row.error_code, &*row.group_state), (0, state), "{row:?}");
        assert_eq!(ids, group.ids(), "{row:?}");
        if group.phase == Phase::Stable {
            for member in &row.members {
                let known = group
                    .members
                    .iter()
                    .find(|known| *known.id == *member.member_id);
                assert_eq!(
                    known.map(|known| &known.part),
                    Some(&member.member_assignment)
                );
            }
        }
    }

    /// Removes one group.
    pub(super) async fn delete_group(&mut self, name: &str, input: &mut Input<'_>) {
        let api = (Api::DeleteGroups, version(Api::DeleteGroups, input));
        let mut request = DeleteGroupsRequest::default();
        request.groups_names = vec![text(name)];
        let answer: DeleteGroupsResponse = self
            .coordinate(api, &request, |answer: &DeleteGroupsResponse| {
                answer.results[0].error_code
            })
            .await;
        let code = answer.results[0].error_code;
        let group = self.group(name);
        let may = match group.phase {
            Phase::Unsure => vec![
                ErrorCode::None,
                ErrorCode::NonEmptyGroup,
                ErrorCode::GroupIdNotFound,
            ],
            Phase::Joined(_) | Phase::Stable => vec![ErrorCode::NonEmptyGroup],
            Phase::Empty if !group.offsets.is_empty() => vec![ErrorCode::None],
            Phase::Empty if group.may_exist => vec![ErrorCode::None, ErrorCode::GroupIdNotFound],
            Phase::Empty => vec![ErrorCode::GroupIdNotFound],
        };
        may_be(&request, code, &may);
        if code == 0 {
            *group = Group::default();
        }
    }
}
