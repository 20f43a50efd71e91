//! Little memory (F30): a memory cgroup, version 1 or 2, around the broker.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_client::{Client, FetchFrom, FetchOptions, Topic};
use millrace_host::Host;
use millrace_tests::load::{Producing, patient, percentile, together};

use crate::stage::{Running, Stage, plan};

/// The limit, page cache included.
const LIMIT_BYTES: u64 = 112 << 20;
/// Consumers that read everything again and again.
const CONSUMERS: usize = 16;
/// Producers of large batches beside them.
const PRODUCERS: usize = 8;
const BATCH_BYTES: usize = 200_000;

/// A cgroup of our own; removed with this value, when its processes are gone.
struct Cgroup {
    path: PathBuf,
    unified: bool,
}

impl Cgroup {
    fn new() -> Result<Self, String> {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let unified = controllers.split_whitespace().any(|name| name == "memory");
        let parent = if unified {
            // Fails where it is on already, or where the last line here fails too.
            drop(fs::write(root.join("cgroup.subtree_control"), "+memory"));
            root.to_owned()
        } else {
            root.join("memory")
        };
        let path = parent.join(format!("millrace-faults-{}", std::process::id()));
        let words = |error: std::io::Error| {
            format!(
                "this scenario makes a memory cgroup at {}, which takes root and a kernel with the \
                 memory controller: {error}",
                path.display()
            )
        };
        fs::create_dir(&path).map_err(words)?;
        let limit = if unified {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        fs::write(path.join(limit), LIMIT_BYTES.to_string()).map_err(words)?;
        Ok(Self { path, unified })
    }

    /// How many processes the kernel ended for want of memory.
    fn killed(&self) -> Result<u64, String> {
        let file = if self.unified {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        let text = fs::read_to_string(self.path.join(file)).map_err(|error| error.to_string())?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        let count = count.and_then(|count| count.trim().parse().ok());
        count.ok_or_else(|| format!("{file} doesn't say how many were killed: {text}"))
    }

    /// What its processes and their page cache used at most.
    fn peak(&self) -> u64 {
        let file = if self.unified {
            "memory.peak"
        } else {
            "memory.max_usage_in_bytes"
        };
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that was just waited for may still be listed for a moment.
        for _ in 0..1000 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
        eprintln!("faults: {} stays", self.path.display());
    }
}

/// F30: large fetches by many consumers and large produces beside them. The broker stays within the
/// limit, is not killed, and goes on answering.
pub(crate) async fn little(stage: &Stage) -> Result<String, String> {
    let cgroup = Cgroup::new()?;
    let enter = format!(
        "echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"",
        cgroup.path.display()
    );
    // With the defaults: what they become is in the log.
    let launch = stage.launch().before(["sh", "-c", &enter]);
    let mut running = Running::start(stage, launch, &plan(4)).await?;
    let said = fs::read_to_string(stage.log()).unwrap_or_default();
    let chosen = said.lines().find(|line| line.contains("limits chosen"));
    let chosen = chosen.and_then(|line| line.split("nobody set them: ").nth(1));
    let chosen = chosen
        .ok_or("it must say which limits it chose")?
        .to_owned();
    let topic = running.topic("large", 8).await?;
    let probe = running.topic("probe", 1).await?;
    let words = |error: millrace_client::Error| error.to_string();
    // More than the limit holds, so that consumers read what is cold.
    let fill = if stage.smoke { 70 } else { 250 };
    produce(&running, &topic, fill).await?;
    let before = percentile(&running.probe(&probe, 0, 100).await.map_err(words)?, 0.99);
    let stop = Arc::new(AtomicBool::new(false));
    let consumers = consumers(&running, &topic, &stop).await?;
    let host = stage.host.clone();
    let consuming = together(&host, consumers);
    let loading = async {
        let outcome = load(&running, &topic, &probe).await;
        stop.store(true, Ordering::Relaxed);
        outcome
    };
    let (consumed, loaded) = tokio::join!(consuming, loading);
    let (consumed, during) = (consumed?.into_iter().sum::<u64>(), loaded?);
    running.lives()?;
    running.progress("an acknowledgement under load").await?;
    let resident = resident_peak(running.broker.id())?;
    if cgroup.killed()? > 0 || resident > LIMIT_BYTES {
        return Err(format!(
            "{} killed, {resident} bytes resident",
            cgroup.killed()?
        ));
    }
    let said = format!(
        "{} MiB for all, peak {} MiB with the page cache, {} MiB resident, nobody killed; \
         {CONSUMERS} consumers read {} MiB beside {PRODUCERS} producers of large batches; produce \
         p99 {before:?} idle, {during:?} under load; chosen by itself: {chosen}",
        LIMIT_BYTES >> 20,
        cgroup.peak() >> 20,
        resident >> 20,
        consumed >> 20,
    );
    // Recovery has to do with as little.
    let enter = running.launch.before.clone();
    running.broker.end(millrace_tests::process::Signal::Kill)?;
    running.launch.before = enter;
    running.reborn()?;
    running
        .progress("an acknowledgement after a kill, within the limit")
        .await?;
    let killed = cgroup.killed()?;
    if killed > 0 {
        return Err(format!("{killed} killed in recovery"));
    }
    let end = running.close().await?;
    drop(cgroup);
    Ok(format!("{said}; {end}"))
}

/// `batches` large ones by each of the producers.
async fn produce(running: &Running<'_>, topic: &Topic, batches: usize) -> Result<(), String> {
    let host = running.stage.host.clone();
    let mut tasks = Vec::new();
    for number in 0..PRODUCERS {
        let client = connect(running).await?;
        let host = host.clone();
        let producing = Producing {
            token: format!("large {number} {:?}", host.clock.now().mono),
            topic: topic.clone(),
            partitions: (0..topic.partitions).collect(),
            sizes: vec![BATCH_BYTES],
            batches,
            in_flight: 3,
        };
        tasks.push(async move {
            let took = producing.run(&host, &client).await;
            took.map_err(|error| format!("a large produce: {error}"))
        });
    }
    together(&host, tasks).await.map(drop)
}

/// Large produces beside the probe; the probe's p99.
async fn load(running: &Running<'_>, topic: &Topic, probe: &Topic) -> Result<Duration, String> {
    let (batches, probes) = if running.stage.smoke {
        (20, 100)
    } else {
        (80, 150)
    };
    let producing = produce(running, topic, batches);
    let probing = async {
        let took = running.probe(probe, 0, probes).await;
        took.map_err(|error| format!("the probe: {error}"))
    };
    let (produced, took) = tokio::join!(producing, probing);
    produced?;
    Ok(percentile(&took?, 0.99))
}

async fn connect(running: &Running<'_>) -> Result<Client, String> {
    let options = patient(Duration::from_mins(1));
    let client = Client::connect(&running.stage.host, running.broker.address(), options).await;
    client.map_err(|error| error.to_string())
}

/// Consumers that begin again at the front whenever they are through; each gives its bytes.
async fn consumers(
    running: &Running<'_>,
    topic: &Topic,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<impl Future<Output = Result<u64, String>> + Send + use<>>, String> {
    let mut consumers = Vec::new();
    for number in 0..CONSUMERS {
        let client = connect(running).await?;
        let (topic, stop) = (topic.clone(), Arc::clone(stop));
        let host = running.stage.host.clone();
        consumers.push(async move { consume(&host, &client, &topic, number, &stop).await });
    }
    Ok(consumers)
}

async fn consume(
    host: &Host,
    client: &Client,
    topic: &Topic,
    number: usize,
    stop: &AtomicBool,
) -> Result<u64, String> {
    let options = FetchOptions {
        // Far more than the limit for all of them together.
        max_bytes: 16 << 20,
        partition_max_bytes: 4 << 20,
        ..FetchOptions::default()
    };
    let mut read = 0;
    let mut at: Vec<FetchFrom> = (0..topic.partitions)
        .map(|partition| FetchFrom {
            partition,
            offset: 0,
        })
        .collect();
    // They don't read the same at the same time.
    let turn = number % at.len().max(1);
    at.rotate_left(turn);
    while !stop.load(Ordering::Relaxed) {
        let fetched = client.fetch(topic, &at, &options).await;
        let fetched = fetched.map_err(|error| format!("a large fetch: {error}"))?;
        let mut any = false;
        for one in fetched {
            read += one.records.len() as u64;
            any |= !one.records.is_empty();
            let place = at.iter_mut().find(|from| from.partition == one.partition);
            if let Some(place) = place {
                // Batches of one record of nearly one size.
                place.offset += (one.records.len() / BATCH_BYTES) as i64;
            }
        }
        if !any {
            for from in &mut at {
                from.offset = 0;
            }
            host.clock
                .sleep_until(host.clock.now().mono + Duration::from_millis(5))
                .await;
        }
    }
    Ok(read)
}

/// What the process had in memory at most, its own and mapped files.
fn resident_peak(id: u32) -> Result<u64, String> {
    let status =
        fs::read_to_string(format!("/proc/{id}/status")).map_err(|error| error.to_string())?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| "no VmHWM".to_owned())
}
