//! Syncs that are slow, that hang, that fail (F14, F15, F16, F28).

use std::time::Duration;

use millrace_client::{Error, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_tests::load::percentile;
use millrace_tests::strace::{Injector, watching};
use millrace_tests::trace::prove;

use crate::stage::{Running, Stage, plan};

/// How long a sync may hang; a probe's request waits longer.
const SYNC_LIMIT: &str = "log.sync.timeout.ms=1500";
/// Of a topic in two directories.
const PARTITIONS: i32 = 4;

/// F14: each sync takes 300 ms longer. Slower, nothing lost, and as fast as before afterwards.
pub(crate) async fn slow(stage: &Stage) -> Result<String, String> {
    let mut running = Running::start(stage, stage.launch(), &plan(4)).await?;
    let topic = running.topic("probe", 1).await?;
    let words = |error: Error| error.to_string();
    let before = percentile(&running.probe(&topic, 0, 50).await.map_err(words)?, 0.99);
    let inject = ["fdatasync:delay_exit=300000", "fsync:delay_exit=300000"];
    let injector = Injector::attach(running.broker.id(), &inject, &[])?;
    let from = running.acknowledged();
    let during = percentile(&running.probe(&topic, 0, 5).await.map_err(words)?, 0.5);
    stage
        .pause(Duration::from_secs(if stage.smoke { 1 } else { 5 }))
        .await;
    let meanwhile = running.acknowledged() - from;
    injector.detach(&stage.host).await?;
    if meanwhile == 0 || during < Duration::from_millis(300) {
        return Err(format!(
            "{meanwhile} acknowledged at {during:?}: not slow, or no progress"
        ));
    }
    let limit = (before * 2).max(Duration::from_millis(50));
    let probe = async || {
        let took = running.probe(&topic, 0, 50).await.ok()?;
        let after = percentile(&took, 0.99);
        (after <= limit).then_some(after)
    };
    let within = Duration::from_secs(10);
    let (after, took) = stage.comes("the p99 of before", within, probe).await?;
    running.lives()?;
    Ok(format!(
        "p99 {before:?}, with 300 ms on each sync p50 {during:?} and {meanwhile} records \
         acknowledged meanwhile, afterwards p99 {after:?} ({took:?} later); {}",
        running.close().await?
    ))
}

/// F15, F28: syncs of one directory of two never return. Within the limit its partitions are refused,
/// and stay so when the syncs return after all; the others are served. Then those of the metadata's
/// directory hang: the process ends with 1 and says why.
pub(crate) async fn hung(stage: &Stage) -> Result<String, String> {
    let mut two = TwoDirectories::start(stage, &[SYNC_LIMIT]).await?;
    let hang = [
        "fdatasync:delay_exit=600000000",
        "fsync:delay_exit=600000000",
    ];
    let injector = Injector::attach(two.running.broker.id(), &hang, &two.files)?;
    let since = stage.host.clock.now().mono;
    // Partitions of the other directory are served all the while, until this one is refused.
    let (hanging, beside) = tokio::join!(two.refusal(), two.served_beside());
    let (refused, served) = (hanging?, beside?);
    let took = stage.host.clock.now().mono.since(since);
    injector.detach(&stage.host).await?;
    two.only_the_second_is_refused().await?;
    let said = std::fs::read_to_string(stage.log()).unwrap_or_default();
    let line = said.lines().find(|line| line.contains("a sync hangs"));
    let line = line.ok_or("it must say what hangs")?;
    if !line.contains("/second") {
        return Err(format!("it must say where the sync hangs: {line}"));
    }
    let injector = Injector::attach(two.running.broker.id(), &hang, &[])?;
    let failed = async || {
        let said = std::fs::read_to_string(stage.log()).unwrap_or_default();
        said.contains("which holds the cluster's metadata, failed")
            .then_some(())
    };
    let within = Duration::from_secs(10);
    let end = stage.comes("the end of a node without metadata", within, failed);
    // The workload may be waiting for what is lost.
    let (_, end) = tokio::join!(two.served_beside(), end);
    let ((), ends) = end?;
    let mut running = two.running;
    // Its end is seen once the tracer has let go.
    drop(injector);
    let broker = &mut running.broker;
    let ended = async || broker.ended().ok().flatten();
    let (status, _) = stage.comes("the end of the process", within, ended).await?;
    if status.code() != Some(1) {
        return Err(format!("it must end with 1, not {status}"));
    }
    Ok(format!(
        "with {SYNC_LIMIT} refused ({refused}) after {took:?} of hanging syncs, {served} batches \
         served beside, and refused when the syncs had returned; exit 1 {ends:?} after those of the \
         metadata hung; {}",
        running.close().await?
    ))
}

/// F16: a sync of the metadata's directory fails at some moment under load. The process ends with 1
/// and says why; in the trace nothing is acknowledged by what the failure spoilt, nor by anything that
/// ended once the broker had said that the directory is offline.
pub(crate) async fn eio(stage: &Stage) -> Result<String, String> {
    let trace = stage.place.join("trace");
    // Counted by each thread for itself: somewhere in the first second.
    let launch = watching(stage.launch(), &trace, &["fdatasync:error=EIO:when=40"]);
    let mut running = Running::start(stage, launch, &plan(4)).await?;
    let id = running.broker.id();
    let broker = &mut running.broker;
    let ended = async || broker.ended().ok().flatten();
    let within = Duration::from_secs(20);
    let (status, _) = stage.comes("the end of the process", within, ended).await?;
    let said = std::fs::read_to_string(stage.log()).unwrap_or_default();
    let last = said.lines().find(|line| line.starts_with("millrace: "));
    if status.code() != Some(1) {
        return Err(format!("it must end with 1, not {status}"));
    }
    let last = last.ok_or("it must say why it ends")?.to_owned();
    let whole = async || {
        let trace = std::fs::read_to_string(&trace).ok()?;
        let end = trace.lines().next_back()?;
        (end.starts_with(&format!("{id} ")) && end.contains("+++ exited")).then_some(trace)
    };
    let (trace, _) = stage.comes("the end of the trace", within, whole).await?;
    let proof = prove(&trace).map_err(|error| error.to_string())?;
    if proof.failed_syncs == 0 || proof.proven.is_empty() {
        return Err("no sync failed, or nothing was acknowledged before".to_owned());
    }
    if let Some(first) = proof.unproven.first() {
        return Err(format!("acknowledged after a failed sync: {first}"));
    }
    Ok(format!(
        "{} failed syncs, exit 1, `{last}`; {} batches acknowledged, each by a sync before the \
         failure; {}",
        proof.failed_syncs,
        proof.proven.len(),
        running.close().await?
    ))
}

/// F16, F28: a sync of one directory of two fails, not the metadata's. Its partitions are refused
/// for as long as the process lives, also when syncs would succeed again; the others are served.
pub(crate) async fn eio_of_one(stage: &Stage) -> Result<String, String> {
    let mut two = TwoDirectories::start(stage, &[]).await?;
    let inject = ["fdatasync:error=EIO"];
    let injector = Injector::attach(two.running.broker.id(), &inject, &two.files)?;
    let within = Duration::from_secs(10);
    let refused = async || two.is_refused(two.inside[0]).await.then_some(());
    stage.comes("error 56", within, refused).await?;
    injector.detach(&stage.host).await?;
    two.only_the_second_is_refused().await?;
    Ok(format!(
        "partitions {:?} refused with error 56 for the rest of the process's life, the others \
         served; {}",
        two.inside,
        two.running.close().await?
    ))
}

/// A broker on two directories, the metadata in the first, with a topic that is in both.
struct TwoDirectories<'a> {
    running: Running<'a>,
    topic: Topic,
    /// Partitions of the topic in the second.
    inside: Vec<i32>,
    /// Journal and ledger of the second.
    files: Vec<String>,
}

