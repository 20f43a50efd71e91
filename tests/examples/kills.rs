//! Kills a real broker again and again while idempotent producers write, with `kill -9` and now and
//! then SIGTERM, and holds its logs against every promise: acknowledged (or shown to a consumer) =
//! present, once, in order, at its offset. Clients that others wrote write beside ours, each from
//! before the first kill to behind the last one; what their delivery reports say is read back by
//! another client at the end. `cargo xtask kills` builds and runs it.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use millrace_client::{Client, ClientOptions, NewTopic};
use millrace_host::real::{Options, RealHost};
use millrace_host::{Host, Mono};
use millrace_tests::foreign::Writer;
use millrace_tests::process::{BrokerProcess, Launch, Signal};
use millrace_tests::workload::{Plan, Workload};
use tokio::sync::watch;

/// Kills between two full checks; the last check is at the end.
const CHECK_EVERY: u64 = 50;
/// How long a broker runs after its first acknowledgement, at most.
const LIFE_MAX_MS: u64 = 200;
/// Every so many lives one more is ended while it starts.
const EARLY_EVERY: u64 = 6;
/// Every so many lives one ends by SIGTERM.
const TERMINATE_EVERY: u64 = 5;
/// Linux's number of the signal that can't be caught.
const SIGKILL: i32 = 9;
/// Clients that others wrote have their first acknowledgement within this.
const FIRST_WITHIN_MS: u64 = 60_000;
/// Between two looks for it.
const LOOK_EVERY_MS: u64 = 20;

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
        return Err("usage: kills BINARY COUNT [-- WRITER COMMAND]..".to_owned());
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
                kills,
            }
            .run(),
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
    /// Names and commands of writers that others wrote.
    writers: Vec<Vec<String>>,
    /// How many kills.
    kills: u64,
}

/// How often the broker was ended, and where the time went.
#[derive(Default)]
struct Tally {
    /// By `kill -9`, while it started too.
    kills: u64,
    /// While it started.
    early: u64,
    /// By SIGTERM.
    terminated: u64,
    /// From listening to the first acknowledgement.
    first: Duration,
    /// From there to the signal.
    life: Duration,
    /// From the signal to the end of the process.
    end: Duration,
    /// From the start of a process to listening.
    start: Duration,
    /// Reading everything back.
    check: Duration,
}

impl Loop {
    async fn run(&mut self) -> Result<(), String> {
        let mut broker = self.launch.start()?;
        // Others look for it where it was.
        let listener = format!("listeners=PLAINTEXT://{}", broker.address());
        self.launch = self.launch.clone().set(listener);
        let (tell, address) = watch::channel(broker.address());
        let mut plan = Plan::new("kills", 6);
        plan.topic = plan.topic.with("segment.bytes", "1048576");
        plan.producers = 4;
        plan.pause = Duration::from_millis(1);
        let mut workload = Workload::start(&self.host, address, &plan).await?;
        let mut foreign = self.start_writers(broker.address()).await?;
        let mut tally = Tally::default();
        let mut lives = 0;
        let mut check_at = CHECK_EVERY;
        while tally.kills < self.kills {
            lives += 1;
            self.live(&mut workload, &mut tally).await?;
            broker = self.end(broker, lives, &mut tally).await?;
            tell.send_replace(broker.address());
            workload.is_alive()?;
            foreign.iter_mut().try_for_each(Writer::is_alive)?;
            if tally.kills >= check_at {
                check_at += CHECK_EVERY;
                let begin = self.now();
                self.check(&workload, &mut foreign, &tally).await?;
                tally.check += self.now().since(begin);
            }
        }
        let shown = workload.progress.shown();
        let report = workload.finish().await?;
        report.kept()?;
        let read: usize = report.records.values().sum();
        finish_writers(foreign, broker.address())?;
        tally.print(lives);
        eprintln!(
            "kills: {} records acknowledged or shown ({shown} shown to a consumer meanwhile), \
             {read} in the logs: each once, in order, at its offset",
            report.owed
        );
        Ok(())
    }

    /// Lets the broker live for a while under load.
    async fn live(&self, workload: &mut Workload, tally: &mut Tally) -> Result<(), String> {
        let begin = self.now();
        let acknowledged = workload.progress.acknowledged();
        workload.reach_acknowledged(acknowledged + 1).await?;
        let reached = self.now();
        self.pause(self.draw(LIFE_MAX_MS)).await;
        tally.first += reached.since(begin);
        tally.life += self.now().since(reached);
        Ok(())
    }

