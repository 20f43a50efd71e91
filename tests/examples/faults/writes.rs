//! Writes that find no room, take a part, take nothing, fail (F16, F18).

use std::process::Command;
use std::time::Duration;

use millrace_client::Error;
use millrace_tests::strace::Injector;

use crate::stage::{Running, Stage, plan};

/// Refused produces go on within this once there is room.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);

/// F18: every append finds the disk full.
pub(crate) async fn no_space(stage: &Stage) -> Result<String, String> {
    refused(stage, "pwritev:error=ENOSPC").await
}

/// F18: every append takes nothing, without an error.
pub(crate) async fn nothing(stage: &Stage) -> Result<String, String> {
    refused(stage, "pwritev:retval=0").await
}

/// While appends are answered so: produces are refused for now, reads and metadata work.
async fn refused(stage: &Stage, inject: &str) -> Result<String, String> {
    let mut running = Running::start(stage, stage.launch(), &plan(4)).await?;
    let segments = segments(stage)?;
    let injector = Injector::attach(running.broker.id(), &[inject], &segments)?;
    let said = while_refused(&mut running).await?;
    injector.detach(&stage.host).await?;
    let took = resumes(&mut running).await?;
    Ok(format!(
        "{said}, resumed after {took:?}; {}",
        running.close().await?
    ))
}

/// F18: an append is cut off by the kernel in its middle, and the next finds no room: a limit on the
/// size of files, since a tracer can't let a call write less.
pub(crate) async fn short(stage: &Stage) -> Result<String, String> {
    let launch = stage
        .launch()
        // Told by an error, not by a signal.
        .before(["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        // The journal stays below the limit.
        .set("log.journal.file.bytes.max=1048576");
    let mut plan = plan(1);
    plan.record_bytes = 2000;
    let mut running = Running::start(stage, launch, &plan).await?;
    let segment = stage.place.join("data/faults-0/00000000000000000000.log");
    let len = || std::fs::metadata(&segment).map_or(0, |file| file.len());
    let grown = async || (len() > 2 << 20).then_some(());
    let within = Duration::from_mins(1);
    stage.comes("a segment above 2 MiB", within, grown).await?;
    // In the middle of a batch, and not before the limit is there.
    let limit = len() + (1 << 20) + 777;
    let id = running.broker.id();
    limit_files(id, &limit.to_string())?;
    let met = async || (len() + 30_000 > limit).then_some(());
    stage.comes("a segment at the limit", within, met).await?;
    let said = while_refused(&mut running).await?;
    let cut = len();
    if cut >= limit || cut < 2 << 20 {
        return Err(format!(
            "{cut} bytes at a limit of {limit}: a part of a batch stayed"
        ));
    }
    // Now there is no room for a first byte either.
    limit_files(id, &(2 << 20).to_string())?;
    while_refused(&mut running).await?;
    limit_files(id, "unlimited")?;
    let took = resumes(&mut running).await?;
    Ok(format!(
        "{said}; cut back to {cut} bytes below the limit of {limit}, resumed after {took:?}; {}",
        running.close().await?
    ))
}

/// F16 of a write: the directory is gone for this process; the metadata's takes the process along.
pub(crate) async fn eio(stage: &Stage) -> Result<String, String> {
    let mut running = Running::start(stage, stage.launch(), &plan(4)).await?;
    let injector = Injector::attach(running.broker.id(), &["pwritev:error=EIO"], &[])?;
    let broker = &mut running.broker;
    let ended = async || broker.ended().ok().flatten();
    let within = Duration::from_secs(10);
    let (status, _) = stage.comes("the end of the process", within, ended).await?;
    drop(injector);
    let said = std::fs::read_to_string(stage.log()).unwrap_or_default();
    let last = said.lines().find(|line| line.starts_with("millrace: "));
    match (status.code(), last) {
        (Some(1), Some(last)) => Ok(format!("exit 1, `{last}`; {}", running.close().await?)),
        _ => Err(format!(
            "it must end with 1 and say why, not {status} with {last:?}"
        )),
    }
}

/// The segments of the workload's topic.
fn segments(stage: &Stage) -> Result<Vec<String>, String> {
    let mut segments = Vec::new();
    for partition in 0..4 {
        let directory = stage.place.join(format!("data/faults-{partition}"));
        let entries = std::fs::read_dir(&directory).map_err(|error| error.to_string())?;
        let paths = entries.flatten().map(|entry| entry.path());
        let logs = paths.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
        segments.extend(logs.map(|path| path.display().to_string()));
    }
    Ok(segments)
}

/// Nothing is acknowledged, a produce is refused for now, a fetch and metadata are answered.
async fn while_refused(running: &mut Running<'_>) -> Result<String, String> {
    let stage = running.stage;
    let topic = running.client().await?.topic("faults").await;
    let topic = topic.map_err(|error| format!("metadata must be answered: {error}"))?;
    stage.pause(Duration::from_millis(700)).await;
    let from = running.acknowledged();
    // Plain batches that are refused leave nothing behind that the check would meet.
    let refusal = match running.probe_with(&topic, 0, 1, 60_000).await {
        Err(error @ Error::Broker { .. }) if error.is_retriable() => error.to_string(),
        other => return Err(format!("a produce must be refused for now, not {other:?}")),
    };
    stage.pause(Duration::from_secs(1)).await;
    let meanwhile = running.acknowledged() - from;
    if meanwhile > 0 {
        return Err(format!("{meanwhile} records acknowledged meanwhile"));
    }
    let client = running.client().await?;
    let reader = millrace_client::PartitionReader::new(&client, &topic, 0).await;
    let batches = reader.map_err(|error| error.to_string())?.next().await;
    let batches = batches.map_err(|error| format!("a fetch must be served: {error}"))?;
    running.lives()?;
    running.workload.is_alive()?;
    if batches.is_empty() {
        return Err("a fetch brought nothing".to_owned());
    }
    Ok(format!("refused ({refusal}), fetches and metadata served"))
}

/// Acknowledgements come again within [`RESUMES_WITHIN`].
async fn resumes(running: &mut Running<'_>) -> Result<Duration, String> {
    let took = running
        .progress("an acknowledgement once there is room")
        .await?;
    if took > RESUMES_WITHIN {
        return Err(format!("resumed after {took:?} only"));
    }
    Ok(took)
}

/// `RLIMIT_FSIZE` of a running process; its hard limit stays.
fn limit_files(id: u32, bytes: &str) -> Result<(), String> {
    let set = Command::new("prlimit")
        .args(["--pid", &id.to_string(), &format!("--fsize={bytes}:")])
        .status();
    match set {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("prlimit cannot limit the size of files: {other:?}")),
    }
}
