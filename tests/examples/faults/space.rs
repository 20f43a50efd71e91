//! A file system that is full (F18): a tmpfs of a few dozen megabytes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use millrace_client::{Client, Error, NewTopic, PartitionReader};
use millrace_tests::load::{Producing, patient};

use crate::stage::{Running, Stage, delete_topic, plan};

const SIZE: &str = "size=128m";
/// Produces go on within this once a topic is deleted.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);

/// A mounted tmpfs, unmounted with this value.
struct Mounted(PathBuf);

impl Mounted {
    fn new(place: &Path) -> Result<Self, String> {
        let at = place.join("small");
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", SIZE, "tmpfs"])
            .arg(&at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(at)),
            Ok(output) => Err(format!(
                "this scenario mounts a tmpfs, which takes root (CAP_SYS_ADMIN): {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(error) => Err(format!("cannot run mount: {error}")),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !gone.is_ok_and(|status| status.success()) {
            eprintln!("faults: {} stays mounted", self.0.display());
        }
    }
}

/// F18: filled until produces are refused; reads, metadata and a start after `kill -9` work; a
/// deleted topic's room is used again.
pub(crate) async fn full(stage: &Stage) -> Result<String, String> {
    let mounted = Mounted::new(&stage.place)?;
    let mut launch = stage.launch();
    launch.directories = vec![mounted.0.join("data")];
    // A deleted topic's files stay for a minute by default, full or not.
    launch
        .settings
        .push("log.segment.delete.delay.ms=1000".to_owned());
    let mut running = Running::start(stage, launch, &plan(4)).await?;
    let ballast = running.topic("ballast", 2).await?;
    let (filled, refusal) = fill(&running, &ballast).await?;
    // The workload is refused too.
    stage.pause(Duration::from_secs(1)).await;
    let from = running.acknowledged();
    let probe = running.client().await?.topic("faults").await;
    let topic = probe.map_err(|error| format!("metadata must be answered: {error}"))?;
    served(&running, &topic).await?;
    stage.pause(Duration::from_secs(1)).await;
    let meanwhile = running.acknowledged() - from;
    running.workload.is_alive()?;
    // Killed while it is full, it starts, serves and refuses as before.
    running.broker.end(millrace_tests::process::Signal::Kill)?;
    running.reborn()?;
    served(&running, &topic).await?;
    let still = match running.probe(&ballast, 0, 1).await {
        Err(error) if error.is_retriable() => "refused again after a kill",
        Err(error) => return Err(format!("after the restart: {error}")),
        Ok(_) => "room again after a kill",
    };
    let made = running.client().await?;
    let made = made
        .create_topic(&NewTopic::new("made-while-full", 1))
        .await;
    let made = match made {
        Ok(_) => "a topic was made".to_owned(),
        Err(error) => format!("no topic could be made ({error})"),
    };
    let deleting = connect(&running).await?;
    delete_topic(&deleting, "ballast").await?;
    let took = match running
        .progress("an acknowledgement after the deletion")
        .await
    {
        Ok(took) => took,
        Err(reason) => {
            let mut why = Vec::new();
            for partition in 0..4 {
                let probed = running.probe(&topic, partition, 1).await;
                why.push(probed.err().map(|error| error.to_string()));
            }
            return Err(format!("{reason}: {still}, {made}; now {why:?}"));
        }
    };
    if took > RESUMES_WITHIN {
        return Err(format!("resumed {took:?} after the deletion only"));
    }
    Ok(format!(
        "full after {filled} batches of 100 KB ({refusal}), {meanwhile} acknowledged meanwhile, \
         fetches and metadata served, {still}, {made}, resumed {took:?} after the deletion of a \
         topic; {}",
        running.close().await?
    ))
}

/// Fills the topic until it is refused: how many batches that took, and the refusal.
async fn fill(
    running: &Running<'_>,
    topic: &millrace_client::Topic,
) -> Result<(usize, String), String> {
    let host = &running.stage.host;
    let client = running.client().await?;
    for nth in 0..10_000 {
        let producing = Producing {
            token: format!("ballast {nth}"),
            topic: topic.clone(),
            partitions: vec![nth % topic.partitions],
            sizes: vec![100_000],
            batches: 1,
            in_flight: 1,
        };
        match producing.run(host, &client).await {
            Ok(_) => {}
            Err(error @ Error::Broker { .. }) if error.is_retriable() => {
                return Ok((usize::try_from(nth).unwrap_or(0), error.to_string()));
            }
            Err(error) => return Err(format!("it must be refused for now, not: {error}")),
        }
    }
    Err("a small file system never gets full".to_owned())
}

/// A fetch brings something.
async fn served(running: &Running<'_>, topic: &millrace_client::Topic) -> Result<(), String> {
    let client = running.client().await?;
    let reader = PartitionReader::new(&client, topic, 0).await;
    let batches = reader.map_err(|error| error.to_string())?.next().await;
    match batches {
        Ok(batches) if !batches.is_empty() => Ok(()),
        other => Err(format!(
            "while full a fetch must be served: {:?}",
            other.err()
        )),
    }
}

/// A connection that waits longer than a probe's.
async fn connect(running: &Running<'_>) -> Result<Client, String> {
    let options = patient(Duration::from_secs(10));
    let host = &running.stage.host;
    let client = Client::connect(host, running.broker.address(), options).await;
    client.map_err(|error| error.to_string())
}
