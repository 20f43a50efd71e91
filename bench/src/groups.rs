//! What consumer groups cost: members that join, live and commit, and a broker that starts with many
//! offsets.
//!
//! What always holds: members are as real clients are: a connection each, a heartbeat when it is due
//! and not when the last one was answered, whatever it was late by counted; the clock runs over
//! requests and answers only; who was assigned what, and what was committed, is read back and
//! checked outside of it, and what is wrong ends the run without a figure.

mod board;
mod load;
mod member;
mod members;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use millrace_host::Host;

pub(crate) use self::members::make;
use crate::report::{figure, new_histogram};

/// Which of them.
#[derive(Args, Clone, Debug)]
pub(crate) struct GroupsArguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand, Clone, Debug)]
enum Scenario {
    /// A thousand members join one group at once, and stay.
    One(MembersArguments),
    /// Ten thousand members join a thousand groups at once, and stay: two descriptors for each, one
    /// on either side.
    Many(MembersArguments),
    /// A thousand members of a hundred groups commit 10,000 times a second.
    Commits(MembersArguments),
    /// A million offsets are committed; the broker is stopped, killed, and started again.
    Load(load::LoadArguments),
}

/// Which members, what they do, for how long.
#[derive(Args, Clone, Debug)]
struct MembersArguments {
    /// The broker, as address and port.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: SocketAddr,
    /// The broker's process id: prints its CPU time and memory too.
    #[arg(long)]
    pid: Option<u32>,
    /// Groups.
    #[arg(long)]
    groups: Option<usize>,
    /// Members of each.
    #[arg(long)]
    members: Option<usize>,
    /// Commits a second of all members together.
    #[arg(long)]
    commits: Option<f64>,
    /// Partitions in one commit.
    #[arg(long, default_value_t = 1)]
    commit_partitions: usize,
    /// How long the members stay once all are assigned, in seconds.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Between two heartbeats of a member, in milliseconds.
    #[arg(long, default_value_t = 3000)]
    heartbeat_ms: u64,
    /// A member that was not heard of for that long is out, in milliseconds.
    #[arg(long, default_value_t = 45_000)]
    session_ms: i32,
    /// What the names of groups and topic begin with; without it, something of this run alone.
    #[arg(long)]
    prefix: Option<String>,
}

/// A scenario with everything settled.
#[derive(Clone, Debug)]
struct Plan {
    bootstrap: SocketAddr,
    pid: Option<u32>,
    groups: usize,
    members: usize,
    /// Between two commits of one member.
    commit_every: Option<Duration>,
    commit_partitions: usize,
    stay: Duration,
    heartbeat_every: Duration,
    session_ms: i32,
    prefix: String,
}

impl MembersArguments {
    /// With a scenario's groups, members of each and commits a second where nothing else is said.
    fn plan(&self, groups: usize, members: usize, commits: f64) -> Plan {
        let groups = self.groups.unwrap_or(groups).max(1);
        let members = self.members.unwrap_or(members).max(1);
        let commits = self.commits.unwrap_or(commits);
        let all = (groups * members) as f64;
        Plan {
            bootstrap: self.bootstrap,
            pid: self.pid,
            groups,
            members,
            commit_every: (commits > 0.0).then(|| Duration::from_secs_f64(all / commits)),
            commit_partitions: self.commit_partitions.max(1),
            stay: Duration::from_secs_f64(self.seconds.max(0.0)),
            heartbeat_every: Duration::from_millis(self.heartbeat_ms.max(1)),
            session_ms: self.session_ms,
            prefix: prefix(self.prefix.as_deref()),
        }
    }
}

/// Runs a scenario and prints its figures.
pub(crate) async fn run(host: &Host, arguments: &GroupsArguments) -> Result<(), String> {
    match &arguments.scenario {
        Scenario::One(members) => members::run(host, members.plan(1, 1000, 0.0)).await,
        Scenario::Many(members) => members::run(host, members.plan(1000, 10, 0.0)).await,
        Scenario::Commits(members) => members::run(host, members.plan(100, 10, 10_000.0)).await,
        Scenario::Load(load) => load::run(host, load).await,
    }
}

/// Groups are left behind, so that another run needs other names.
fn prefix(given: Option<&str>) -> String {
    given.map_or_else(
        || format!("bench-groups-{}", std::process::id()),
        str::to_owned,
    )
}

fn seconds(span: Duration) -> String {
    format!("{:.3}", span.as_secs_f64())
}

/// The middle and the end of latencies in microseconds.
fn percentiles(name: &str, latencies: &Histogram<u64>) {
    let ms = |us: u64| format!("{:.3}", us as f64 / 1e3);
    for (part, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        let us = latencies.value_at_quantile(quantile);
        figure(&format!("{name} {part}"), ms(us), "ms");
    }
    figure(&format!("{name} max"), ms(latencies.max()), "ms");
}
