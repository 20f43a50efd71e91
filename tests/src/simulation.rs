//! The whole broker in the simulation: a workload runs while its node loses power, is killed or is
//! stopped, again and again, and every promise is held against what is there at the end.
//!
//! What always holds: everything is drawn from the seed, so a seed that fails fails again; a run
//! that stands still ends by the workload's patience, which counts virtual time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_config::BrokerConfig;
use millrace_host::Host;
use millrace_server::Broker;
use millrace_sim::{
    DiskEffect, DiskFault, DiskOp, NetOptions, Sim, SimOptions, TraceSummary, When, World,
};
use tokio::sync::watch;

use crate::ledger::{Barred, Progress};
use crate::planted::Bug;
use crate::shape::{ADDRESS, Row, TOPIC, between, directories, plan, settings};
use crate::workload::{Plan, Report, Workload};

/// The node of the broker, and that of all clients.
const BROKER: &str = "broker";
const CLIENTS: &str = "clients";
/// A broker that does not serve by then, in virtual time, stands still.
const START_TIMEOUT: Duration = Duration::from_mins(5);
/// How long after a failed sync its directory may still acknowledge what it had written before.
const HEARD_WITHIN: Duration = Duration::from_millis(100);

/// How far the broker's wall clock may be off, either way.
const WALL_OFF_MS_MAX: u64 = 3_000_000;

/// Events that a failure shows.
const EVENTS_SHOWN_MAX: usize = 5000;

/// What is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Everything drawn is drawn from it.
    pub seed: u64,
    /// Show the last events of a failure.
    pub keep_lines: bool,
    /// Which promises are judged; drawn when `None`.
    pub row: Option<Row>,
    /// A bug that the oracle must find.
    pub bug: Option<Bug>,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which promises were judged.
    pub row: Row,
    /// Records that were acknowledged or shown to a consumer.
    pub owed: usize,
    /// Records in the logs at the end.
    pub records: usize,
    /// How often the broker's life ended, by power cut, kill and stop.
    pub ends: [u32; 3],
    /// Claims that power cuts took, as they may.
    pub taken: usize,
    /// How often the topic was removed and made again.
    pub removals: u32,
    /// Records that retention took from the front.
    pub retired: i64,
    /// The record of every event.
    pub trace: TraceSummary,
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The oracle's rules that were broken; empty when the run failed otherwise.
    pub rules: Vec<&'static str>,
    /// All of it, in words.
    pub reason: String,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        let rules = Vec::new();
        Self { rules, reason }
    }
}

/// How one life of the broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    PowerCut,
    Kill,
    Stop,
}

/// Runs one seed. On a broken promise the error says so; with `keep_lines` it holds the
/// last events too.
pub fn run(seed: u64, keep_lines: bool) -> Result<Outcome, String> {
    let setup = Setup {
        seed,
        keep_lines,
        ..Setup::default()
    };
    run_setup(setup).map_err(|failure| failure.reason)
}

/// The same with what is otherwise drawn, or a bug.
pub fn run_setup(setup: Setup) -> Result<Outcome, Failure> {
    let Setup { seed, bug, .. } = setup;
    let sim = Sim::with_options(SimOptions {
        seed,
        keep_lines: setup.keep_lines,
        net: NetOptions {
            break_per_10k: (seed % 4) as u32 * 3,
            ..NetOptions::default()
        },
        ..SimOptions::default()
    });
    let world = sim.world();
    let row = setup.row.unwrap_or_else(|| Row::draw(&world));
    world.note(&format!("row {row:?}"));
    let plan = plan(&world, row, bug);
    let directories = directories(&world);
    let run = Run {
        settings: settings(&world, &directories),
        world,
        row,
        bug,
        plan,
        directories,
        progress: None,
        ends: [0; 3],
        wall_off_ms: 0,
        sync_failed: false,
    };
    let outcome = sim.block_on(run.run());
    let outcome = outcome.and_then(|(outcome, report)| sound(&sim, &report).map(|()| outcome));
    let outcome = outcome.map(|outcome| Outcome {
        trace: sim.trace(),
        ..outcome
    });
    outcome.map_err(|failure| Failure {
        reason: format!(
            "seed {seed}: {row:?}: {}{}",
            failure.reason,
            last_lines(&sim)
        ),
        ..failure
    })
}

fn last_lines(sim: &Sim) -> String {
    let lines = sim.trace_lines();
    let last = &lines[lines.len().saturating_sub(EVENTS_SHOWN_MAX)..];
    if last.is_empty() {
        String::new()
    } else {
        format!("\nthe last of {} events:\n{}", lines.len(), last.join("\n"))
    }
}

