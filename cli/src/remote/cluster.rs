//! `millrace cluster`: the cluster itself.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::report::error_value;
use super::table::{Table, bytes, or_dash};
use super::{At, EXIT_CODES, Failure, Session};

/// Shows a cluster: its brokers, disks, quorum and features.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ClusterCommand {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows its id, its controller and its brokers.
    Describe,
    /// Shows the log directories of all brokers, with what is in them.
    LogDirs,
    /// Shows who holds the metadata.
    Quorum,
    /// Shows the features that it has agreed on.
    Features,
}

/// Runs the command.
pub(crate) fn run(command: ClusterCommand) -> ExitCode {
    let ClusterCommand { command, at } = command;
    super::run(&at, async |session| match command {
        Command::Describe => describe(session).await,
        Command::LogDirs => log_dirs(session).await,
        Command::Quorum => quorum(session).await,
        Command::Features => features(session).await,
    })
}

async fn describe(session: &Session) -> Result<(), Failure> {
    let cluster = session.admin.describe_cluster().await?;
    session.print(
        || {
            let brokers = cluster.brokers.iter().map(|broker| {
                json!({
                    "broker": broker.id,
                    "host": broker.host,
                    "port": broker.port,
                    "rack": broker.rack,
                    "fenced": broker.fenced,
                })
            });
            json!({
                "cluster_id": cluster.cluster_id,
                "controller": cluster.controller,
                "brokers": brokers.collect::<Vec<_>>(),
            })
        },
        || {
            let mut table = Table::new(&["BROKER", "ADDRESS", "RACK", "CONTROLLER"]);
            for broker in &cluster.brokers {
                let mark = if cluster.controller == Some(broker.id) {
                    "yes"
                } else {
                    ""
                };
                table.row([
                    broker.id.to_string(),
                    format!("{}:{}", broker.host, broker.port),
                    or_dash(broker.rack.clone()),
                    mark.to_owned(),
                ]);
            }
            format!("cluster {}\n\n{}", cluster.cluster_id, table.text())
        },
    )
}

async fn log_dirs(session: &Session) -> Result<(), Failure> {
    let dirs = session.admin.describe_log_dirs().await?;
    session.print(
        || {
            let dirs = dirs.iter().map(|dir| {
                let replicas = dir.replicas.iter().map(|replica| {
                    json!({
                        "topic": &*replica.partition.topic,
                        "partition": replica.partition.partition,
                        "bytes": replica.bytes,
                        "offset_lag": replica.offset_lag,
                        "is_future": replica.is_future,
                    })
                });
                json!({
                    "broker": dir.broker,
                    "path": dir.path,
                    "error": dir.failed.as_ref().map(error_value),
                    "total_bytes": dir.total_bytes,
                    "usable_bytes": dir.usable_bytes,
                    "replicas": replicas.collect::<Vec<_>>(),
                })
            });
            json!({"log_dirs": dirs.collect::<Vec<_>>()})
        },
        || {
            let head = ["BROKER", "DIRECTORY", "STATE", "REPLICAS", "SIZE", "FREE"];
            let mut table = Table::new(&head);
            for dir in &dirs {
                let size = dir.replicas.iter().map(|replica| replica.bytes).sum();
                let state = if dir.failed.is_some() {
                    "offline"
                } else {
                    "online"
                };
                table.row([
                    dir.broker.to_string(),
                    dir.path.clone(),
                    state.to_owned(),
                    dir.replicas.len().to_string(),
                    bytes(size),
                    or_dash(dir.usable_bytes.map(bytes)),
                ]);
            }
            table.text()
        },
    )
}

async fn quorum(session: &Session) -> Result<(), Failure> {
    let quorum = session.admin.describe_quorum().await?;
    let all = || {
        let voters = quorum.voters.iter().map(|replica| (replica, "voter"));
        voters.chain(quorum.observers.iter().map(|replica| (replica, "observer")))
    };
    session.print(
        || {
            let replicas = all().map(|(replica, role)| {
                json!({
                    "node": replica.id,
                    "role": role,
                    "directory": replica.directory.to_string(),
                    "end_offset": replica.log_end_offset,
                })
            });
            json!({
                "leader": quorum.leader,
                "leader_epoch": quorum.leader_epoch,
                "high_watermark": quorum.high_watermark,
                "replicas": replicas.collect::<Vec<_>>(),
            })
        },
        || {
            let mut table = Table::new(&["NODE", "ROLE", "END", "LEADER"]);
            for (replica, role) in all() {
                let mark = if quorum.leader == Some(replica.id) {
                    "yes"
                } else {
                    ""
                };
                table.row([
                    replica.id.to_string(),
                    role.to_owned(),
                    or_dash(replica.log_end_offset),
                    mark.to_owned(),
                ]);
            }
            let epoch = quorum.leader_epoch;
            let committed = quorum.high_watermark;
            format!(
                "leader epoch {epoch}, committed up to {committed}\n\n{}",
                table.text()
            )
        },
    )
}

async fn features(session: &Session) -> Result<(), Failure> {
    let features = session.admin.describe_features().await?;
    session.print(
        || {
            let features = features.iter().map(|feature| {
                json!({
                    "feature": feature.name,
                    "supported_min": feature.supported.0,
                    "supported_max": feature.supported.1,
                    "finalized": feature.finalized,
                })
            });
            json!({"features": features.collect::<Vec<_>>()})
        },
        || {
            let mut table = Table::new(&["FEATURE", "SUPPORTED", "FINALIZED"]);
            for feature in &features {
                let (min, max) = feature.supported;
                let finalized = or_dash(feature.finalized);
                table.row([feature.name.clone(), format!("{min}..{max}"), finalized]);
            }
            table.text()
        },
    )
}
