//! `cargo xtask beside`: Millrace and Apache Kafka 4.3.1 on this machine under the same work, run in
//! turn; medians and their ratios. The load is `millrace-bench`'s, which reads back all that it
//! wrote, so that a figure of lost records can't come out.
//!
//! What always holds: memory is touched before a row is measured (`millrace-bench warm`), each
//! broker is warmed before its first run counts, and both are idle while the other is measured.

pub(crate) mod brokers;
mod groups;
mod table;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::brokers::{Kind, Running, Site};
use self::table::{Figures, Table, figures};
use crate::packages::need;
use crate::process::{output, println};
use crate::{Outcome, binaries};

/// What is measured.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// From the start of the process to the first acknowledged produce, and memory after 30 s.
    Start,
    /// acks=1, batches of 1 MB: CPU and rate; memory 30 s after the load.
    Large,
    /// 100 partitions, batches of 10 records, acks=all: rate, with syncs and without.
    Small,
    /// kill -9 while writing at full rate, with 50 MB and with 5 GB of log: to the first ack again.
    Restart,
    /// Consumer groups: joins, heartbeats, commits, a start with a million offsets.
    Groups,
}

/// Which rows, how often.
#[derive(Args, Debug)]
pub(crate) struct BesideArguments {
    /// Only these.
    #[arg(long, value_delimiter = ',')]
    rows: Vec<Row>,
    /// Runs of each broker and row.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Millrace alone, a hundredth of the records, once: that the commands work.
    #[arg(long)]
    smoke: bool,
}

/// The programs, and how much of everything.
struct Beside {
    millrace: PathBuf,
    bench: PathBuf,
    kinds: &'static [Kind],
    runs: usize,
    /// Records and waits are divided by this.
    scale: usize,
    table: Table,
}

/// Runs the suite.
pub(crate) fn run(arguments: &BesideArguments) -> Outcome {
    if !arguments.smoke {
        need("java", "default-jdk-headless")?;
        need("mvn", "maven")?;
    }
    let mut beside = Beside {
        millrace: binaries::millrace()?,
        bench: binaries::millrace_bench()?,
        kinds: if arguments.smoke {
            &[Kind::Millrace]
        } else {
            &[Kind::Millrace, Kind::Kafka]
        },
        runs: if arguments.smoke {
            1
        } else {
            arguments.runs.max(1)
        },
        scale: if arguments.smoke { 100 } else { 1 },
        table: Table::default(),
    };
    let rows = if arguments.rows.is_empty() {
        Row::value_variants().to_vec()
    } else {
        arguments.rows.clone()
    };
    for row in rows {
        beside.warm()?;
        match row {
            Row::Start => beside.start()?,
            Row::Large => beside.large()?,
            Row::Small => beside.small()?,
            Row::Restart => beside.restart()?,
            Row::Groups => beside.groups()?,
        }
    }
    beside.table.print();
    Ok(())
}

impl Beside {
    fn bench(&self, arguments: &[&str]) -> Result<Figures, String> {
        let printed = output(Command::new(&self.bench).args(arguments))?;
        Ok(figures(&printed))
    }

    fn warm(&self) -> Outcome {
        let little: &[&str] = if self.scale > 1 {
            &["--mib", "64"]
        } else {
            &[]
        };
        self.bench(&[&["warm"], little].concat()).map(drop)
    }

    /// One load against a broker; `arguments` beside where and who it is.
    fn load(&self, site: &Site, broker: &Running<'_>, arguments: &str) -> Result<Figures, String> {
        let (address, pid) = (site.address(), broker.pid.to_string());
        let mut all = vec!["load", "--bootstrap", &address, "--pid", &pid];
        all.extend(arguments.split_ascii_whitespace());
        let figures = self.bench(&all)?;
        println(&format!("{:?}: {arguments}: {figures:?}", site.kind));
        Ok(figures)
    }

    fn records(&self, count: usize) -> usize {
        count / self.scale
    }

    /// The command of a broker, timed by the load generator; it is killed afterwards.
    fn first_ack(&self, site: &Site, topic: &str) -> Result<f64, String> {
        let (address, command) = (site.address(), site.command());
        let mut all = vec!["start", "--bootstrap", &address, "--topic", topic, "--"];
        all.extend(command.iter().map(String::as_str));
        let figures = self.bench(&all)?;
        println(&format!("{:?}: start: {figures:?}", site.kind));
        get(&figures, "start to first ack")
    }

    fn start(&mut self) -> Outcome {
        for _ in 0..self.runs {
            for kind in self.kinds {
                let site = Site::new(*kind, &self.millrace)?;
                // Kafka's directory must be formatted first, which its clock does not count.
                let broker = site.start()?;
                self.idle();
                let memory = self.load(&site, &broker, "--topic one --records 1")?;
                let resident = get(&memory, "broker resident")?;
                broker.stop()?;
                let empty = Site::new(*kind, &self.millrace)?;
                let site = if *kind == Kind::Millrace {
                    &empty
                } else {
                    &site
                };
                let first = self.first_ack(site, "first")?;
                self.table.add("start to first ack, ms", (*kind, ""), first);
                let row = "resident memory idle 30 s after start, MiB";
                self.table.add(row, (*kind, ""), resident);
            }
        }
        Ok(())
    }