    /// Ends a life, now and then the beginning of the next one too; gives the broker that lives.
    async fn end(
        &self,
        mut broker: BrokerProcess,
        life: u64,
        tally: &mut Tally,
    ) -> Result<BrokerProcess, String> {
        let begin = self.now();
        if life.is_multiple_of(TERMINATE_EVERY) {
            let status = broker.end(Signal::Terminate)?;
            if !status.success() {
                return Err(format!(
                    "life {life}: SIGTERM must end it with 0, not {status}"
                ));
            }
            tally.terminated += 1;
        } else {
            killed(&mut broker)?;
            tally.kills += 1;
        }
        tally.end += self.now().since(begin);
        if life.is_multiple_of(EARLY_EVERY) && tally.kills < self.kills {
            // Recovery meets a kill too.
            let mut starting = self.launch.spawn()?;
            self.pause(self.draw(30)).await;
            killed(&mut starting)?;
            tally.kills += 1;
            tally.early += 1;
        }
        let begin = self.now();
        let broker = self.launch.start()?;
        tally.start += self.now().since(begin);
        Ok(broker)
    }

    /// Reads everything back under load, and sees that each writer gets on across the kills.
    async fn check(
        &self,
        workload: &Workload,
        foreign: &mut [Writer],
        tally: &Tally,
    ) -> Result<(), String> {
        let kills = tally.kills;
        let report = workload.check().await?;
        report
            .kept()
            .map_err(|reason| format!("after kill {kills}: {reason}"))?;
        for writer in foreign {
            if !writer.gets_on()? {
                let topic = writer.topic();
                return Err(format!(
                    "{topic}: nothing was acknowledged in {CHECK_EVERY} kills"
                ));
            }
        }
        eprintln!(
            "kills: {kills} of {}, {} records owed, all there; each client gets on",
            self.kills, report.owed
        );
        Ok(())
    }

    /// The writers that others wrote, each on a topic of its own, once each was told something.
    async fn start_writers(&self, address: SocketAddr) -> Result<Vec<Writer>, String> {
        let options = ClientOptions::default();
        let client = Client::connect(&self.host, address, options).await;
        let client = client.map_err(|error| error.to_string())?;
        let mut writers = Vec::new();
        for words in &self.writers {
            let (name, words) = words.split_first().ok_or("a writer has no name")?;
            let topic = NewTopic::new(name, 3);
            let made = client.create_topic(&topic).await;
            made.map_err(|error| error.to_string())?;
            writers.push(Writer::start(words, topic.name, address, &self.place)?);
        }
        let begin = self.now();
        for writer in &mut writers {
            while !writer.gets_on()? {
                writer.is_alive()?;
                if self.now().since(begin) > Duration::from_millis(FIRST_WITHIN_MS) {
                    return Err(format!("{}: nothing was acknowledged", writer.topic()));
                }
                self.pause(LOOK_EVERY_MS).await;
            }
        }
        Ok(writers)
    }

    fn draw(&self, below: u64) -> u64 {
        self.host.rng.next_u64() % below
    }

    fn now(&self) -> Mono {
        self.host.clock.now().mono
    }

    async fn pause(&self, ms: u64) {
        let clock = &self.host.clock;
        clock
            .sleep_until(clock.now().mono + Duration::from_millis(ms))
            .await;
    }
}

/// Kills the broker; fails when it had ended by itself.
fn killed(broker: &mut BrokerProcess) -> Result<(), String> {
    match broker.end(Signal::Kill)? {
        status if status.signal() == Some(SIGKILL) => Ok(()),
        status => Err(format!("the broker ended by itself: {status}")),
    }
}

/// Ends the writers that others wrote and has what they were promised read back.
fn finish_writers(writers: Vec<Writer>, address: SocketAddr) -> Result<(), String> {
    for writer in writers {
        let name = writer.topic().to_owned();
        let promised = writer.finish(address)?;
        if promised == 0 {
            return Err(format!("{name}: nothing was acknowledged"));
        }
        eprintln!(
            "kills: {name}: {promised} records in delivery reports, read back by kcat: each there, \
             none twice, in order"
        );
    }
    Ok(())
}

impl Tally {
    fn print(&self, lives: u64) {
        eprintln!(
            "kills: {} by kill -9, {} of them while it started; {} by SIGTERM",
            self.kills, self.early, self.terminated
        );
        let each = |span: Duration| span.as_millis() / u128::from(lives.max(1));
        eprintln!(
            "kills: a life took {} ms to its first acknowledgement, {} ms under load, {} ms to end, \
             {} ms to start; all checks {} ms",
            each(self.first),
            each(self.life),
            each(self.end),
            each(self.start),
            self.check.as_millis()
        );
    }
}
