//! Few descriptors (F29).

use std::process::Command;
use std::time::Duration;

use millrace_client::Client;
use millrace_tests::load::patient;

use crate::stage::{Running, Stage, plan};

/// What the broker may have open; it needs 128 at least.
const LIMIT: usize = 256;
/// Connections that are tried at once.
const CONNECTIONS: usize = 400;
/// Partitions of a topic, so that segments need descriptors too.
const PARTITIONS: i32 = 60;
/// Connections that are refused before it counts as shown.
const TRIES: usize = 10;
const RECOVERS_WITHIN: Duration = Duration::from_secs(5);

/// F29: more connections than there are descriptors: the surplus is refused, logs stay usable. Then
/// the limit falls below what is open: nothing new can be opened, and nothing goes offline.
pub(crate) async fn few(stage: &Stage) -> Result<String, String> {
    let limited = format!("ulimit -n {LIMIT} && exec \"$0\" \"$@\"");
    let launch = stage.launch().before(["sh", "-c", &limited]);
    let mut running = Running::start(stage, launch, &plan(4)).await?;
    let (kept, refused) = crowd(&running).await;
    if refused == 0 || kept.is_empty() {
        return Err(format!(
            "{} of {CONNECTIONS} connections served",
            kept.len()
        ));
    }
    running.progress("an acknowledgement in the crowd").await?;
    // Room for the probe's own connections.
    let served = kept.len();
    let kept: Vec<Client> = kept.into_iter().skip(8).collect();
    let made = async || running.topic("many", PARTITIONS).await.ok();
    let (many, _) = stage
        .comes("a topic in the crowd", RECOVERS_WITHIN, made)
        .await?;
    write_all(&running, &many).await?;
    drop(kept);
    let connects = async || running.client().await.ok();
    let (_, took) = stage
        .comes("a connection again", RECOVERS_WITHIN, connects)
        .await?;
    let starved = starve(&mut running).await?;
    write_all(&running, &many).await?;
    let said = std::fs::read_to_string(stage.log()).unwrap_or_default();
    if let Some(offline) = said.lines().find(|line| line.contains("offline")) {
        return Err(format!("a directory went offline: {offline}"));
    }
    Ok(format!(
        "of {CONNECTIONS} connections {served} served and {refused} refused with {LIMIT} \
         descriptors; {PARTITIONS} partitions written meanwhile; a connection again {took:?} after \
         the crowd left; {starved}; {}",
        running.close().await?
    ))
}

/// Connections that are served, and how many were not.
async fn crowd(running: &Running<'_>) -> (Vec<Client>, usize) {
    let (mut kept, mut refused) = (Vec::new(), 0);
    for _ in 0..CONNECTIONS {
        match connect(running).await {
            Some(client) => kept.push(client),
            None => refused += 1,
        }
        if refused >= TRIES {
            break;
        }
    }
    (kept, refused)
}

/// A connection that is served: one that is, is told versions at once.
async fn connect(running: &Running<'_>) -> Option<Client> {
    let options = patient(Duration::from_millis(300));
    let host = &running.stage.host;
    let client = Client::connect(host, running.broker.address(), options).await;
    client.ok()
}

/// A batch for each partition, within a few tries: a descriptor may have to come free first.
async fn write_all(running: &Running<'_>, topic: &millrace_client::Topic) -> Result<(), String> {
    for partition in 0..topic.partitions {
        let written = async || running.probe(topic, partition, 1).await.ok();
        let what = format!("a write to partition {partition}");
        running.stage.comes(&what, RECOVERS_WITHIN, written).await?;
    }
    Ok(())
}

/// The limit falls to what is open: for a few seconds nothing can be opened. (A sync of names waits
/// ten seconds for a descriptor; behind that its directory is offline.)
async fn starve(running: &mut Running<'_>) -> Result<String, String> {
    let id = running.broker.id();
    // What the crowd left behind is closed by then.
    running.stage.pause(Duration::from_millis(500)).await;
    let fds = format!("/proc/{id}/fd");
    let fds = std::fs::read_dir(fds).map_err(|error| error.to_string())?;
    let open: Vec<String> = fds
        .flatten()
        .map(|fd| fd.file_name().to_string_lossy().into_owned())
        .collect();
    // The limit is one of numbers, and the lowest free one is given out next.
    let limit = (0..=open.len())
        .find(|number| !open.contains(&number.to_string()))
        .unwrap_or(open.len());
    limit_descriptors(id, &limit.to_string())?;
    let mut refused = 0;
    for _ in 0..TRIES {
        refused += usize::from(connect(running).await.is_none());
    }
    running.lives()?;
    running.workload.is_alive()?;
    if refused == 0 {
        return Err("connections were served without a descriptor".to_owned());
    }
    limit_descriptors(id, &LIMIT.to_string())?;
    let connects = async || running.client().await.ok();
    let stage = running.stage;
    let (_, took) = stage
        .comes("a connection after the famine", RECOVERS_WITHIN, connects)
        .await?;
    running
        .progress("an acknowledgement after the famine")
        .await?;
    Ok(format!(
        "with no descriptor left ({} open) {refused} of {TRIES} connections refused, one served {took:?} \
         after it",
        open.len()
    ))
}

/// `RLIMIT_NOFILE` of a running process; its hard limit stays.
fn limit_descriptors(id: u32, count: &str) -> Result<(), String> {
    let set = Command::new("prlimit")
        .args(["--pid", &id.to_string(), &format!("--nofile={count}:")])
        .status();
    match set {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("prlimit cannot limit descriptors: {other:?}")),
    }
}