impl<'a> TwoDirectories<'a> {
    async fn start(stage: &'a Stage, settings: &[&str]) -> Result<Self, String> {
        let mut launch = stage.launch();
        let second = stage.place.join("second");
        launch.directories.push(second.clone());
        let settings = settings.iter().map(|setting| (*setting).to_owned());
        launch.settings.extend(settings);
        let running = Running::start(stage, launch, &plan(4)).await?;
        let topic = running.topic("probe", PARTITIONS).await?;
        for partition in 0..PARTITIONS {
            let probed = running.probe(&topic, partition, 3).await;
            probed.map_err(|error| error.to_string())?;
        }
        let (mut inside, mut files) = (Vec::new(), Vec::new());
        let entries = std::fs::read_dir(&second).map_err(|error| error.to_string())?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("journal.") || name.starts_with("ledger.") {
                files.push(entry.path().display().to_string());
            }
            let number = name.strip_prefix("probe-");
            inside.extend(number.and_then(|number| number.parse::<i32>().ok()));
        }
        if inside.is_empty() || inside.len() == PARTITIONS as usize {
            return Err(format!(
                "partitions {inside:?} of {PARTITIONS} are in the second directory"
            ));
        }
        Ok(Self {
            running,
            topic,
            inside,
            files,
        })
    }

    /// Whether a produce is answered with error 56.
    async fn is_refused(&self, partition: i32) -> bool {
        let probed = self.running.probe(&self.topic, partition, 1).await;
        matches!(
            probed,
            Err(Error::Broker {
                code: ErrorCode::KafkaStorageError,
                ..
            })
        )
    }

    /// The answer to a produce to the second directory, which is no acknowledgement.
    async fn refusal(&self) -> Result<String, String> {
        let probed = self.running.probe(&self.topic, self.inside[0], 1).await;
        match probed {
            Err(error @ Error::Broker { .. }) if error.is_retriable() => Ok(error.to_string()),
            other => Err(format!("a produce must be refused for now, not {other:?}")),
        }
    }

    /// Batches that partitions of the first directory take one after the other.
    async fn served_beside(&self) -> Result<usize, String> {
        let outside = (0..PARTITIONS).find(|partition| !self.inside.contains(partition));
        let probed = self.running.probe(&self.topic, outside.unwrap_or(0), 100);
        let probed = probed.await.map_err(|error| error.to_string())?;
        Ok(probed.len())
    }

    /// Again and again, with nothing in the way any more.
    async fn only_the_second_is_refused(&mut self) -> Result<(), String> {
        for _ in 0..20 {
            for partition in 0..PARTITIONS {
                let refused = self.is_refused(partition).await;
                if refused != self.inside.contains(&partition) {
                    return Err(format!(
                        "partition {partition}: refused {refused}, in the second directory {:?}",
                        self.inside
                    ));
                }
            }
            self.running.stage.pause(Duration::from_millis(50)).await;
        }
        self.running.lives()
    }
}
