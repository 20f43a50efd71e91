//! Few descriptors (F29).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use millrace_client::Client;
use millrace_tests::load::patient;

use crate::stage::{Running, Stage, delete_topic, plan};

/// What the broker may have open; it needs 128 at least.
const LIMIT: usize = 256;
/// Connections that are tried at once.
const CONNECTIONS: usize = 400;
/// Partitions of a topic, so that segments need descriptors too.
const PARTITIONS: i32 = 60;
/// Connections that are refused before it counts as shown.
const TRIES: usize = 10;
/// Partitions of the topic that is deleted without a descriptor.
const DOOMED: i32 = 8;
/// How long there is none.
const FAMINE: Duration = Duration::from_secs(15);
const SHORT_FAMINE: Duration = Duration::from_secs(1);
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

/// The limit falls to what is open: nothing can be opened. What needs no file goes on: the workload,
/// and of a topic's deletion the syncs of its directories, which come before it looks whose they are.
async fn starve(running: &mut Running<'_>) -> Result<String, String> {
    let stage = running.stage;
    let doomed = running.topic("doomed", DOOMED).await?;
    write_all(running, &doomed).await?;
    let before = running.client().await?;
    let id = running.broker.id();
    // What the crowd left behind is closed by then.
    stage.pause(Duration::from_millis(500)).await;
    let limit = lowest_free(id)?;
    limit_descriptors(id, &limit.to_string())?;
    let mut refused = 0;
    for _ in 0..TRIES {
        refused += usize::from(connect(running).await.is_none());
    }
    delete_topic(&before, &doomed.name).await?;
    let long = if stage.smoke { SHORT_FAMINE } else { FAMINE };
    stage.pause(long).await;
    let progress = running.progress("an acknowledgement in the famine");
    progress.await?;
    running.lives()?;
    if refused < TRIES {
        return Err(format!(
            "{} of {TRIES} connections were served without a descriptor",
            TRIES - refused
        ));
    }
    limit_descriptors(id, &LIMIT.to_string())?;
    let connects = async || running.client().await.ok();
    let what = "a connection after the famine";
    let (_, took) = stage.comes(what, RECOVERS_WITHIN, connects).await?;
    running
        .progress("an acknowledgement after the famine")
        .await?;
    let data = stage.place.join("data");
    let renamed = async || {
        doomed_names(&data)
            .is_ok_and(|left| left == 0)
            .then_some(())
    };
    let what = "the end of a deleted topic's names";
    stage.comes(what, RECOVERS_WITHIN, renamed).await?;
    Ok(format!(
        "for {long:?} no number below {limit} left: {TRIES} of {TRIES} connections refused, \
         acknowledgements went on, directories of {DOOMED} partitions were synced to be deleted; a \
         connection {took:?} after"
    ))
}

/// The lowest number that no descriptor of the process has, and so the next to be given out.
fn lowest_free(id: u32) -> Result<usize, String> {
    let fds = std::fs::read_dir(format!("/proc/{id}/fd")).map_err(|error| error.to_string())?;
    let open: Vec<String> = fds
        .flatten()
        .map(|fd| fd.file_name().to_string_lossy().into_owned())
        .collect();
    let free = (0..=open.len()).find(|number| !open.contains(&number.to_string()));
    Ok(free.unwrap_or(open.len()))
}

/// How many directories of the doomed topic have their name still.
fn doomed_names(data: &Path) -> Result<usize, String> {
    let entries = std::fs::read_dir(data).map_err(|error| error.to_string())?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let named = names.filter(|name| {
        let number = name.strip_prefix("doomed-");
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    });
    Ok(named.count())
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
