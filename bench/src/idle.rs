//! Many partitions on one node: made, written once each, left alone, restarted, read back, deleted.
//!
//! What always holds: every record that was acknowledged is read back and checked; a start is timed
//! from the start of the process to a produce that is acknowledged with `acks=all`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use millrace_client::{Acks, Client, ClientOptions, Error, NewTopic, Topic};
use millrace_host::{Host, Mono};
use millrace_protocol::error_code::ErrorCode;

use crate::idle_node::{Node, drop_caches, usage};
use crate::idle_work::{self as work, batch};
use crate::report::figure;

/// A broker that is not up by then never will be.
const START_TIMEOUT: Duration = Duration::from_mins(2);
/// Between two tries of the port.
const TRY_EVERY: Duration = Duration::from_millis(1);
/// How long the disk may hold something of topics that were deleted.
const GONE_TIMEOUT: Duration = Duration::from_mins(5);
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// The topic of a start's first record.
const FIRST: &str = "first";
/// Topics that one request makes or deletes.
const TOPICS_PER_REQUEST: usize = 50;

/// How many, and of which broker.
#[derive(Args, Clone, Debug)]
pub(crate) struct IdleArguments {
    /// Where the broker will listen.
    #[arg(long)]
    bootstrap: SocketAddr,
    /// The broker's log directory: what it takes of the disk is measured, and after a stop its
    /// files are dropped from the page cache.
    #[arg(long)]
    data: PathBuf,
    /// Topics to make.
    #[arg(long, default_value_t = 1000)]
    topics: usize,
    /// Partitions of each.
    #[arg(long, default_value_t = 100)]
    partitions: i32,
    /// Seconds in which nobody asks for anything, before memory is read.
    #[arg(long, default_value_t = 20)]
    idle_s: u64,
    /// A configuration of the topics, KEY=VALUE; may be given often.
    #[arg(long = "topic-config", value_parser = crate::load::key_value)]
    topic_configs: Vec<(String, String)>,
    /// The broker's command, after `--`.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// One run: what is measured, and on what.
struct Run<'a> {
    host: &'a Host,
    arguments: &'a IdleArguments,
    node: Node,
    client: Client,
    topics: Vec<Topic>,
}

/// Makes, writes, leaves alone, restarts, reads back and deletes.
pub(crate) async fn run(host: &Host, arguments: &IdleArguments) -> Result<(), String> {
    let (node, client) = start_node(host, arguments).await?;
    figure("resident, empty", node.resident()? >> 20, "MiB");
    let topics = Vec::new();
    let mut run = Run {
        host,
        arguments,
        node,
        client,
        topics,
    };
    run.create().await?;
    run.write(0).await?;
    run.idle("written and idle").await?;
    run.restart("clean", false).await?;
    run.write(1).await?;
    run.restart("after kill -9", true).await?;
    run.read_back(2).await?;
    run.idle("read and idle").await?;
    run.delete().await?;
    run.node.stop(host).await
}