    fn large(&mut self) -> Outcome {
        let shape = "--acks 1 --record-bytes 1024 --batch-bytes 1000000";
        let (records, warm) = (self.records(500_000), self.records(1_000_000));
        let sites = self.sites()?;
        let brokers = started(&sites)?;
        for (site, broker) in sites.iter().zip(&brokers) {
            self.load(
                site,
                broker,
                &format!("--topic warm {shape} --records {warm}"),
            )?;
        }
        for run in 0..self.runs {
            for (site, broker) in sites.iter().zip(&brokers) {
                let arguments = format!("--topic large-{run} {shape} --records {records}");
                let figures = self.load(site, broker, &arguments)?;
                for (row, name) in [
                    (
                        "acks=1, 1 MB batches: broker CPU s per million",
                        "broker cpu per million",
                    ),
                    ("acks=1, 1 MB batches: records/s", "records per second"),
                ] {
                    self.table.add(row, (site.kind, ""), get(&figures, name)?);
                }
            }
        }
        self.idle();
        for (site, broker) in sites.iter().zip(&brokers) {
            let figures = self.load(site, broker, "--topic one --records 1")?;
            for (row, name) in [
                (
                    "peak resident memory under load, MiB",
                    "broker peak resident",
                ),
                (
                    "resident memory 30 s after the load, MiB",
                    "broker resident",
                ),
            ] {
                self.table.add(row, (site.kind, ""), get(&figures, name)?);
            }
        }
        brokers.into_iter().try_for_each(Running::stop)
    }

    fn small(&mut self) -> Outcome {
        let shape = "--acks all --partitions 100 --connections 4 --record-bytes 1024 \
                     --batch-records 10";
        let records = self.records(500_000);
        let sites = self.sites()?;
        let brokers = started(&sites)?;
        for (site, broker) in sites.iter().zip(&brokers) {
            self.load(
                site,
                broker,
                &format!("--topic warm {shape} --records {records}"),
            )?;
        }
        for run in 0..self.runs {
            for (site, broker) in sites.iter().zip(&brokers) {
                let settings: &[(&str, usize, &str)] = match site.kind {
                    Kind::Millrace => &[("synced", records, "")],
                    Kind::Kafka => &[
                        ("not synced", records, ""),
                        (
                            "flush.messages=1",
                            records / 5,
                            "--topic-config flush.messages=1",
                        ),
                    ],
                };
                for (at, (setting, records, config)) in settings.iter().enumerate() {
                    let topic = format!("small-{run}-{at}");
                    let arguments = format!("--topic {topic} {shape} --records {records} {config}");
                    let figures = self.load(site, broker, &arguments)?;
                    let column = (site.kind, *setting);
                    for (row, name) in [
                        ("100 partitions, acks=all: records/s", "records per second"),
                        ("100 partitions, acks=all: p50 ms", "latency p50"),
                        (
                            "100 partitions, acks=all: CPU s per million",
                            "broker cpu per million",
                        ),
                    ] {
                        self.table.add(row, column, get(&figures, name)?);
                    }
                }
            }
        }
        brokers.into_iter().try_for_each(Running::stop)
    }

    fn restart(&mut self) -> Outcome {
        let shape = "--acks 1 --partitions 4 --connections 2 --record-bytes 1024 \
                     --batch-bytes 1000000";
        for _ in 0..self.runs {
            for kind in self.kinds {
                for (setting, records) in [("50 MB", 50_000), ("5 GB", 5_000_000)] {
                    let site = Site::new(*kind, &self.millrace)?;
                    let broker = site.start()?;
                    let fill = format!("--topic fill {shape} --records {}", self.records(records));
                    self.load(&site, &broker, &fill)?;
                    self.kill_while_writing(&site, broker)?;
                    let first = self.first_ack(&site, "fill")?;
                    let row = "killed while writing: restart to first ack, ms";
                    self.table.add(row, (*kind, setting), first);
                }
            }
        }
        Ok(())
    }

    /// Kills the broker in the midst of a load to the topic that is already there.
    fn kill_while_writing(&self, site: &Site, broker: Running<'_>) -> Outcome {
        let address = site.address();
        let mut load = Command::new(&self.bench)
            .args([
                "load",
                "--bootstrap",
                &address,
                "--topic",
                "fill",
                "--acks",
                "1",
            ])
            .args(["--records", "4000000", "--batch-bytes", "1000000"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start the load: {error}"))?;
        let before = site.bytes()?;
        let killed = self
            .wait_for_growth(site, before)
            .and_then(|()| broker.kill());
        let ended = load.kill().and_then(|()| load.wait());
        ended.map_err(|error| format!("the load does not end: {error}"))?;
        killed
    }

    /// Waits until the broker has clearly written more than before.
    fn wait_for_growth(&self, site: &Site, before: u64) -> Outcome {
        const GROWTH_BYTES: u64 = 64 << 20;
        for _ in 0..600 {
            if site.bytes()? > before + GROWTH_BYTES / self.scale as u64 {
                return Ok(());
            }
            pause(Duration::from_millis(50));
        }
        Err("the load wrote nothing within 30 s".into())
    }

    fn sites(&self) -> Result<Vec<Site>, String> {
        let site = |kind: &Kind| Site::new(*kind, &self.millrace);
        self.kinds.iter().map(site).collect()
    }

    /// The half minute after which memory counts as idle.
    fn idle(&self) {
        pause(Duration::from_secs(30) / self.scale as u32);
    }
}

fn started(sites: &[Site]) -> Result<Vec<Running<'_>>, String> {
    sites.iter().map(Site::start).collect()
}

fn get(figures: &Figures, name: &str) -> Result<f64, String> {
    let value = figures.get(name).copied();
    value.ok_or_else(|| format!("the load generator printed no `{name}`: {figures:?}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement's own time, in a developer's tool"
)]
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
