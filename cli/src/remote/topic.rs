//! `millrace topic`: topics of a cluster.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use millrace_client::{Isolation, NewTopic, TopicPartition, TopicPartitions};
use serde_json::{Value, json};

use super::failure::code_of;
use super::position::{Bounds, Position};
use super::report::Report;
use super::table::{Table, list, or_dash};
use super::{At, EXIT_CODES, Failure, Session};

/// Lists, makes, describes and removes topics of a cluster.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct TopicCommand {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists topics.
    List {
        /// The brokers' own ones too.
        #[arg(long)]
        internal: bool,
    },
    /// Makes topics.
    Create(CreateOptions),
    /// Shows each partition of topics: leader, replicas, offsets.
    Describe {
        /// The topics.
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
    },
    /// Removes topics with all their records.
    Delete {
        /// The topics.
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
    },
    /// Gives a topic more partitions. Keys go to other partitions from then on.
    AddPartitions {
        /// The topic.
        topic: String,
        /// How many it is to have in all.
        #[arg(long, value_name = "COUNT")]
        to: i32,
        /// Only says whether it would.
        #[arg(long)]
        dry_run: bool,
    },
    /// Deletes the oldest records of a topic, for good.
    Trim {
        /// The topic.
        topic: String,
        /// Where what stays begins: an offset, end, -10 for the last ten, or @ and a moment.
        #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
        before: Position,
        /// Only this partition. May be repeated.
        #[arg(short, long, value_name = "NUMBER")]
        partition: Vec<i32>,
        /// Only says what would be left.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
struct CreateOptions {
    /// The topics.
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Partitions of each; as the broker's default says if it isn't given.
    #[arg(short, long, value_name = "COUNT", default_value_t = -1, hide_default_value = true)]
    partitions: i32,
    /// Replicas of each partition; as the broker's default says if it isn't given.
    #[arg(short, long, value_name = "COUNT", default_value_t = -1, hide_default_value = true)]
    replication_factor: i16,
    /// A configuration, as retention.ms=3600000. May be repeated.
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = super::settings::pair)]
    config: Vec<(String, String)>,
    /// Only says whether it would.
    #[arg(long)]
    dry_run: bool,
    /// A topic that is there already is no error.
    #[arg(long)]
    if_not_exists: bool,
}

/// Runs the command.
pub(crate) fn run(command: TopicCommand) -> ExitCode {
    let TopicCommand { command, at } = command;
    super::run(&at, async |session| match command {
        Command::List { internal } => list_topics(session, internal).await,
        Command::Create(options) => create(session, options).await,
        Command::Describe { topics } => describe(session, &topics).await,
        Command::Delete { topics } => delete(session, &topics).await,
        Command::AddPartitions { topic, to, dry_run } => {
            add_partitions(session, &topic, to, dry_run).await
        }
        Command::Trim {
            topic,
            before,
            partition,
            dry_run,
        } => trim(session, &topic, &before, &partition, dry_run).await,
    })
}

async fn list_topics(session: &Session, internal: bool) -> Result<(), Failure> {
    let mut topics = session.admin.list_topics().await?;
    topics.retain(|topic| internal || !topic.internal);
    let replicas = |topic: &TopicPartitions| topic.partitions.first().map(|p| p.replicas.len());
    session.print(
        || {
            let topics = topics.iter().map(|topic| {
                json!({
                    "topic": &*topic.name,
                    "id": topic.id.to_string(),
                    "internal": topic.internal,
                    "partitions": topic.partitions.len(),
                    "replicas": replicas(topic),
                })
            });
            json!({"topics": topics.collect::<Vec<_>>()})
        },
        || {
            let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS"]);
            for topic in &topics {
                let partitions = topic.partitions.len().to_string();
                table.row([topic.name.to_string(), partitions, or_dash(replicas(topic))]);
            }
            table.text()
        },
    )
}

async fn create(session: &Session, options: CreateOptions) -> Result<(), Failure> {
    let CreateOptions { topics, .. } = &options;
    let topics = topics.iter().map(|name| NewTopic {
        name: name.clone(),
        partitions: options.partitions,
        replication_factor: options.replication_factor,
        configs: options.config.clone(),
    });
    let topics: Vec<NewTopic> = topics.collect();
    let outcomes = if options.dry_run {
        session.admin.check_new_topics(&topics).await?
    } else {
        session.admin.create_topics(&topics).await?
    };
    let mut report = Report::new(session);
    for (name, outcome) in &outcomes {
        let exists = |error| code_of(error) == "TOPIC_ALREADY_EXISTS";
        match outcome {
            Ok(topic) => {
                let row = json!({
                    "topic": name,
                    "id": topic.id.to_string(),
                    "partitions": topic.partitions,
                    "replicas": topic.replication_factor,
                    "dry_run": options.dry_run,
                });
                let done = if options.dry_run {
                    "would be created"
                } else {
                    "created"
                };
                let partitions = or_dash(topic.partitions);
                let replicas = or_dash(topic.replication_factor);
                let line = format!("{name} {done}: partitions {partitions}, replicas {replicas}");
                report.add(row, Ok(line))?;
            }
            Err(error) if options.if_not_exists && exists(error) => {
                report.add(
                    json!({"topic": name, "existed": true}),
                    Ok(format!("{name} was there")),
                )?;
            }
            Err(error) => report.add(json!({"topic": name}), Err::<&str, _>(error))?,
        }
    }
    report.end()
}