impl Run<'_> {
    fn seconds_since(&self, start: Mono) -> String {
        seconds(self.host.clock.now().mono.since(start))
    }

    async fn create(&mut self) -> Result<(), String> {
        let start = self.host.clock.now().mono;
        let topic = |at: usize| {
            let mut topic = NewTopic::new(format!("idle-{at:05}"), self.arguments.partitions);
            topic.configs.clone_from(&self.arguments.topic_configs);
            topic
        };
        let wanted: Vec<NewTopic> = (0..self.arguments.topics).map(topic).collect();
        for some in wanted.chunks(TOPICS_PER_REQUEST) {
            self.topics.extend(work::create(&self.client, some).await?);
        }
        let partitions: i64 = self.topics.iter().map(|t| i64::from(t.partitions)).sum();
        figure("partitions", partitions, "");
        figure("create", self.seconds_since(start), "s");
        figure("resident, created", self.node.resident()? >> 20, "MiB");
        Ok(())
    }

    /// One record to each partition; it is to get that offset.
    async fn write(&mut self, offset: i64) -> Result<(), String> {
        let start = self.host.clock.now().mono;
        work::write(&self.client, &self.topics, offset).await?;
        figure("one record to each", self.seconds_since(start), "s");
        Ok(())
    }

    async fn idle(&self, what: &str) -> Result<(), String> {
        let clock = &self.host.clock;
        let (from, before) = (clock.now().mono, self.node.cpu()?);
        let upto = from + Duration::from_secs(self.arguments.idle_s);
        clock.sleep_until(upto).await;
        let busy = self.node.cpu()?.saturating_sub(before);
        let resident = self.node.resident()? >> 20;
        figure(&format!("resident, {what}"), resident, "MiB");
        let share = busy.as_secs_f64() * 100.0 / clock.now().mono.since(from).as_secs_f64();
        figure("processor, idle", format!("{share:.1}"), "% of a core");
        let (bytes, files) = usage(&self.arguments.data)?;
        figure("disk", bytes >> 20, "MiB");
        figure("files and directories", files, "");
        let asked = clock.now().mono;
        let described = work::describe_log_dirs(&self.client).await?;
        figure("DescribeLogDirs of all", self.seconds_since(asked), "s");
        let all: usize = self.topics.iter().map(|t| t.partitions as usize).sum();
        if described < all {
            return Err(format!("DescribeLogDirs tells of {described} of {all}"));
        }
        Ok(())
    }

    /// Ends the broker, drops what is cached of its files, starts it again.
    async fn restart(&mut self, how: &str, kill: bool) -> Result<(), String> {
        let start = self.host.clock.now().mono;
        if kill {
            self.node.kill()?;
        } else {
            self.node.stop(self.host).await?;
            figure("clean stop", self.seconds_since(start), "s");
        }
        let cold = drop_caches(&self.arguments.data)?;
        let before = self.host.clock.now().mono;
        let (node, client) = start_node(self.host, self.arguments).await?;
        let name = format!("{how}: start to first ack");
        figure(&name, self.seconds_since(before), cold);
        let resident = node.resident()? >> 20;
        figure(&format!("{how}: resident"), resident, "MiB");
        (self.node, self.client) = (node, client);
        Ok(())
    }

    /// Every record of every partition.
    async fn read_back(&mut self, rounds: i64) -> Result<(), String> {
        let start = self.host.clock.now().mono;
        let records = work::read_back(&self.client, &self.topics, rounds).await?;
        figure("records read back", records, "");
        figure("read back", self.seconds_since(start), "s");
        Ok(())
    }

    async fn delete(&mut self) -> Result<(), String> {
        let start = self.host.clock.now().mono;
        for some in self.topics.chunks(TOPICS_PER_REQUEST) {
            work::delete(&self.client, some).await?;
        }
        figure("delete, answered", self.seconds_since(start), "s");
        let clock = &self.host.clock;
        let deadline = clock.now().mono + GONE_TIMEOUT;
        while work::left_on_disk(&self.arguments.data)? > 0 {
            if clock.now().mono > deadline {
                return Err(format!("deleted topics are on disk {GONE_TIMEOUT:?} later"));
            }
            clock
                .sleep_until(clock.now().mono + Duration::from_millis(200))
                .await;
        }
        figure("delete, off the disk", self.seconds_since(start), "s");
        let (bytes, _) = usage(&self.arguments.data)?;
        figure("disk, deleted", bytes >> 20, "MiB");
        let now = clock.now().mono;
        clock
            .sleep_until(now + Duration::from_secs(self.arguments.idle_s))
            .await;
        figure(
            "resident, deleted and idle",
            self.node.resident()? >> 20,
            "MiB",
        );
        Ok(())
    }
}

/// Starts the broker and waits until it acknowledges a record. Gives it with a connection to it.
async fn start_node(host: &Host, arguments: &IdleArguments) -> Result<(Node, Client), String> {
    let start = host.clock.now().mono;
    let mut node = Node::start(&arguments.command)?;
    let batch = batch(0, 0)?;
    loop {
        node.check()?;
        let failed = match first_ack(host, arguments.bootstrap, &batch).await {
            Ok(client) => return Ok((node, client)),
            Err(error) => error,
        };
        let now = host.clock.now().mono;
        if now.since(start) > START_TIMEOUT {
            return Err(format!(
                "no acknowledged produce in {START_TIMEOUT:?}: {failed}"
            ));
        }
        host.clock.sleep_until(now + TRY_EVERY).await;
    }
}

async fn first_ack(host: &Host, bootstrap: SocketAddr, batch: &Bytes) -> Result<Client, Error> {
    let options = ClientOptions {
        request_timeout: REQUEST_TIMEOUT,
        ..ClientOptions::default()
    };
    let client = Client::connect(host, bootstrap, options).await?;
    let topic = match client.topic(FIRST).await {
        Err(Error::Broker {
            code: ErrorCode::UnknownTopicOrPartition,
            ..
        }) => client.create_topic(&NewTopic::new(FIRST, 1)).await?,
        known => known?,
    };
    let produced = client.produce(&topic, 0, Acks::All, batch.clone());
    produced.await.map(|_| client)
}

fn seconds(span: Duration) -> String {
    format!("{:.2}", span.as_secs_f64())
}
