//! `millrace offset`: the offsets that partitions have.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use millrace_client::Isolation;
use serde_json::json;

use super::position::Position;
use super::table::{Table, or_dash};
use super::{At, EXIT_CODES, Failure, Session};

/// Offsets of a cluster's partitions.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct OffsetCommand {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists where partitions begin and end.
    List {
        /// The topics.
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// Only this partition. May be repeated.
        #[arg(short, long, value_name = "NUMBER")]
        partition: Vec<i32>,
        /// The offset of this place too: @ and a moment, or -10 for ten before the end.
        #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
        of: Option<Position>,
        /// The end as a reader of committed records sees it.
        #[arg(long)]
        committed_only: bool,
    },
}

/// Runs the command.
pub(crate) fn run(command: OffsetCommand) -> ExitCode {
    let Command::List {
        topics,
        partition,
        of,
        committed_only,
    } = command.command;
    let isolation = if committed_only {
        Isolation::ReadCommitted
    } else {
        Isolation::ReadUncommitted
    };
    super::run(&command.at, async |session| {
        list(session, &topics, &partition, of.as_ref(), isolation).await
    })
}

async fn list(
    session: &Session,
    topics: &[String],
    numbers: &[i32],
    of: Option<&Position>,
    isolation: Isolation,
) -> Result<(), Failure> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let partitions = session.partitions(&names, numbers).await?;
    let bounds = session.bounds(&partitions, isolation).await?;
    let found = match of {
        Some(position) => Some(session.resolve(position, &bounds).await?),
        None => None,
    };
    let found_of = |item| found.as_ref().and_then(|found| found.get(item)).copied();
    session.print(
        || {
            let rows = bounds.of.iter().map(|(item, (start, end))| {
                let mut row = json!({
                    "topic": &*item.topic,
                    "partition": item.partition,
                    "start_offset": start,
                    "end_offset": end,
                });
                if found.is_some() {
                    row["offset"] = json!(found_of(item));
                }
                row
            });
            json!({"offsets": rows.collect::<Vec<_>>()})
        },
        || {
            let mut table = if found.is_some() {
                Table::new(&["TOPIC", "PARTITION", "START", "END", "OFFSET"])
            } else {
                Table::new(&["TOPIC", "PARTITION", "START", "END"])
            };
            for (item, (start, end)) in &bounds.of {
                table.row([
                    item.topic.to_string(),
                    item.partition.to_string(),
                    start.to_string(),
                    end.to_string(),
                    or_dash(found_of(item)),
                ]);
            }
            table.text()
        },
    )
}
