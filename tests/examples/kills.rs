//! Kills a real broker again and again while idempotent producers write, `kill -9` and SIGTERM in
//! turn, and holds its logs against every promise: acknowledged (or shown to a consumer) = present,
//! once, in order, at its offset. `cargo xtask kills` builds and runs it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use millrace_tests::process::{BrokerProcess, Launch, Signal};
use millrace_tests::workload::{Plan, Workload};
use tokio::sync::watch;

/// Kills between two full checks; the last check is at the end.
const CHECK_EVERY: u64 = 25;
/// How long a broker runs after its first acknowledgement, at most.
const LIFE_MAX_MS: u64 = 400;
/// Every so many kills one meets the broker while it starts.
const EARLY_EVERY: u64 = 6;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("kills: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let (binary, kills) = match (arguments.next(), arguments.next()) {
        (Some(binary), Some(kills)) => (PathBuf::from(binary), kills),
        _ => return Err("usage: kills BINARY COUNT [DATA]".to_owned()),
    };
    let kills = kills
        .parse()
        .map_err(|_| format!("{kills} is not a number of kills"))?;
    let temporary = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = arguments
        .next()
        .map_or_else(|| temporary.path().join("data"), PathBuf::from);
    let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
    let host = machine.host();
    machine
        .block_on(
            Loop {
                host,
                binary,
                data: data.clone(),
            }
            .run(kills),
        )
        .inspect_err(|_| eprintln!("kills: the data are kept in {}", keep(temporary, &data)))
}

/// Leaves the data of a failed run where they are.
fn keep(temporary: tempfile::TempDir, data: &Path) -> String {
    drop(temporary.keep());
    data.display().to_string()
}

struct Loop {
    host: Host,
    binary: PathBuf,
    data: PathBuf,
}

impl Loop {
    async fn run(&self, kills: u64) -> Result<(), String> {
        let mut broker = self.start()?;
        let (tell, address) = watch::channel(broker.address());
        let mut plan = Plan::new("kills", 6);
        plan.topic = plan.topic.with("segment.bytes", "1048576");
        plan.producers = 4;
        plan.pause = Duration::from_millis(1);
        let mut workload = Workload::start(&self.host, address, &plan).await?;
        for kill in 1..=kills {
            let acknowledged = workload.progress.acknowledged();
            workload.reach_acknowledged(acknowledged + 1).await?;
            self.pause(self.draw(LIFE_MAX_MS)).await;
            let signal = if kill % 2 == 0 {
                Signal::Terminate
            } else {
                Signal::Kill
            };
            let status = broker.end(signal)?;
            if signal == Signal::Terminate && !status.success() {
                return Err(format!(
                    "kill {kill}: SIGTERM must end it with 0, not {status}"
                ));
            }
            if kill % EARLY_EVERY == 0 {
                // Recovery meets a kill too.
                let mut starting = Launch::new(&self.binary, &self.data).spawn()?;
                self.pause(self.draw(30)).await;
                starting.end(Signal::Kill)?;
            }
            broker = self.start()?;
            tell.send_replace(broker.address());
            workload.is_alive()?;
            if kill % CHECK_EVERY == 0 {
                let report = workload.check().await?;
                report
                    .kept()
                    .map_err(|reason| format!("after kill {kill}: {reason}"))?;
                eprintln!(
                    "kills: {kill} of {kills}, {} records owed, all there",
                    report.owed
                );
            }
        }
        let shown = workload.progress.shown();
        let report = workload.finish().await?;
        report.kept()?;
        let read: usize = report.records.values().sum();
        eprintln!(
            "kills: {kills} kills; {} records acknowledged or shown ({shown} shown to a consumer \
             meanwhile), {read} in the logs: each once, in order, at its offset",
            report.owed
        );
        Ok(())
    }

    fn start(&self) -> Result<BrokerProcess, String> {
        BrokerProcess::start(&self.binary, &self.data, &[])
    }

    fn draw(&self, below: u64) -> u64 {
        self.host.rng.next_u64() % below
    }

    async fn pause(&self, ms: u64) {
        let clock = &self.host.clock;
        clock
            .sleep_until(clock.now().mono + Duration::from_millis(ms))
            .await;
    }
}
