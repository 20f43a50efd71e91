//! `millrace group describe`: who is in a group, what it has committed, and how far it is behind.

use std::collections::{BTreeMap, BTreeSet};

use millrace_client::{
    Error, GroupMember, GroupSummary, Isolation, OffsetAndMetadata, OffsetOf, Outcomes,
    TopicPartition,
};
use serde_json::{Value, json};

use crate::remote::failure::code_of;
use crate::remote::table::{Table, or_dash};
use crate::remote::{Failure, Session, put};

/// All that is known of one group.
struct Known {
    group: String,
    /// `None` for a group of another type than the classic.
    summary: Option<GroupSummary>,
    rows: Vec<Row>,
}

/// One partition of it.
struct Row {
    item: TopicPartition,
    committed: Option<i64>,
    end: Option<i64>,
    member: Option<GroupMember>,
}

impl Row {
    fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

/// Runs the command.
pub(super) async fn run(session: &Session, groups: &[String]) -> Result<(), Failure> {
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let mut summaries = session.admin.describe_groups(&names).await?;
    let mut committed = session.admin.committed_offsets(&names).await?;
    let mut all = Vec::new();
    for name in names {
        let offsets = committed
            .remove(name)
            .unwrap_or_else(|| Ok(BTreeMap::new()))?;
        let summary = match summaries.remove(name) {
            Some(Ok(summary)) => Some(summary),
            // Offsets without members, or a group of a later kind.
            Some(Err(error)) if is_not_found(&error) && !offsets.is_empty() => None,
            Some(Err(error)) => return Err(error.into()),
            None => None,
        };
        all.push(known(session, name, summary, offsets).await?);
    }
    session.print(
        || json!({"groups": all.iter().map(object).collect::<Vec<_>>()}),
        String::new,
    )?;
    if session.form == crate::remote::Form::Table {
        for known in &all {
            put(&text(known))?;
        }
    }
    Ok(())
}

fn is_not_found(error: &Error) -> bool {
    code_of(error) == "GROUP_ID_NOT_FOUND"
}

async fn known(
    session: &Session,
    group: &str,
    summary: Option<GroupSummary>,
    offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> Result<Known, Failure> {
    let mut members = BTreeMap::new();
    for member in summary.iter().flat_map(|summary| &summary.members) {
        members.extend(
            member
                .partitions
                .iter()
                .map(|item| (item.clone(), member.clone())),
        );
    }
    let items: BTreeSet<_> = members.keys().chain(offsets.keys()).cloned().collect();
    let asked = items.iter().map(|item| (item.clone(), OffsetOf::End));
    let ends = session
        .admin
        .list_offsets(asked, Isolation::ReadUncommitted)
        .await?;
    let rows = items.into_iter().map(|item| Row {
        committed: offsets.get(&item).map(|committed| committed.offset),
        end: end_of(&ends, &item),
        member: members.remove(&item),
        item,
    });
    Ok(Known {
        group: group.to_owned(),
        rows: rows.collect(),
        summary,
    })
}

/// `None` for a topic that is there no more, of which the group still has offsets.
fn end_of(
    ends: &Outcomes<TopicPartition, millrace_client::ListedOffset>,
    item: &TopicPartition,
) -> Option<i64> {
    ends.get(item)?.as_ref().ok()?.offset
}

/// Of all partitions of which something is committed; `None` while that is none.
fn lag(rows: &[Row]) -> Option<i64> {
    rows.iter()
        .filter_map(Row::lag)
        .reduce(|sum, lag| sum + lag)
}

fn object(known: &Known) -> Value {
    let summary = known.summary.as_ref();
    let members = summary
        .into_iter()
        .flat_map(|summary| &summary.members)
        .map(|member| {
            let partitions = member
                .partitions
                .iter()
                .map(|item| json!({"topic": &*item.topic, "partition": item.partition}));
            json!({
                "member": member.id,
                "instance": member.instance_id,
                "client_id": member.client_id,
                "host": member.host,
                "partitions": partitions.collect::<Vec<_>>(),
            })
        });
    let offsets = known.rows.iter().map(|row| {
        json!({
            "topic": &*row.item.topic,
            "partition": row.item.partition,
            "committed_offset": row.committed,
            "end_offset": row.end,
            "lag": row.lag(),
            "member": row.member.as_ref().map(|member| &member.id),
        })
    });
    json!({
        "group": known.group,
        "state": summary.map(|summary| &summary.state),
        "protocol_type": summary.map(|summary| &summary.protocol_type),
        "assignor": summary.map(|summary| &summary.protocol),
        "members": members.collect::<Vec<_>>(),
        "offsets": offsets.collect::<Vec<_>>(),
        "lag": lag(&known.rows),
    })
}

fn text(known: &Known) -> String {
    let (state, assignor, members) = match &known.summary {
        Some(summary) => (
            summary.state.as_str(),
            summary.protocol.as_str(),
            summary.members.len(),
        ),
        None => ("not a classic group", "", 0),
    };
    let assignor = if assignor.is_empty() { "-" } else { assignor };
    let head = format!(
        "group {}: {state}, members {members}, assignor {assignor}, lag {}\n",
        known.group,
        or_dash(lag(&known.rows))
    );
    let columns = [
        "TOPIC",
        "PARTITION",
        "COMMITTED",
        "END",
        "LAG",
        "MEMBER",
        "HOST",
    ];
    let mut table = Table::new(&columns);
    for row in &known.rows {
        table.row([
            row.item.topic.to_string(),
            row.item.partition.to_string(),
            or_dash(row.committed),
            or_dash(row.end),
            or_dash(row.lag()),
            or_dash(row.member.as_ref().map(|member| member.id.clone())),
            or_dash(row.member.as_ref().map(|member| member.host.clone())),
        ]);
    }
    format!("{head}{}\n", table.text())
}
