//! A start with many committed offsets: from the start of the process until every group's is
//! answered.
//!
//! What always holds: a start is over when one offset of every group was answered right, which takes
//! every shard; outside the clock every offset of every group is read back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use millrace_client::{Client, ClientOptions, Error, NewTopic, Topic};
use millrace_host::{Host, Mono};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::OffsetCommitRequest;

use super::members::{make, until_coordinated};
use super::wire::{self, Asked, Owner};
use super::{prefix, seconds};
use crate::idle_node::{Node, drop_caches, usage};
use crate::report::{cpu_per_million, figure, per_second};
use crate::text;

/// A broker that is not up by then never will be.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// Between two tries.
const TRY_EVERY: Duration = Duration::from_millis(1);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// Connections that commit, each a commit at a time.
const CONNECTIONS: usize = 64;
/// Groups whose offsets one request asks for when all are read.
const GROUPS_PER_REQUEST: usize = 20;

/// How many offsets, how committed, to which broker.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArguments {
    /// Where the broker will listen.
    #[arg(long)]
    bootstrap: SocketAddr,
    /// The broker's log directory: after a stop its files are dropped from the page cache.
    #[arg(long)]
    data: PathBuf,
    /// Groups.
    #[arg(long, default_value_t = 1000)]
    groups: usize,
    /// Topics, all of whose partitions every group commits.
    #[arg(long, default_value_t = 10)]
    topics: usize,
    /// Partitions of each.
    #[arg(long, default_value_t = 100)]
    partitions: i32,
    /// Partitions in one commit.
    #[arg(long, default_value_t = 10)]
    commit_partitions: usize,
    /// How often every offset is committed, each time another one.
    #[arg(long, default_value_t = 1)]
    rounds: i64,
    /// The broker's command, after `--`.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// One run: what is measured, and on what.
struct Run<'a> {
    host: &'a Host,
    arguments: &'a LoadArguments,
    node: Node,
    client: Client,
    topics: Vec<Topic>,
    groups: Vec<String>,
}

/// Commits, stops, starts, kills and starts again.
pub(super) async fn run(host: &Host, arguments: &LoadArguments) -> Result<(), String> {
    let mut node = Node::start(&arguments.command)?;
    let prefix = prefix(None);
    let name = |number| format!("{prefix}-{number:05}");
    let groups: Vec<String> = (0..arguments.groups.max(1)).map(name).collect();
    let client = started(host, arguments, &mut node).await?;
    let mut topics = Vec::new();
    for number in 0..arguments.topics.max(1) {
        let topic = NewTopic::new(format!("{prefix}-t{number:03}"), arguments.partitions);
        topics.push(make(host, &client, &topic).await?);
    }
    until_coordinated(host, &client, &groups[0]).await?;
    let mut run = Run {
        host,
        arguments,
        node,
        client,
        topics,
        groups,
    };
    run.until_served().await?;
    run.commit_all().await?;
    let (bytes, _) = usage(&arguments.data)?;
    figure("disk", bytes >> 20, "MiB");
    figure("resident, committed", run.node.resident()? >> 20, "MiB");
    run.restart("clean", false).await?;
    run.restart("kill -9", true).await?;
    run.node.stop(host).await
}

