//! `millrace group`: consumer groups, their members, offsets and lag.

mod describe;
mod reset;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::report::Report;
use super::table::Table;
use super::{At, EXIT_CODES, Failure, Session};

/// Lists, describes, resets and removes consumer groups.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct GroupCommand {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists groups.
    List {
        /// Only those in this state, as Stable or Empty. May be repeated.
        #[arg(long, value_name = "STATE")]
        state: Vec<String>,
    },
    /// Shows members, committed offsets and lag of groups.
    Describe {
        /// The groups.
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// Has a group without members go on elsewhere.
    Reset(reset::ResetOptions),
    /// Removes groups without members, with their offsets.
    Delete {
        /// The groups.
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// Has a group forget what it committed.
    DeleteOffsets {
        /// The group.
        group: String,
        /// Of this topic, or as TOPIC:0,1 of these partitions. May be repeated.
        #[arg(short, long, required = true, value_name = "TOPIC")]
        topic: Vec<reset::Part>,
    },
}

/// Runs the command.
pub(crate) fn run(command: GroupCommand) -> ExitCode {
    let GroupCommand { command, at } = command;
    super::run(&at, async |session| match command {
        Command::List { state } => list(session, &state).await,
        Command::Describe { groups } => describe::run(session, &groups).await,
        Command::Reset(options) => reset::run(session, &options).await,
        Command::Delete { groups } => delete(session, &groups).await,
        Command::DeleteOffsets { group, topic } => delete_offsets(session, &group, &topic).await,
    })
}

async fn list(session: &Session, states: &[String]) -> Result<(), Failure> {
    let mut groups = session.admin.list_groups().await?;
    let is_wanted = |state: &str| {
        states
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(state))
    };
    groups.retain(|group| states.is_empty() || is_wanted(&group.state));
    session.print(
        || {
            let groups = groups.iter().map(|group| {
                json!({
                    "group": group.group,
                    "state": group.state,
                    "type": group.kind,
                    "protocol_type": group.protocol_type,
                    "coordinator": group.coordinator,
                })
            });
            json!({"groups": groups.collect::<Vec<_>>()})
        },
        || {
            let mut table = Table::new(&["GROUP", "STATE", "TYPE", "COORDINATOR"]);
            for group in &groups {
                table.row([
                    group.group.clone(),
                    group.state.clone(),
                    group.kind.clone(),
                    group.coordinator.to_string(),
                ]);
            }
            table.text()
        },
    )
}

async fn delete(session: &Session, groups: &[String]) -> Result<(), Failure> {
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let outcomes = session.admin.delete_groups(&names).await?;
    let mut report = Report::new(session);
    for (name, outcome) in &outcomes {
        let outcome = outcome.as_ref().map(|()| format!("{name} deleted"));
        report.add(json!({"group": &**name}), outcome)?;
    }
    report.end()
}

async fn delete_offsets(
    session: &Session,
    group: &str,
    parts: &[reset::Part],
) -> Result<(), Failure> {
    let committed = reset::committed(session, group).await?;
    let mut partitions = reset::selected(session, parts).await?;
    // A topic's partitions are those that the group has something of.
    let whole = |topic: &str| parts.iter().any(|part| part.is_whole(topic));
    partitions.retain(|item| committed.contains_key(item) || !whole(&item.topic));
    let outcomes = session.admin.delete_offsets(group, &partitions).await?;
    let mut report = Report::new(session);
    for (item, outcome) in &outcomes {
        let row = json!({
            "group": group,
            "topic": &*item.topic,
            "partition": item.partition,
        });
        let outcome = outcome
            .as_ref()
            .map(|()| format!("the offset of {item} deleted"));
        report.add(row, outcome)?;
    }
    report.end()
}
