//! Syncs that are slow, that hang, that fail (F14, F15, F16, F28).

use std::time::Duration;

use millrace_protocol::error_code::ErrorCode;
use millrace_tests::load::percentile;
use millrace_tests::process::Signal;
use millrace_tests::strace::{Injector, watching};
use millrace_tests::trace::prove;

use crate::stage::{Running, Stage, plan};

/// F14: each sync takes 300 ms longer. Slower, nothing lost, and as fast as before afterwards.
pub(crate) async fn slow(stage: &Stage) -> Result<String, String> {
    let mut running = Running::start(stage, stage.launch(), &plan(4)).await?;
    let topic = running.topic("probe", 1).await?;
    let words = |error: millrace_client::Error| error.to_string();
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

/// F15: a sync never returns. Nothing is acknowledged, metadata are answered; there is no watchdog.
pub(crate) async fn hung(stage: &Stage) -> Result<String, String> {
    let mut running = Running::start(stage, stage.launch(), &plan(4)).await?;
    let injector = Injector::attach(
        running.broker.id(),
        &["fdatasync:delay_exit=600000000"],
        &[],
    )?;
    // What had its sync behind it may still be answered.
    stage.pause(Duration::from_millis(500)).await;
    let from = running.acknowledged();
    stage
        .pause(Duration::from_secs(if stage.smoke { 2 } else { 6 }))
        .await;
    let meanwhile = running.acknowledged() - from;
    running.lives()?;
    let topic = running.client().await?.topic("faults").await;
    let topic = topic.map_err(|error| format!("metadata must be answered: {error}"))?;
    if meanwhile > 0 {
        return Err(format!(
            "{meanwhile} records acknowledged without a sync that returned"
        ));
    }
    // Its end is seen once the tracer has let go.
    running.broker.send(Signal::Kill)?;
    drop(injector);
    Ok(format!(
        "nothing acknowledged while syncs hang, metadata answered ({} partitions), no watchdog; {}",
        topic.partitions,
        running.close().await?
    ))
}

/// F16: a sync of the metadata's directory fails at some moment under load. The process ends with 1
/// and says why; in the trace nothing is acknowledged behind the failure.
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
    let mut launch = stage.launch();
    let second = stage.place.join("second");
    launch.directories.push(second.clone());
    let mut running = Running::start(stage, launch, &plan(4)).await?;
    let topic = running.topic("probe", 4).await?;
    for partition in 0..4 {
        let probed = running.probe(&topic, partition, 3).await;
        probed.map_err(|error| error.to_string())?;
    }
    let mut inside = Vec::new();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&second)
        .map_err(|error| error.to_string())?
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("journal.") || name.starts_with("ledger.") {
            files.push(entry.path().display().to_string());
        }
        let partition: Option<i32> = name
            .strip_prefix("probe-")
            .and_then(|number| number.parse().ok());
        inside.extend(partition);
    }
    if inside.is_empty() || inside.len() == 4 {
        return Err(format!(
            "partitions {inside:?} of 4 are in the second directory"
        ));
    }
    let inject = ["fdatasync:error=EIO"];
    let injector = Injector::attach(running.broker.id(), &inject, &files)?;
    let is_refused = async |running: &Running<'_>, partition| match running
        .probe(&topic, partition, 1)
        .await
    {
        Err(millrace_client::Error::Broker { code, .. }) => code == ErrorCode::KafkaStorageError,
        _ => false,
    };
    let refused = async || is_refused(&running, inside[0]).await.then_some(());
    let within = Duration::from_secs(10);
    stage.comes("error 56", within, refused).await?;
    injector.detach(&stage.host).await?;
    for _ in 0..20 {
        for partition in 0..4 {
            let refused = is_refused(&running, partition).await;
            if refused != inside.contains(&partition) {
                return Err(format!(
                    "partition {partition}: refused {refused}, in the failed directory {inside:?}"
                ));
            }
        }
        stage.pause(Duration::from_millis(50)).await;
    }
    running.lives()?;
    Ok(format!(
        "partitions {inside:?} refused with error 56 for the rest of the process's life, the others \
         served; {}",
        running.close().await?
    ))
}
