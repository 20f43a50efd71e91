//! What anybody may ask of groups: the offsets that they keep, what they are doing, which there are;
//! and what tools do to them: offsets and groups removed.
//!
//! What always holds: as in [`super::calls`].

use std::collections::BTreeSet;

use millrace_client::{Client, Error, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use millrace_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use millrace_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetDeleteRequest,
    OffsetFetchRequest,
};

use super::calls::{Kept, ask, bear, code, refused, version};
use super::wire::{Assignment, Place};

/// One member, as a group is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) member_id: String,
    pub(super) instance: Option<String>,
    pub(super) places: BTreeSet<Place>,
}

/// A group, as it is described: its state, and its members.
pub(super) type Description = (String, Vec<Described>);

/// The offsets that a group keeps, of these topics; `None` asks for all that it keeps.
pub(super) async fn fetch(
    client: &Client,
    group: &str,
    topics: &[Topic],
    draw: u64,
) -> Result<Kept, Error> {
    let mut version = version::<OffsetFetchRequest>(draw);
    let all = (draw / 16).is_multiple_of(4);
    if all {
        version = version.max(2);
    }
    let mut request = OffsetFetchRequest::default();
    if version >= 7 {
        request.require_stable = (draw / 64).is_multiple_of(2);
    }
    let numbers = |topic: &Topic| (0..topic.partitions).collect::<Vec<i32>>();
    if version < 8 {
        let rows = topics.iter().map(|topic| {
            let mut row = OffsetFetchRequestTopic::default();
            row.name = topic.name.clone().into();
            row.partition_indexes = numbers(topic);
            row
        });
        request.group_id = group.to_owned().into();
        request.topics = (!all).then(|| rows.collect());
    } else {
        let rows = topics.iter().map(|topic| {
            let mut row = OffsetFetchRequestTopics::default();
            if version >= 10 {
                row.topic_id = topic.id.into();
            } else {
                row.name = topic.name.clone().into();
            }
            row.partition_indexes = numbers(topic);
            row
        });
        let mut of = OffsetFetchRequestGroup::default();
        of.group_id = group.to_owned().into();
        of.topics = (!all).then(|| rows.collect());
        request.groups = vec![of];
    }
    let answer = ask(client, version, &request).await?;
    let answer = answer.read()?;
    let mut kept = Kept::new();
    let mut keep = |topic: &str, number: i32, offset: i64, beside: Option<&str>, error: i16| {
        answered("an offset", error)?;
        if offset >= 0 {
            let beside = beside.unwrap_or_default().to_owned();
            kept.insert((topic.to_owned(), number), (offset, beside));
        }
        Ok::<(), Error>(())
    };
    answered("offsets", answer.error_code)?;
    for topic in answer.topics {
        for row in topic.partitions {
            let (number, offset) = (row.partition_index, row.committed_offset);
            keep(topic.name, number, offset, row.metadata, row.error_code)?;
        }
    }
    for group in answer.groups {
        answered("offsets", group.error_code)?;
        for topic in group.topics {
            let by_id = topics.iter().find(|known| known.id == topic.topic_id);
            let name = match by_id.filter(|_| version >= 10) {
                Some(known) => &known.name,
                None => topic.name,
            };
            for row in topic.partitions {
                let (number, offset) = (row.partition_index, row.committed_offset);
                keep(name, number, offset, row.metadata, row.error_code)?;
            }
        }
    }
    Ok(kept)
}

fn answered(what: &str, number: i16) -> Result<(), Error> {
    let code = bear(what, code(number))?;
    if code == ErrorCode::None {
        return Ok(());
    }
    Err(refused(what, code))
}

/// What a group is doing; `None` for one that isn't there.
pub(super) async fn describe(
    client: &Client,
    group: &str,
    draw: u64,
) -> Result<Option<Description>, Error> {
    let version = version::<DescribeGroupsRequest>(draw);
    let mut request = DescribeGroupsRequest::default();
    request.groups = vec![group.to_owned().into()];
    let answer = ask(client, version, &request).await?;
    let answer = answer.read()?;
    let Some(row) = answer.groups.into_iter().next() else {
        return Err(refused(
            "to describe a group",
            ErrorCode::UnknownServerError,
        ));
    };
    let code = bear("to describe a group", code(row.error_code))?;
    if ![ErrorCode::None, ErrorCode::GroupIdNotFound].contains(&code) {
        return Err(refused("to describe a group", code));
    }
    // Versions before the last one have no code for it.
    if code != ErrorCode::None || row.group_state == "Dead" {
        return Ok(None);
    }
    let members = row.members.into_iter().map(|member| Described {
        member_id: member.member_id.to_owned(),
        instance: member.group_instance_id.map(str::to_owned),
        places: Assignment::decode(member.member_assignment)
            .map_or_else(BTreeSet::new, |given| given.places),
    });
    Ok(Some((row.group_state.to_owned(), members.collect())))
}

/// The groups that there are.
pub(super) async fn list(client: &Client, draw: u64) -> Result<BTreeSet<String>, Error> {
    let version = version::<ListGroupsRequest>(draw);
    let answer = ask(client, version, &ListGroupsRequest::default()).await?;
    let answer = answer.read()?;
    answered("to list groups", answer.error_code)?;
    let groups = answer.groups.into_iter();
    Ok(groups.map(|group| group.group_id.to_owned()).collect())
}

/// Removes a group.
pub(super) async fn delete(client: &Client, group: &str, draw: u64) -> Result<ErrorCode, Error> {
    let version = version::<DeleteGroupsRequest>(draw);
    let mut request = DeleteGroupsRequest::default();
    request.groups_names = vec![group.to_owned().into()];
    let answer = ask(client, version, &request).await?;
    let answer = answer.read()?;
    let row = answer.results.into_iter().next();
    Ok(code(row.map_or(-1, |row| row.error_code)))
}

/// Removes the offset of one partition: the code of the answer, or that of the offset.
pub(super) async fn delete_offset(
    client: &Client,
    group: &str,
    (topic, number): (&Topic, i32),
) -> Result<ErrorCode, Error> {
    let mut row = OffsetDeleteRequestPartition::default();
    row.partition_index = number;
    let mut of = OffsetDeleteRequestTopic::default();
    of.name = topic.name.clone().into();
    of.partitions = vec![row];
    let mut request = OffsetDeleteRequest::default();
    request.group_id = group.to_owned().into();
    request.topics = vec![of];
    let answer = ask(client, 0, &request).await?;
    let answer = answer.read()?;
    if answer.error_code != 0 {
        return Ok(code(answer.error_code));
    }
    let row = answer.topics.into_iter().flat_map(|topic| topic.partitions);
    Ok(code(row.map(|row| row.error_code).next().unwrap_or(-1)))
}
