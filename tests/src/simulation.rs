//! The whole broker in the simulation: a workload runs while its node loses power, is killed or is
//! stopped, again and again, and every promise is held against what is there at the end.
//!
//! What always holds: everything is drawn from the seed, so a seed that fails fails again; a run
//! that stands still ends by the workload's patience, which counts virtual time.

use std::net::SocketAddr;
use std::time::Duration;

use millrace_config::BrokerConfig;
use millrace_host::Host;
use millrace_server::Broker;
use millrace_sim::{
    DiskEffect, DiskFault, DiskOp, NetOptions, Sim, SimOptions, TraceSummary, When, World,
};
use tokio::sync::watch;

use crate::workload::{Plan, Report, Workload};

/// The node of the broker, and that of all clients.
const BROKER: &str = "broker";
const CLIENTS: &str = "clients";
/// Where the broker listens in the simulated network.
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9092);
/// A broker that does not serve by then, in virtual time, stands still.
const START_TIMEOUT: Duration = Duration::from_mins(5);

/// How far the broker's wall clock may be off, either way.
const WALL_OFF_MS_MAX: u64 = 3_000_000;

/// Events that a failure shows.
const EVENTS_SHOWN_MAX: usize = 5000;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Records that were acknowledged or shown to a consumer.
    pub owed: usize,
    /// Records in the logs at the end.
    pub records: usize,
    /// How often the broker's life ended, by power cut, kill and stop.
    pub ends: [u32; 3],
    /// The record of every event.
    pub trace: TraceSummary,
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
    run_with(seed, keep_lines, &[])
}

/// The same with further configurations of the topic.
pub fn run_with(
    seed: u64,
    keep_lines: bool,
    topic_configs: &[(&str, &str)],
) -> Result<Outcome, String> {
    let options = SimOptions {
        seed,
        keep_lines,
        net: NetOptions {
            break_per_10k: (seed % 4) as u32 * 3,
            ..NetOptions::default()
        },
        ..SimOptions::default()
    };
    let sim = Sim::with_options(options);
    let world = sim.world();
    let mut plan = plan(&world);
    for (key, value) in topic_configs {
        plan.topic = plan.topic.with(*key, *value);
    }
    let run = Run {
        world: sim.world(),
        plan,
        settings: settings(&world),
        ends: [0; 3],
        wall_off_ms: 0,
    };
    let outcome = sim.block_on(run.run());
    let outcome = match outcome {
        Ok((report, ends)) => sound(&sim, &report).map(|()| Outcome {
            owed: report.owed,
            records: report.records.values().sum(),
            ends,
            trace: sim.trace(),
        }),
        Err(reason) => Err(reason),
    };
    outcome.map_err(|reason| {
        let lines = sim.trace_lines();
        let last = &lines[lines.len().saturating_sub(EVENTS_SHOWN_MAX)..];
        let lines = if last.is_empty() {
            String::new()
        } else {
            format!("\nthe last of {} events:\n{}", lines.len(), last.join("\n"))
        };
        format!("seed {seed}: {reason}{lines}")
    })
}

/// Promises are kept and no task panicked.
fn sound(sim: &Sim, report: &Report) -> Result<(), String> {
    report.kept()?;
    let panics = sim.panics();
    if panics.is_empty() {
        Ok(())
    } else {
        Err(format!("tasks panicked: {}", panics.join("; ")))
    }
}

/// A number between two, both included.
fn between(world: &World, least: u64, most: u64) -> u64 {
    least + world.draw(most - least + 1)
}

/// What the clients do. Indexes are so short that segments roll after a few batches.
fn plan(world: &World) -> Plan {
    let draw = |least, most| between(world, least, most);
    let mut plan = Plan::new("simulated", draw(1, 5) as i32);
    plan.producers = draw(1, 4) as u32;
    plan.batch_records = draw(1, 12) as u32;
    plan.record_bytes = [24, 100, 400, 5000][world.draw(4) as usize];
    plan.pause = Duration::from_millis(draw(0, 10));
    plan.patience = Duration::from_mins(10);
    plan.request_timeout = Duration::from_secs(draw(2, 20));
    if world.draw(3) > 0 {
        let entries = draw(1, 30);
        plan.topic = plan
            .topic
            .with("index.interval.bytes", draw(1, 4000).to_string())
            .with("segment.index.bytes", (entries * 12).to_string());
    }
    plan
}

/// How the broker is configured: limits small enough to be met.
fn settings(world: &World) -> Vec<(&'static str, String)> {
    vec![
        ("listeners", format!("PLAINTEXT://{ADDRESS}")),
        ("admin.listener", String::new()),
        ("log.dirs", "/data".to_owned()),
        ("log.dir.reserve.bytes", "0".to_owned()),
        (
            "log.direct.sync.bytes",
            [4096, 16_384, 65_536][world.draw(3) as usize].to_string(),
        ),
        (
            "log.journal.file.bytes.max",
            (1 << between(world, 20, 24)).to_string(),
        ),
        ("log.open.files.max", between(world, 16, 64).to_string()),
    ]
}

/// One run: its world, its shape, and what has happened to the broker.
struct Run {
    world: World,
    plan: Plan,
    settings: Vec<(&'static str, String)>,
    ends: [u32; 3],
    wall_off_ms: i64,
}

impl Run {
    async fn run(mut self) -> Result<(Report, [u32; 3]), String> {
        let (tell, address) = watch::channel(ADDRESS);
        let clients = self.world.node(CLIENTS);
        let mut broker = self.start().await?;
        let mut workload = Workload::start(&clients, address, &self.plan).await?;
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
            if self.world.draw(3) == 0 {
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
        let report = workload.finish().await?;
        drop((broker, tell));
        Ok((report, self.ends))
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

    /// Begins the broker's next life.
    async fn start(&self) -> Result<Broker, String> {
        let host = self.world.node(BROKER);
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
        match end {
            End::PowerCut => self.world.crash(BROKER),
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
        self.world.heal_disk(BROKER, None);
        if self.world.draw(6) == 0 {
            // Off by less than the hour that records may lie in the future.
            let off_ms = self.world.draw(2 * WALL_OFF_MS_MAX) as i64 - WALL_OFF_MS_MAX as i64;
            self.world
                .move_wall_clock(BROKER, off_ms - self.wall_off_ms);
            self.wall_off_ms = off_ms;
        }
        self.pause_ms(self.world.draw(100)).await;
    }

    /// Recovery is met by power cuts and kills too.
    async fn maybe_end_while_starting(&mut self) {
        while self.world.draw(4) == 0 {
            let host: Host = self.world.node(BROKER);
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
