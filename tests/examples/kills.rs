//! Kills a real broker again and again while idempotent producers write, `kill -9` and SIGTERM in
//! turn, and holds its logs against every promise: acknowledged (or shown to a consumer) = present,
//! once, in order, at its offset. Clients that others wrote write beside ours; what their delivery
//! reports say is read back by another client at the end. `cargo xtask kills` builds and runs it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use millrace_client::{Client, ClientOptions, NewTopic};
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use millrace_tests::foreign::Writer;
use millrace_tests::process::{Launch, Signal};
use millrace_tests::workload::{Plan, Workload};
use tokio::sync::watch;

/// Kills between two full checks; the last check is at the end.
const CHECK_EVERY: u64 = 50;
/// How long a broker runs after its first acknowledgement, at most.
const LIFE_MAX_MS: u64 = 200;
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
    let all: Vec<String> = std::env::args().skip(1).collect();
    let mut parts = all.split(|word| word == "--").map(<[String]>::to_vec);
    let own = parts.next().unwrap_or_default();
    let [binary, kills] = own.as_slice() else {
        return Err("usage: kills BINARY COUNT [-- WRITER-COMMAND]..".to_owned());
    };
    let (binary, writers) = (PathBuf::from(binary), parts.collect());
    let kills = kills
        .parse()
        .map_err(|_| format!("{kills} is not a number of kills"))?;
    let temporary = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = temporary.path().join("data");
    let machine = RealHost::start(&Options::default()).map_err(|error| error.to_string())?;
    let host = machine.host();
    machine
        .block_on(
            Loop {
                host,
                launch: Launch::new(&binary, &data),
                place: temporary.path().to_owned(),
                writers,
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
    launch: Launch,
    place: PathBuf,
    /// Commands of writers that others wrote.
    writers: Vec<Vec<String>>,
}

impl Loop {
    async fn run(&mut self, kills: u64) -> Result<(), String> {
        let mut broker = self.launch.start()?;
        // Others look for it where it was.
        let listener = format!("listeners=PLAINTEXT://{}", broker.address());
        self.launch = self.launch.clone().set(listener);
        let mut foreign = self.start_writers(broker.address()).await?;
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
                let mut starting = self.launch.spawn()?;
                self.pause(self.draw(30)).await;
                starting.end(Signal::Kill)?;
            }
            broker = self.launch.start()?;
            tell.send_replace(broker.address());
            workload.is_alive()?;
            foreign.iter_mut().try_for_each(Writer::is_alive)?;
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
        for writer in foreign {
            let topic = writer.topic().to_owned();
            let promised = writer.finish(broker.address())?;
            if promised == 0 {
                return Err(format!("{topic}: nothing was acknowledged"));
            }
            eprintln!(
                "kills: {topic}: {promised} records in delivery reports, read back by kcat: each \
                 there, none twice, in order"
            );
        }
        eprintln!(
            "kills: {kills} kills; {} records acknowledged or shown ({shown} shown to a consumer \
             meanwhile), {read} in the logs: each once, in order, at its offset",
            report.owed
        );
        Ok(())
    }

    /// The writers that others wrote, each on a topic of its own.
    async fn start_writers(&self, address: SocketAddr) -> Result<Vec<Writer>, String> {
        let options = ClientOptions::default();
        let client = Client::connect(&self.host, address, options).await;
        let client = client.map_err(|error| error.to_string())?;
        let mut writers = Vec::new();
        for (number, words) in self.writers.iter().enumerate() {
            let topic = NewTopic::new(format!("foreign-{number}"), 3);
            let made = client.create_topic(&topic).await;
            made.map_err(|error| error.to_string())?;
            writers.push(Writer::start(words, topic.name, address, &self.place)?);
        }
        Ok(writers)
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
