//! Files on a simulated disk: putting them there and taking them off again.
//!
//! What always holds: what was put is durable, as if it had lain there since before the boot.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::{Disk, EntryKind, OpenMode};
use millrace_sim::{DiskLimits, SimOptions};

/// Files by path; directories are those that the paths name.
pub type Files = Vec<(PathBuf, Bytes)>;

/// A simulation in which nothing takes time and everything read is resident.
pub fn still() -> SimOptions {
    SimOptions {
        disk: DiskLimits {
            sync_us: (0, 0),
            sync_dir_us: (0, 0),
            read_us: (0, 0),
            name_us: (0, 0),
            cold_per_mille: 0,
            ..DiskLimits::default()
        },
        ..SimOptions::default()
    }
}

/// The same, but half of what is read isn't resident, and every call that may take time takes some.
pub fn cold() -> SimOptions {
    SimOptions {
        disk: DiskLimits {
            sync_us: (1, 9),
            sync_dir_us: (1, 9),
            read_us: (1, 9),
            name_us: (1, 9),
            cold_per_mille: 500,
            ..DiskLimits::default()
        },
        ..SimOptions::default()
    }
}

/// Writes one file, and the directories above it where they are missing.
pub async fn put(disk: &Arc<dyn Disk>, path: &Path, content: &[u8]) {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    for dir in &above {
        // Most are there already.
        let _there = disk.create_dir(dir);
    }
    let file = disk
        .open(path, OpenMode::Create)
        .expect("the simulated disk makes files");
    // The zeros at the end of a file that is mostly room take no pages.
    let used = content.iter().rposition(|byte| *byte != 0);
    let used = &content[..used.map_or(0, |last| last + 1)];
    let taken = file.write_vectored_at(&[IoSlice::new(used)], 0);
    assert_eq!(taken.ok(), Some(used.len()), "the disk has room");
    file.set_len(content.len() as u64)
        .expect("the disk has room");
    file.sync().await.expect("the simulated disk has no faults");
    for dir in above {
        disk.sync_dir(dir)
            .await
            .expect("the simulated disk has no faults");
    }
}

/// Every file below `root`.
pub async fn take(disk: &Arc<dyn Disk>, root: &Path) -> Files {
    let (mut files, mut dirs) = (Files::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        let entries = disk.list(&dir).await.expect("a directory can be listed");
        for entry in entries {
            let path = dir.join(&entry.name);
            if entry.kind == EntryKind::Dir {
                dirs.push(path);
                continue;
            }
            let file = disk.open(&path, OpenMode::Read).expect("it was listed");
            let bytes = file.read_at(0, entry.len as usize).await;
            files.push((path, bytes.expect("the simulated disk has no faults")));
        }
    }
    files.sort();
    files
}
