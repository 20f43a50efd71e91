//! The log directories: whose they are, on what, how much room there is, and how long a sync takes.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_config::BrokerConfig;
use millrace_host::real;
use millrace_host::{Disk, Host, OpenMode, Space};
use millrace_log::check::{self, Owner};

use super::findings::Findings;

/// The file that syncs are timed with; removed again.
const PROBE: &str = ".millrace-doctor";

/// Writes that are timed, of a commit's least size.
const SYNCS: usize = 100;
const SYNC_BYTES: usize = 4096;

/// The longest that timing takes.
const TIMING_MAX: Duration = Duration::from_secs(5);

/// A median above this is felt by every `acks=all` producer.
const SYNC_SLOW: Duration = Duration::from_millis(10);

/// No disk without a battery behind its cache is as quick as this.
const SYNC_TOO_QUICK: Duration = Duration::from_micros(15);

/// Less room than this is soon gone.
const ROOM_MIN: u64 = 1 << 30;

/// File systems that don't survive the machine.
const VOLATILE: [&str; 2] = ["tmpfs", "ramfs"];

/// File systems whose syncs and locks are somebody else's word.
const REMOTE: [&str; 8] = [
    "nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "overlay", "vboxsf",
];

pub(super) async fn look(host: &Host, config: &BrokerConfig, findings: &mut Findings) {
    let mut by_device: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for dir in &config.log.dirs {
        let Some(place) = existing(host, dir, findings).await else {
            continue;
        };
        if place == *dir {
            owner(host, config, dir, findings).await;
        }
        match real::mounted(&place) {
            Ok(mounted) => {
                file_system(dir, &mounted.kind, findings);
                by_device.entry(mounted.device).or_default().push(dir);
            }
            Err(error) => findings.warn(format!("{}: {error}", dir.display())),
        }
        match host.disk.space(&place) {
            Ok(space) => room(dir, space, findings),
            Err(error) => findings.bad(format!("{}: its room is unknown: {error}", dir.display())),
        }
        syncs(host, dir, &place, findings).await;
    }
    for dirs in by_device.into_values().filter(|dirs| dirs.len() > 1) {
        let names: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        findings.warn(format!(
            "{} are on one file system: they fill and fail together",
            names.join(", ")
        ));
    }
}

/// The directory, or its parent where a start would make it.
async fn existing(host: &Host, dir: &Path, findings: &mut Findings) -> Option<PathBuf> {
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => dir,
    };
    for place in [dir, parent] {
        match host.disk.list(place).await {
            Ok(_) if place == dir => return Some(dir.to_owned()),
            Ok(_) => {
                findings.good(format!("{} will be made", dir.display()));
                return Some(parent.to_owned());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                findings.bad(format!("{} can't be read: {error}", place.display()));
                return None;
            }
        }
    }
    findings.bad(format!(
        "{} doesn't exist, nor does the directory above it: make that, or mount its disk",
        dir.display()
    ));
    None
}

async fn owner(host: &Host, config: &BrokerConfig, dir: &Path, findings: &mut Findings) {
    let shown = dir.display();
    match check::owner(host, dir).await {
        Ok(None) => findings.good(format!("{shown} is empty; the first start formats it")),
        Ok(Some(Owner { node_id, .. })) if node_id != config.node.id => findings.bad(format!(
            "{shown} is of node {node_id}, and this configuration is of node {}: see node.id",
            config.node.id
        )),
        Ok(Some(Owner {
            cluster_id, in_use, ..
        })) => {
            let running = if in_use {
                ", and a broker has it open"
            } else {
                ""
            };
            findings.good(format!("{shown} is of cluster {cluster_id}{running}"));
        }
        Err(error) => findings.bad(error.to_string()),
    }
}

fn file_system(dir: &Path, kind: &str, findings: &mut Findings) {
    let shown = dir.display();
    if VOLATILE.contains(&kind) {
        findings.bad(format!(
            "{shown} is on {kind}, which is memory: nothing in it survives the machine"
        ));
    } else if REMOTE.contains(&kind.split('.').next().unwrap_or(kind)) {
        findings.warn(format!(
            "{shown} is on {kind}: whether a sync means anything there is somebody else's word; \
             ext4 or XFS on a local disk is what is tested"
        ));
    } else {
        findings.good(format!("{shown} is on {kind}"));
    }
}

fn room(dir: &Path, space: Space, findings: &mut Findings) {
    let (shown, free) = (dir.display(), space.available);
    let percent = u128::from(free) * 100 / u128::from(space.total.max(1));
    let text = format!("{shown} has {} MiB free, {percent} %", free >> 20);
    if free < ROOM_MIN || percent < 5 {
        findings.warn(format!(
            "{text}: a full disk refuses produces until there is room"
        ));
    } else {
        findings.good(text);
    }
}

async fn syncs(host: &Host, dir: &Path, place: &Path, findings: &mut Findings) {
    let shown = dir.display();
    let mut taken = match time_syncs(host, place).await {
        Ok(taken) => taken,
        Err(error) => {
            findings.bad(format!(
                "{} can't be written and synced: {error}",
                place.display()
            ));
            return;
        }
    };
    taken.sort_unstable();
    let (Some(&median), Some(&worst)) = (taken.get(taken.len() / 2), taken.last()) else {
        return;
    };
    let text = format!(
        "{shown}: a sync of 4 KiB takes {:.2} ms (median of {}, worst {:.2})",
        median.as_secs_f64() * 1e3,
        taken.len(),
        worst.as_secs_f64() * 1e3
    );
    if median > SYNC_SLOW {
        findings.warn(format!("{text}: every acks=all produce waits for one"));
    } else if median < SYNC_TOO_QUICK {
        findings.warn(format!(
            "{text}: so quick that it can't have reached a disk; a power cut may take what was \
             acknowledged"
        ));
    } else {
        findings.good(text);
    }
}

/// Writes and syncs a file of its own, again and again.
async fn time_syncs(host: &Host, place: &Path) -> io::Result<Vec<Duration>> {
    let path = place.join(PROBE);
    let disk: &dyn Disk = host.disk.as_ref();
    let file = disk.open(&path, OpenMode::Create)?;
    let timed = async {
        let block = [0x5a; SYNC_BYTES];
        let begun = host.clock.now().mono;
        let mut taken = Vec::with_capacity(SYNCS);
        for index in 0..SYNCS {
            let start = host.clock.now().mono;
            // As the journal does it: the same blocks again and again, behind the first round.
            let at = (index % 16 * SYNC_BYTES) as u64;
            file.write_vectored_at(&[IoSlice::new(&block)], at)?;
            file.sync().await?;
            let end = host.clock.now().mono;
            taken.push(end.since(start));
            if end.since(begun) > TIMING_MAX {
                break;
            }
        }
        Ok(taken)
    };
    let taken = timed.await;
    disk.remove(&path).await?;
    taken
}
