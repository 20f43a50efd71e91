//! The whole broker in the simulation: a workload runs while a list of faults happens to its node
//! and its net, and every promise is held against what is there at the end.
//!
//! What always holds: everything is drawn from the seed, so a seed that fails fails again; a run
//! that stands still ends by the workload's patience, which counts virtual time; a fault that is left
//! out leaves the others what they were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_host::Host;
use millrace_probe::Branch;
use millrace_server::Broker;
use millrace_sim::{NetOptions, Sim, SimOptions, TraceSummary, World};
use tokio::sync::watch;

use crate::anomaly::Anomaly;
use crate::faults::rot::Fate;
use crate::faults::schedule::schedule;
use crate::faults::{Fault, Only, What};
use crate::groups;
use crate::ledger::Progress;
use crate::liveness::{self, Witness};
use crate::planted::Bug;
use crate::shape::{ADDRESS, Row, directories, plan, settings};
use crate::workload::{Plan, Report, Workload};

mod acts;
mod ending;
mod gone;
mod life;

/// The node of the broker, and that of all clients.
const BROKER: &str = "broker";
const CLIENTS: &str = "clients";
/// Partitions of the witness's topic: some lie in every directory.
const WITNESS_PARTITIONS: i32 = 3;

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
    /// Which of the seed's faults happen; all when `None`.
    pub only: Option<Only>,
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
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records that were acknowledged or shown and then read back.
    pub read_back: usize,
    /// Requests that were answered with success.
    pub operations: u64,
    /// What became of partitions that rotted, how often each.
    pub fates: BTreeMap<Fate, u32>,
    /// Branches of the product that were taken, how often each.
    pub reached: BTreeMap<Branch, u64>,
    /// Virtual time that passed.
    pub elapsed: Duration,
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

/// The faults of a run, those that are left out too.
pub fn faults_of(setup: Setup) -> Vec<Fault> {
    let sim = Sim::with_options(options(setup));
    let world = sim.world();
    let row = setup.row.unwrap_or_else(|| Row::draw(&world));
    let _plan = plan(&world, row, setup.bug);
    let directories = directories(&world);
    schedule(setup.seed, row, directories.len())
}

fn options(setup: Setup) -> SimOptions {
    SimOptions {
        seed: setup.seed,
        keep_lines: setup.keep_lines,
        net: NetOptions {
            break_per_10k: (setup.seed % 4) as u32 * 3,
            ..NetOptions::default()
        },
        ..SimOptions::default()
    }
}

/// The same with what is otherwise drawn, or a bug.
pub fn run_setup(setup: Setup) -> Result<Outcome, Failure> {
    // Of whatever ran before in this thread.
    millrace_probe::take_reached();
    let sim = Sim::with_options(options(setup));
    let run = Run::new(&sim.world(), setup);
    let row = run.row;
    let outcome = sim.block_on(run.run());
    let outcome = outcome.and_then(|(outcome, report)| sound(&sim, &report).map(|()| outcome));
    let outcome = outcome.map(|outcome| Outcome {
        trace: sim.trace(),
        elapsed: sim.elapsed(),
        reached: millrace_probe::take_reached(),
        ..outcome
    });
    outcome.map_err(|failure| Failure {
        reason: format!(
            "seed {}: {row:?}: {}{}",
            setup.seed,
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
    /// Still to come, the next one last.
    faults: Vec<Fault>,
    progress: Option<Arc<Progress>>,
    witness: Witness,
    broker: Option<Broker>,
    /// What heals, and when.
    heals: Vec<(Duration, acts::Heal)>,
    /// The directory that is away.
    away: Option<String>,
    /// What was not synced in this life may have been written elsewhere.
    is_lossy: bool,
    ends: [u32; 3],
    wall_off_ms: i64,
    /// Errors that the disk had returned when the present life began.
    errors_before: Errors,
}

/// Errors that the disk returned so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Errors {
    /// To syncs: what was not durable may have gone from the page cache.
    syncs: u64,
    /// All of them: some of the broker may be out of service until it is started again.
    all: u64,
}

impl Run {
    fn new(world: &World, setup: Setup) -> Self {
        let row = setup.row.unwrap_or_else(|| Row::draw(world));
        world.note(&format!("row {row:?}"));
        let mut plan = plan(world, row, setup.bug);
        let directories = directories(world);
        let mut settings = settings(world, &directories);
        acts::shape(world, (setup.seed, row), &mut plan, &mut settings);
        let mut faults = schedule(setup.seed, row, directories.len());
        if faults
            .iter()
            .any(|fault| matches!(fault.what, What::WriteRot { .. }))
        {
            // What is written wrong while somebody reads it can't be judged.
            plan.table = None;
        }
        if let Some(table) = &mut plan.table {
            let moves = |fault: &Fault| matches!(fault.what, What::Clock(_));
            table.clock_is_still = !faults.iter().any(moves);
        }
        if let Some(crowd) = &mut plan.groups {
            let leaps =
                |fault: &Fault| matches!(fault.what, What::Clock(ms) if crowd.is_a_leap(ms));
            let leaps = faults.iter().any(leaps);
            crowd.set_clock_leaps(leaps);
        }
        faults.retain(|fault| setup.only.is_none_or(|only| only.has(fault.number)));
        faults.reverse();
        Self {
            settings,
            world: world.clone(),
            row,
            bug: setup.bug,
            plan,
            witness: Witness::new(world.node(CLIENTS), ADDRESS, WITNESS_PARTITIONS),
            directories,
            faults,
            progress: None,
            broker: None,
            heals: Vec::new(),
            away: None,
            is_lossy: false,
            ends: [0; 3],
            wall_off_ms: 0,
            errors_before: Errors::default(),
        }
    }

    async fn run(mut self) -> Result<(Outcome, Report), Failure> {
        let (tell, address) = watch::channel(ADDRESS);
        let clients = self.clients();
        self.start().await?;
        let mut workload = Workload::start(&clients, address, &self.plan).await?;
        self.progress = Some(Arc::clone(&workload.progress));
        // Its partitions lie in every directory before one is away.
        let soon = clients.clock.now().mono + liveness::WITHIN;
        self.witness.progress(soon).await?;
        while let Some(fault) = self.faults.pop_if(|fault| !fault.what.begins_rot()) {
            self.happen(fault, &mut workload, &clients).await?;
            workload.is_alive()?;
        }
        self.heal_all(&mut workload).await?;
        let rots = self.begin_rot().await;
        let (progress, topics) = (Arc::clone(&workload.progress), workload.topics());
        let mut report = workload.finish().await?;
        if let (Some(broker), Some(_)) = (&self.broker, &self.plan.groups)
            && let Err(why) = groups::nothing_left(&broker.metrics_text())
        {
            report.anomalies.push(Anomaly::OverLimit(why));
        }
        let topic = topics.borrow().clone();
        let fates = if rots && report.anomalies.is_empty() {
            self.rot(&topic.topic).await?
        } else {
            BTreeMap::new()
        };
        self.broker = None;
        drop(tell);
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
            acknowledged: progress.acknowledged(),
            read_back: report
                .owed
                .saturating_sub(report.taken)
                .min(report.records.values().sum()),
            operations: progress.operations(),
            fates,
            reached: BTreeMap::new(),
            elapsed: Duration::ZERO,
            trace: self.world.trace(),
        };
        drop(ledger);
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
}