impl Run<'_> {
    fn since(&self, start: Mono) -> Duration {
        self.host.clock.now().mono.since(start)
    }

    /// Waits until every group's coordinator answers: each partition of the offsets' topic begins for
    /// itself.
    async fn until_served(&self) -> Result<(), String> {
        let begin = self.host.clock.now().mono;
        for groups in self.groups.chunks(GROUPS_PER_REQUEST) {
            let request = wire::fetch(&self.client, groups, &[]).map_err(text)?;
            loop {
                let answer = self.client.call(&request).await.map_err(text)?;
                let code = wire::fetched(&answer, |_, _, _, _| Ok(()))?;
                if code == ErrorCode::None {
                    break;
                }
                let now = self.host.clock.now().mono;
                if !wire::is_passing(code) || now.since(begin) > START_TIMEOUT {
                    return Err(format!("groups are not served: {code:?}"));
                }
                self.host.clock.sleep_until(now + TRY_EVERY).await;
            }
        }
        Ok(())
    }

    /// Commits every partition of every topic for every group, each round another offset.
    async fn commit_all(&self) -> Result<(), String> {
        let start = self.host.clock.now().mono;
        let cpu = self.node.cpu()?;
        let (mut commits, mut offsets) = (0_u64, 0_u64);
        // An answer holds up what was sent after its request on the same connection.
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push((
                connect(self.host, self.arguments).await.map_err(text)?,
                None,
            ));
        }
        let mut next = 0;
        let each = self.arguments.commit_partitions.max(1);
        for round in 1..=self.arguments.rounds.max(1) {
            for topic in 0..self.topics.len() {
                let partitions: Vec<i32> = (0..self.topics[topic].partitions).collect();
                // All groups in turn, so that the records of one lie far apart.
                for some in partitions.chunks(each) {
                    for group in 0..self.groups.len() {
                        let (client, pending) = &mut clients[next];
                        answered(pending.take()).await?;
                        let request = self.commit(group, topic, some, round)?;
                        let sent = client.send(&request).await.map_err(text)?;
                        *pending = Some((sent, some.len()));
                        next = (next + 1) % CONNECTIONS;
                        commits += 1;
                        offsets += some.len() as u64;
                    }
                }
            }
        }
        for (_, pending) in &mut clients {
            answered(pending.take()).await?;
        }
        let elapsed = self.since(start);
        let cpu = self.node.cpu()?.saturating_sub(cpu);
        figure("offsets committed", offsets, "");
        figure("commits", commits, "");
        figure("committing", seconds(elapsed), "s");
        let rate = |count| format!("{:.0}", per_second(count, elapsed));
        figure("commits per second", rate(commits), "/s");
        figure("offsets per second", rate(offsets), "/s");
        cpu_per_million("broker", cpu, commits);
        Ok(())
    }

    fn commit(
        &self,
        group: usize,
        topic: usize,
        partitions: &[i32],
        round: i64,
    ) -> Result<OffsetCommitRequest, String> {
        let owner = Owner {
            group: &self.groups[group],
            member_id: "",
            generation: -1,
        };
        let offsets = partitions.iter();
        let offsets =
            offsets.map(|partition| (*partition, offset(group, topic, *partition, round)));
        wire::commit(&self.client, &owner, &self.topics[topic], offsets).map_err(text)
    }

    /// Ends the broker, drops what is cached of its files, starts it and waits for every group.
    async fn restart(&mut self, how: &str, kill: bool) -> Result<(), String> {
        if kill {
            self.node.kill()?;
        } else {
            let start = self.host.clock.now().mono;
            self.node.stop(self.host).await?;
            figure("clean stop", seconds(self.since(start)), "s");
        }
        let cold = drop_caches(&self.arguments.data)?;
        let start = self.host.clock.now().mono;
        self.node = Node::start(&self.arguments.command)?;
        self.client = started(self.host, self.arguments, &mut self.node).await?;
        figure(
            &format!("{how}: until connected"),
            seconds(self.since(start)),
            cold,
        );
        self.until_answered(start).await?;
        let elapsed = seconds(self.since(start));
        figure(&format!("{how}: until every group"), elapsed, cold);
        let cpu = self.node.cpu()?;
        figure(&format!("{how}: broker cpu"), seconds(cpu), "s");
        let resident = self.node.resident()? >> 20;
        figure(&format!("{how}: resident"), resident, "MiB");
        let read = self.read_back().await?;
        figure(&format!("{how}: offsets read back"), read, "all right");
        Ok(())
    }

    /// Asks for one offset of every group until all are answered right.
    async fn until_answered(&mut self, start: Mono) -> Result<(), String> {
        loop {
            match self.check(&self.groups, &[0]).await {
                Ok(0) => {}
                Ok(count) if count == self.groups.len() * self.topics.len() => return Ok(()),
                Ok(count) => return Err(format!("{count} offsets after the start")),
                Err(reason) => {
                    self.node.check()?;
                    return Err(reason);
                }
            }
            let now = self.host.clock.now().mono;
            if now.since(start) > START_TIMEOUT {
                return Err(format!("not loaded in {START_TIMEOUT:?}"));
            }
            self.host.clock.sleep_until(now + TRY_EVERY).await;
        }
    }

    /// Holds every offset of every group against what was committed.
    async fn read_back(&self) -> Result<usize, String> {
        let partitions: Vec<i32> = (0..self.arguments.partitions).collect();
        let mut read = 0;
        for groups in self.groups.chunks(GROUPS_PER_REQUEST) {
            read += self.check(groups, &partitions).await?;
        }
        let wanted = self.groups.len() * self.topics.len() * partitions.len();
        if read == wanted {
            Ok(read)
        } else {
            Err(format!("{read} offsets of {wanted} are there"))
        }
    }

    /// How many offsets were answered, each of them right; 0 for a coordinator that still loads.
    async fn check(&self, groups: &[String], partitions: &[i32]) -> Result<usize, String> {
        let asked = self.topics.iter().map(|topic| Asked {
            topic,
            partitions: partitions.to_vec(),
        });
        let asked: Vec<Asked<'_>> = asked.collect();
        let request = wire::fetch(&self.client, groups, &asked).map_err(text)?;
        let answer = self.client.call(&request).await.map_err(text)?;
        let (rounds, mut count) = (self.arguments.rounds.max(1), 0);
        let code = wire::fetched(&answer, |group, topic, partition, found| {
            let number = self
                .groups
                .binary_search_by(|known| known.as_str().cmp(group));
            let number = number.map_err(|_| format!("{group} was not asked for"))?;
            let wanted = offset(number, topic, partition, rounds);
            if found != wanted {
                return Err(format!(
                    "{group}, topic {topic}, partition {partition}: {found} in place of {wanted}"
                ));
            }
            count += 1;
            Ok(())
        })?;
        if code == ErrorCode::None {
            Ok(count)
        } else if wire::is_passing(code) {
            Ok(0)
        } else {
            Err(format!("offsets can't be read: {code:?}"))
        }
    }
}