async fn describe(session: &Session, topics: &[String]) -> Result<(), Failure> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let outcomes = session.admin.describe_topics(&names).await?;
    let mut described = Vec::new();
    for outcome in outcomes.into_values() {
        described.push(outcome?);
    }
    // One that nobody leads has no offsets to tell.
    let led = described.iter().flat_map(|topic| {
        let led = topic.partitions.iter().filter(|p| p.leader.is_some());
        led.map(|p| TopicPartition::new(Arc::clone(&topic.name), p.index))
    });
    let led: Vec<_> = led.collect();
    let bounds = session.bounds(&led, Isolation::ReadUncommitted).await?;
    session.print(
        || {
            let topics = described.iter().map(|topic| topic_object(topic, &bounds));
            json!({"topics": topics.collect::<Vec<_>>()})
        },
        || described_text(&described, &bounds),
    )
}

/// Where a partition begins and ends, if it has a leader to tell.
fn bounds_of(bounds: &Bounds, topic: &TopicPartitions, index: i32) -> Option<(i64, i64)> {
    let key = TopicPartition::new(Arc::clone(&topic.name), index);
    bounds.of.get(&key).copied()
}

fn topic_object(topic: &TopicPartitions, bounds: &Bounds) -> Value {
    let partitions = topic.partitions.iter().map(|p| {
        let bounds = bounds_of(bounds, topic, p.index);
        json!({
            "partition": p.index,
            "leader": p.leader,
            "leader_epoch": p.leader_epoch,
            "replicas": p.replicas,
            "in_sync": p.in_sync,
            "start_offset": bounds.map(|(start, _)| start),
            "end_offset": bounds.map(|(_, end)| end),
        })
    });
    json!({
        "topic": &*topic.name,
        "id": topic.id.to_string(),
        "internal": topic.internal,
        "partitions": partitions.collect::<Vec<Value>>(),
    })
}

fn described_text(described: &[Arc<TopicPartitions>], bounds: &Bounds) -> String {
    let mut table = Table::new(&[
        "TOPIC",
        "PARTITION",
        "LEADER",
        "REPLICAS",
        "IN SYNC",
        "START",
        "END",
    ]);
    for topic in described {
        for p in &topic.partitions {
            let bounds = bounds_of(bounds, topic, p.index);
            table.row([
                topic.name.to_string(),
                p.index.to_string(),
                or_dash(p.leader),
                list(&p.replicas),
                list(&p.in_sync),
                or_dash(bounds.map(|(start, _)| start)),
                or_dash(bounds.map(|(_, end)| end)),
            ]);
        }
    }
    table.text()
}

async fn delete(session: &Session, topics: &[String]) -> Result<(), Failure> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let outcomes = session.admin.delete_topics(&names).await?;
    let mut report = Report::new(session);
    for (name, outcome) in &outcomes {
        let outcome = outcome.as_ref().map(|()| format!("{name} deleted"));
        report.add(json!({"topic": name}), outcome)?;
    }
    report.end()
}

async fn add_partitions(
    session: &Session,
    topic: &str,
    to: i32,
    dry_run: bool,
) -> Result<(), Failure> {
    let outcomes = session
        .admin
        .add_partitions(&[(topic, to)], dry_run)
        .await?;
    let mut report = Report::new(session);
    for (name, outcome) in &outcomes {
        let has = if dry_run { "would have" } else { "has" };
        let outcome = outcome
            .as_ref()
            .map(|()| format!("{name} {has} {to} partitions"));
        let row = json!({"topic": name, "partitions": to, "dry_run": dry_run});
        report.add(row, outcome)?;
    }
    report.end()
}

async fn trim(
    session: &Session,
    topic: &str,
    before: &Position,
    partitions: &[i32],
    dry_run: bool,
) -> Result<(), Failure> {
    let partitions = session.partitions(&[topic], partitions).await?;
    let bounds = session
        .bounds(&partitions, Isolation::ReadUncommitted)
        .await?;
    let offsets = session.resolve(before, &bounds).await?;
    let mut report = Report::new(session);
    if dry_run {
        for (item, offset) in &offsets {
            let row = json!({
                "topic": &*item.topic,
                "partition": item.partition,
                "start_offset": offset,
                "dry_run": true,
            });
            report.add(row, Ok(format!("{item} would begin at offset {offset}")))?;
        }
        return report.end();
    }
    let wanted: BTreeMap<_, _> = offsets
        .into_iter()
        .map(|(item, at)| (item, Some(at)))
        .collect();
    for (item, outcome) in &session.admin.delete_records(wanted).await? {
        let row = json!({
            "topic": &*item.topic,
            "partition": item.partition,
            "start_offset": outcome.as_ref().ok(),
            "dry_run": false,
        });
        let outcome = outcome
            .as_ref()
            .map(|at| format!("{item} begins at offset {at}"));
        report.add(row, outcome)?;
    }
    report.end()
}