/// Promises are kept and no task panicked.
fn sound(sim: &Sim, report: &Report) -> Result<(), Failure> {
    report.kept().map_err(|reason| Failure {
        rules: report.rules(),
        reason,
    })?;
    let panics = sim.panics();
    if panics.is_empty() {
        Ok(())
    } else {
        Err(format!("tasks panicked: {}", panics.join("; ")).into())
    }
}

/// One run: its world, its shape, and what has happened to the broker.
struct Run {
    world: World,
    row: Row,
    bug: Option<Bug>,
    plan: Plan,
    settings: Vec<(&'static str, String)>,
    directories: Vec<String>,
    progress: Option<Arc<Progress>>,
    ends: [u32; 3],
    wall_off_ms: i64,
    /// A sync failed in this life: what was not durable may go with it.
    sync_failed: bool,
}

impl Run {
    async fn run(mut self) -> Result<(Outcome, Report), Failure> {
        let (tell, address) = watch::channel(ADDRESS);
        let clients = self.clients();
        let mut broker = self.start().await?;
        let mut workload = Workload::start(&clients, address, &self.plan).await?;
        self.progress = Some(Arc::clone(&workload.progress));
        for _ in 0..between(&self.world, 2, 8) {
            let acknowledged = workload.progress.acknowledged();
            workload
                .reach_acknowledged(acknowledged + self.world.draw(60))
                .await?;
            self.pause_ms(self.world.draw(300)).await;
            if self.world.draw(4) == 0 {
                self.world.cut_connections(CLIENTS, BROKER);
                self.pause_ms(self.world.draw(50)).await;
            }
            if self.row == Row::SyncError && self.world.draw(2) == 0 {
                self.sync_error(&workload, &clients).await;
            } else if self.world.draw(3) == 0 {
                self.trouble().await;
            }
            let end = match self.world.draw(10) {
                0..=4 => End::PowerCut,
                5..=7 => End::Kill,
                _ => End::Stop,
            };
            self.end(Some(broker), end).await;
            self.maybe_end_while_starting().await;
            broker = self.start().await?;
            workload.is_alive()?;
        }
        let (progress, topics) = (Arc::clone(&workload.progress), workload.topics());
        let report = workload.finish().await?;
        drop((broker, tell));
        let topic = topics.borrow().clone();
        let ledger = progress.ledger();
        let retired =
            (0..topic.topic.partitions).map(|number| ledger.start_seen(topic.number, number));
        let outcome = Outcome {
            row: self.row,
            owed: report.owed,
            records: report.records.values().sum(),
            ends: self.ends,
            taken: report.taken,
            removals: topic.number,
            retired: retired.sum(),
            trace: self.world.trace(),
        };
        Ok((outcome, report))
    }

    /// The machine of the clients.
    fn clients(&self) -> Host {
        let host = self.world.node(CLIENTS);
        match self.bug {
            Some(bug) => bug.on_clients(host),
            None => host,
        }
    }

    /// The machine of the broker, as its next process sees it.
    fn broker_host(&self) -> Host {
        let host = self.world.node(BROKER);
        match self.bug {
            Some(bug) => bug.on_broker(host),
            None => host,
        }
    }

    /// A while in which the disk is slow or full, or the network one-sided. It costs time and
    /// retries, never a promise.
    async fn trouble(&self) {
        let fault = |op, when, effect| DiskFault {
            op,
            path_contains: String::new(),
            when,
            effect,
        };
        let some = When::PerMille(1 + self.world.draw(300) as u32);
        let slow = Duration::from_millis(1 + self.world.draw(2000));
        let planted = match self.world.draw(7) {
            0 => Some(fault(DiskOp::Sync, some, DiskEffect::Slow(slow))),
            1 => Some(fault(DiskOp::Sync, some, DiskEffect::Hang)),
            2 => Some(fault(DiskOp::Write, some, DiskEffect::NoSpace)),
            3 => Some(fault(DiskOp::Write, some, DiskEffect::Short)),
            4 => Some(fault(DiskOp::Allocate, some, DiskEffect::NoSpace)),
            _ => None,
        };
        let planted = planted.map(|fault| self.world.inject(BROKER, fault));
        if planted.is_none() {
            let (from, to) = if self.world.draw(2) == 0 {
                (BROKER, CLIENTS)
            } else {
                (CLIENTS, BROKER)
            };
            self.world.partition(from, to);
        }
        self.pause_ms(self.world.draw(1000)).await;
        self.world.heal_net();
        // A life may also end while the disk is still in trouble.
        if planted.is_some() && self.world.draw(2) == 0 {
            self.world.heal_disk(BROKER, planted);
            self.pause_ms(self.world.draw(200)).await;
        }
    }