/// The offset that a group commits in a round: another for every partition.
fn offset(group: usize, topic: usize, partition: i32, round: i64) -> i64 {
    let place = (group as i64 * 1_000 + topic as i64) * 100_000 + i64::from(partition);
    place * 1_000 + round
}

type Pending = (millrace_client::Pending<OffsetCommitRequest>, usize);

async fn answered(pending: Option<Pending>) -> Result<(), String> {
    let Some((pending, partitions)) = pending else {
        return Ok(());
    };
    let answer = pending.wait().await.map_err(text)?;
    let code = wire::committed(&answer, partitions)?;
    if code == ErrorCode::None {
        Ok(())
    } else {
        Err(format!("a commit was refused: {code:?}"))
    }
}

/// Tries the port until the broker answers there.
async fn started(
    host: &Host,
    arguments: &LoadArguments,
    node: &mut Node,
) -> Result<Client, String> {
    let start = host.clock.now().mono;
    loop {
        node.check()?;
        let failed = match connect(host, arguments).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let now = host.clock.now().mono;
        if now.since(start) > START_TIMEOUT {
            return Err(format!("nobody answers in {START_TIMEOUT:?}: {failed}"));
        }
        host.clock.sleep_until(now + TRY_EVERY).await;
    }
}

async fn connect(host: &Host, arguments: &LoadArguments) -> Result<Client, Error> {
    let options = ClientOptions {
        client_id: "millrace-bench".to_owned(),
        request_timeout: REQUEST_TIMEOUT,
        ..ClientOptions::default()
    };
    let client = Client::connect(host, arguments.bootstrap, options).await?;
    client.metadata(Some(&[])).await?;
    Ok(client)
}
