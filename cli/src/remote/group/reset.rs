//! `millrace group reset`: where a group goes on.
//!
//! What always holds: an offset that is set lies within what its partition has at that moment.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::Args;
use millrace_client::{Isolation, OffsetAndMetadata, TopicPartition};
use serde_json::json;

use crate::remote::position::{Bounds, Position};
use crate::remote::report::Report;
use crate::remote::table::{Table, or_dash};
use crate::remote::{Failure, Form, Session, put};

/// Where to.
#[derive(Debug, Args)]
pub(super) struct ResetOptions {
    /// The group.
    group: String,
    /// To this place: earliest, latest, an offset, -10 for ten before the end, or @ and a moment.
    #[arg(
        long,
        value_name = "PLACE",
        allow_hyphen_values = true,
        required_unless_present = "shift_by",
        conflicts_with = "shift_by"
    )]
    to: Option<Position>,
    /// So many records on from what is committed, or back.
    #[arg(long, value_name = "RECORDS", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// Of this topic, or as TOPIC:0,1 of these partitions; of all that the group has committed offsets
    /// of if it isn't given. May be repeated.
    #[arg(short, long, value_name = "TOPIC")]
    topic: Vec<Part>,
    /// Only shows what would be set.
    #[arg(long)]
    dry_run: bool,
}

/// A topic, or some partitions of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    topic: String,
    partitions: Vec<i32>,
}

impl Part {
    /// Whether it is all of this topic.
    pub(super) fn is_whole(&self, topic: &str) -> bool {
        self.topic == topic && self.partitions.is_empty()
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (topic, numbers) = text.split_once(':').unwrap_or((text, ""));
        let read = |number: &str| number.parse::<i32>().ok().filter(|number| *number >= 0);
        let partitions: Option<Vec<i32>> = if numbers.is_empty() {
            Some(Vec::new())
        } else {
            numbers.split(',').map(read).collect()
        };
        match partitions {
            Some(partitions) if !topic.is_empty() && !text.ends_with(':') => Ok(Self {
                topic: topic.to_owned(),
                partitions,
            }),
            Some(_) | None => Err(format!("{text:?} is not of the form TOPIC or TOPIC:0,1")),
        }
    }
}

/// The partitions that were named.
pub(super) async fn selected(
    session: &Session,
    parts: &[Part],
) -> Result<Vec<TopicPartition>, Failure> {
    let mut all = Vec::new();
    for part in parts {
        all.extend(session.partitions(&[&part.topic], &part.partitions).await?);
    }
    Ok(all)
}

/// What a group has committed.
pub(super) async fn committed(
    session: &Session,
    group: &str,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, Failure> {
    let mut told = session.admin.committed_offsets(&[group]).await?;
    let committed = told.remove(group).unwrap_or_else(|| Ok(BTreeMap::new()))?;
    Ok(committed)
}

/// Runs the command.
pub(super) async fn run(session: &Session, options: &ResetOptions) -> Result<(), Failure> {
    let group = &options.group;
    let committed = committed(session, group).await?;
    let partitions = if options.topic.is_empty() {
        committed.keys().cloned().collect()
    } else {
        selected(session, &options.topic).await?
    };
    if partitions.is_empty() {
        return Err(
            Failure::refused(format!("group {group} has no committed offsets")).advise(
                "name the topics with --topic, or look for the group in millrace group list",
            ),
        );
    }
    let bounds = session
        .bounds(&partitions, Isolation::ReadUncommitted)
        .await?;
    let targets = targets(session, options, &committed, &bounds).await?;
    if options.dry_run {
        return show(session, group, &committed, &targets);
    }
    let commits = targets
        .iter()
        .map(|(item, offset)| (item.clone(), OffsetAndMetadata::at(*offset)));
    let commits: BTreeMap<_, _> = commits.collect();
    let outcomes = session.admin.alter_offsets(group, &commits).await?;
    let mut report = Report::new(session);
    for (item, outcome) in &outcomes {
        let before = committed.get(item).map(|committed| committed.offset);
        let after = targets.get(item).copied();
        let row = json!({
            "group": group,
            "topic": &*item.topic,
            "partition": item.partition,
            "before": before,
            "after": after,
            "dry_run": false,
        });
        let line = || format!("{item}: {} -> {}", or_dash(before), or_dash(after));
        report.add(row, outcome.as_ref().map(|()| line()))?;
    }
    report.end()
}

async fn targets(
    session: &Session,
    options: &ResetOptions,
    committed: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    bounds: &Bounds,
) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
    let mut targets = match (&options.to, options.shift_by) {
        (Some(position), _) => session.resolve(position, bounds).await?,
        (None, shift) => {
            let shift = shift.unwrap_or(0);
            let shifted = bounds.of.keys().filter_map(|item| {
                let offset = committed.get(item)?.offset;
                Some((item.clone(), offset.saturating_add(shift)))
            });
            shifted.collect()
        }
    };
    for (item, offset) in &mut targets {
        if let Some((start, end)) = bounds.of.get(item) {
            *offset = (*offset).clamp(*start, (*end).max(*start));
        }
    }
    Ok(targets)
}

fn show(
    session: &Session,
    group: &str,
    committed: &BTreeMap<TopicPartition, OffsetAndMetadata>,
    targets: &BTreeMap<TopicPartition, i64>,
) -> Result<(), Failure> {
    let before = |item| committed.get(item).map(|committed| committed.offset);
    if session.form == Form::Json {
        let results = targets.iter().map(|(item, after)| {
            json!({
                "group": group,
                "topic": &*item.topic,
                "partition": item.partition,
                "before": before(item),
                "after": after,
                "dry_run": true,
            })
        });
        return put(&format!(
            "{}\n",
            json!({"results": results.collect::<Vec<_>>()})
        ));
    }
    let mut table = Table::new(&["TOPIC", "PARTITION", "BEFORE", "AFTER"]);
    for (item, after) in targets {
        table.row([
            item.topic.to_string(),
            item.partition.to_string(),
            or_dash(before(item)),
            after.to_string(),
        ]);
    }
    put(&format!(
        "{}\nnothing was changed: this was a dry run\n",
        table.text()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_topic_or_some_partitions_of_it() {
        let part = |topic: &str, partitions: &[i32]| Part {
            topic: topic.to_owned(),
            partitions: partitions.to_vec(),
        };
        assert_eq!("t".parse(), Ok(part("t", &[])));
        assert_eq!("t:0,12".parse(), Ok(part("t", &[0, 12])));
        for text in ["", ":1", "t:", "t:x", "t:-1", "t:1,"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }
}