    /// One sync of one directory fails. What is sent to its partitions from then on is not
    /// acknowledged in this life.
    async fn sync_error(&mut self, workload: &Workload, clients: &Host) {
        let count = self.directories.len() as u64;
        let directory = format!("{}/", self.directories[self.world.draw(count) as usize]);
        let struck = || self.world.count(millrace_sim::faults::SYNC_ERROR);
        let before = struck();
        let fault = DiskFault {
            op: DiskOp::Sync,
            path_contains: directory.clone(),
            when: When::Nth(1 + self.world.draw(12)),
            effect: DiskEffect::Error,
        };
        self.world.inject(BROKER, fault);
        for _ in 0..200 {
            if struck() > before {
                self.sync_failed = true;
                self.world.pause(HEARD_WITHIN).await;
                let topic = workload.topic();
                let barred = Barred {
                    life: workload.progress.life(),
                    since: clients.clock.now().mono,
                    incarnation: topic.number,
                    partitions: self.partitions_in(&directory).await,
                };
                workload.progress.ledger().barred = Some(barred);
                self.pause_ms(self.world.draw(800)).await;
                return;
            }
            self.pause_ms(5).await;
        }
    }

    /// The partitions of the topic that lie in a directory.
    async fn partitions_in(&self, directory: &str) -> std::collections::BTreeSet<i32> {
        let disk = self.world.node(BROKER).disk;
        let entries = disk.list(Path::new(directory)).await.unwrap_or_default();
        let number = |name: &str| name.strip_prefix(TOPIC)?.strip_prefix('-')?.parse().ok();
        entries
            .iter()
            .filter_map(|entry| number(&entry.name))
            .collect()
    }

    /// Begins the broker's next life.
    async fn start(&self) -> Result<Broker, String> {
        let host = self.broker_host();
        let config = self.config()?;
        tokio::select! {
            biased;
            started = Broker::start(config, host) => started.map_err(|error| error.to_string()),
            () = self.world.pause(START_TIMEOUT) => Err("the broker does not come up".to_owned()),
        }
    }

    fn config(&self) -> Result<BrokerConfig, String> {
        let pairs = self
            .settings
            .iter()
            .map(|(key, value)| (*key, value.as_str()));
        BrokerConfig::from_pairs(pairs).map_err(|error| error.to_string())
    }

    /// Ends the broker's life; it may already have none.
    async fn end(&mut self, broker: Option<Broker>, end: End) {
        self.ends[end as usize] += 1;
        let lossy = end == End::PowerCut || self.sync_failed;
        match end {
            End::PowerCut => self.world.crash(BROKER),
            End::Kill if self.bug == Some(Bug::KillTakesThePageCache) => self.world.crash(BROKER),
            End::Kill => self.world.kill(BROKER),
            End::Stop => {
                // A clean stop ends with a sync; one that hangs would hang it too.
                self.world.heal_disk(BROKER, None);
                if let Some(broker) = broker {
                    broker.stop().await;
                }
                // What a process leaves behind when it ends.
                self.world.kill(BROKER);
            }
        }
        if let Some(progress) = &self.progress {
            progress.life_ended(lossy);
        }
        self.sync_failed = false;
        self.world.heal_disk(BROKER, None);
        if self.world.draw(6) == 0 {
            self.move_wall_clock();
        }
        self.pause_ms(self.world.draw(100)).await;
    }

    /// Off by less than the hour that records may lie in the future.
    fn move_wall_clock(&mut self) {
        let off_ms = self.world.draw(2 * WALL_OFF_MS_MAX) as i64 - WALL_OFF_MS_MAX as i64;
        self.world
            .move_wall_clock(BROKER, off_ms - self.wall_off_ms);
        self.wall_off_ms = off_ms;
        if let Some(progress) = &self.progress {
            progress.broker_ahead(off_ms);
        }
    }

    /// Recovery is met by power cuts and kills too.
    async fn maybe_end_while_starting(&mut self) {
        while self.world.draw(4) == 0 {
            let host = self.broker_host();
            let Ok(config) = self.config() else { return };
            let life = Duration::from_millis(self.world.draw(40));
            let started = tokio::select! {
                biased;
                started = Broker::start(config, host) => started.ok(),
                () = self.world.pause(life) => None,
            };
            let end = if self.world.draw(2) == 0 {
                End::PowerCut
            } else {
                End::Kill
            };
            self.end(started, end).await;
        }
    }

    async fn pause_ms(&self, ms: u64) {
        self.world.pause(Duration::from_millis(ms)).await;
    }
}
