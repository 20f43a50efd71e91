//! What every scenario stands on: a broker with a workload, trouble for a while, and the end: kill,
//! start without trouble, everything acknowledged is there, once, in order.

use std::path::PathBuf;
use std::time::Duration;

use millrace_client::{Client, Error, NewTopic, Topic};
use millrace_host::Host;
use millrace_protocol::messages::{DeleteTopicsRequest, delete_topics_request::DeleteTopicState};
use millrace_tests::load::{Producing, patient};
use millrace_tests::process::{BrokerProcess, Launch, Signal};
use millrace_tests::workload::{Plan, Workload};
use tokio::sync::watch;

/// How long a scenario waits for what must come.
const COMES_WITHIN: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK_AFTER: Duration = Duration::from_millis(10);
/// A probe's request takes at most this.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What a scenario is given.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) host: Host,
    pub(crate) binary: PathBuf,
    /// A fresh directory of its own.
    pub(crate) place: PathBuf,
    /// Shorter runs.
    pub(crate) smoke: bool,
}

impl Stage {
    /// The broker on one directory, its log beside it.
    pub(crate) fn launch(&self) -> Launch {
        let mut launch = Launch::new(&self.binary, &self.place.join("data"));
        launch.log = Some(self.log());
        launch
    }

    /// Where the broker's log goes.
    pub(crate) fn log(&self) -> PathBuf {
        self.place.join("log")
    }

    pub(crate) async fn pause(&self, span: Duration) {
        let clock = &self.host.clock;
        clock.sleep_until(clock.now().mono + span).await;
    }

    /// Looks again and again until `there` gives something; how long that took.
    pub(crate) async fn comes<T>(
        &self,
        what: &str,
        within: Duration,
        mut there: impl AsyncFnMut() -> Option<T>,
    ) -> Result<(T, Duration), String> {
        let since = self.host.clock.now().mono;
        loop {
            if let Some(found) = there().await {
                return Ok((found, self.host.clock.now().mono.since(since)));
            }
            if self.host.clock.now().mono.since(since) > within {
                return Err(format!("{what} does not come within {within:?}"));
            }
            self.pause(LOOK_AFTER).await;
        }
    }
}

/// A broker and a workload on it.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) launch: Launch,
    pub(crate) broker: BrokerProcess,
    pub(crate) workload: Workload,
    tell: watch::Sender<std::net::SocketAddr>,
}

impl<'a> Running<'a> {
    /// Starts both, and waits for the first acknowledgements.
    pub(crate) async fn start(
        stage: &'a Stage,
        launch: Launch,
        plan: &Plan,
    ) -> Result<Self, String> {
        let broker = launch.start()?;
        let (tell, address) = watch::channel(broker.address());
        let workload = Workload::start(&stage.host, address, plan).await?;
        let mut running = Self {
            stage,
            launch,
            broker,
            workload,
            tell,
        };
        running.progress("the first acknowledgements").await?;
        Ok(running)
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.workload.progress.acknowledged()
    }

    /// Waits for a hundred more records to be acknowledged; how long that took.
    pub(crate) async fn progress(&mut self, what: &str) -> Result<Duration, String> {
        let wanted = self.acknowledged() + 100;
        let progress = std::sync::Arc::clone(&self.workload.progress);
        let there = async || (progress.acknowledged() >= wanted).then_some(());
        let came = self.stage.comes(what, COMES_WITHIN, there).await;
        self.workload.is_alive()?;
        Ok(came?.1)
    }

    /// The broker has not ended.
    pub(crate) fn lives(&mut self) -> Result<(), String> {
        match self.broker.ended()? {
            None => Ok(()),
            Some(status) => Err(format!("the broker ended with {status}")),
        }
    }

    /// A connection for a probe.
    pub(crate) async fn client(&self) -> Result<Client, String> {
        let options = patient(PROBE_TIMEOUT);
        let client = Client::connect(&self.stage.host, self.broker.address(), options).await;
        client.map_err(|error| error.to_string())
    }

    /// A topic for probes.
    pub(crate) async fn topic(&self, name: &str, partitions: i32) -> Result<Topic, String> {
        let made = self.client().await?;
        let made = made.create_topic(&NewTopic::new(name, partitions)).await;
        made.map_err(|error| error.to_string())
    }

    /// Produces a few small batches one after the other; how long each took.
    pub(crate) async fn probe(
        &self,
        topic: &Topic,
        partition: i32,
        batches: usize,
    ) -> Result<Vec<Duration>, Error> {
        self.probe_with(topic, partition, batches, 100).await
    }

    /// Produces a few batches of `bytes` one after the other; how long each took.
    pub(crate) async fn probe_with(
        &self,
        topic: &Topic,
        partition: i32,
        batches: usize,
        bytes: usize,
    ) -> Result<Vec<Duration>, Error> {
        let options = patient(PROBE_TIMEOUT);
        let client = Client::connect(&self.stage.host, self.broker.address(), options).await?;
        let producing = Producing {
            token: format!("probe {:?}", self.stage.host.clock.now().mono),
            topic: topic.clone(),
            partitions: vec![partition],
            sizes: vec![bytes],
            batches,
            in_flight: 1,
        };
        producing.run(&self.stage.host, &client).await
    }

    /// Starts it again as it was started, once it has ended.
    pub(crate) fn reborn(&mut self) -> Result<(), String> {
        self.broker = self.launch.start()?;
        self.tell.send_replace(self.broker.address());
        Ok(())
    }

    /// Kills the broker, or finds it ended, and starts it without anything before it.
    pub(crate) async fn restart(&mut self) -> Result<(), String> {
        if self.broker.ended()?.is_none() {
            self.broker.end(Signal::Kill)?;
        }
        self.launch.before.clear();
        self.reborn()?;
        self.progress("an acknowledgement after the restart")
            .await?;
        Ok(())
    }

    /// Kills it, starts it, reads everything back; says what was owed.
    pub(crate) async fn close(mut self) -> Result<String, String> {
        self.restart().await?;
        let report = self.workload.finish().await?;
        report.kept()?;
        let status = self.broker.end(Signal::Terminate)?;
        if !status.success() {
            return Err(format!(
                "at the end SIGTERM must end it with 0, not {status}"
            ));
        }
        Ok(format!(
            "after a kill {} records owed, each there, once, in order",
            report.owed
        ))
    }
}

/// A topic with a few partitions, producers that never rest.
pub(crate) fn plan(partitions: i32) -> Plan {
    let mut plan = Plan::new("faults", partitions);
    plan.producers = 4;
    plan.pause = Duration::from_millis(1);
    plan.request_timeout = Duration::from_secs(5);
    plan
}

/// Deletes a topic, whatever the trouble.
pub(crate) async fn delete_topic(client: &Client, topic: &str) -> Result<(), String> {
    let mut state = DeleteTopicState::default();
    state.name = Some(topic.into());
    let mut request = DeleteTopicsRequest::default();
    request.topics = vec![state];
    request.timeout_ms = 10_000;
    let answer = client.call(&request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let answer = answer.read().map_err(|error| error.to_string())?;
    let first = answer.responses.into_iter().next();
    match first.map(|one| one.error_code) {
        Some(0) => Ok(()),
        code => Err(format!("a topic must be deletable: code {code:?}")),
    }
}
