//! The histories of a node that are cut off everywhere.

use std::path::Path;
use std::time::Duration;

use millrace_images::Wrong;

use super::node::Setup;
use super::stage::{Stage, copy_for_later, make_mount_point, record, snapshots};
use super::{History, METADATA, SECOND};

/// No snapshot in such short histories.
const ONE: Setup = Setup {
    two: false,
    snapshot_bytes: 1 << 30,
};
/// Snapshots after a few topics.
const EAGER: Setup = Setup {
    snapshot_bytes: 700,
    ..ONE
};
const TWO: Setup = Setup { two: true, ..ONE };
const TWO_EAGER: Setup = Setup { two: true, ..EAGER };

/// Files of segments stay for a minute.
const DELETED: Duration = Duration::from_secs(70);

macro_rules! histories {
    ($($name:ident: $setup:ident, $copied:ident;)*) => {
        [$(History {
            name: stringify!($name),
            setup: $setup,
            copied: $copied,
            play: |setup, plant| record(setup, plant, $name),
        },)*]
    };
}

/// All of them.
pub const HISTORIES: [History; 12] = histories![
    first_start: ONE, SECOND;
    terms: ONE, SECOND;
    snapshots_taken: EAGER, SECOND;
    log_cut_behind_snapshots: EAGER, SECOND;
    newest_snapshot_rots: EAGER, SECOND;
    topics_removed: EAGER, SECOND;
    promise_sync_fails: ONE, SECOND;
    metadata_sync_fails: ONE, SECOND;
    snapshot_sync_fails: EAGER, SECOND;
    two_directories: TWO, SECOND;
    old_copy_of_second: TWO_EAGER, SECOND;
    old_copy_of_metadata: TWO, METADATA;
];

async fn first_start(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.node()?.create("x", 2).await?;
    stage.produce("x", 1).await?;
    stage.idle().await;
    Ok(())
}

/// A term for each start, however the one before ended.
async fn terms(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.node()?.create("x", 1).await?;
    stage.begin();
    stage.kill();
    stage.start().await?;
    stage.node()?.create("y", 2).await?;
    stage.cut_power();
    stage.start().await?;
    stage.idle().await;
    stage.stop().await?;
    stage.start().await?;
    stage.node()?.create("z", 1).await?;
    stage.idle().await;
    Ok(())
}

async fn snapshots_taken(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.node()?.create("x", 1).await?;
    stage.begin();
    for (name, partitions) in [("y", 3), ("z", 12), ("w", 12)] {
        stage.node()?.create(name, partitions).await?;
        stage.idle().await;
    }
    expect_snapshots(stage, 2)?;
    stage.node()?.create("v", 12).await?;
    stage.idle().await;
    stage.idle().await;
    Ok(())
}

fn expect_snapshots(stage: &Stage<'_>, count: usize) -> Result<(), Wrong> {
    let found = snapshots(&stage.tree());
    if found.len() == count {
        return Ok(());
    }
    Err(format!("{count} snapshots are expected, not {found:?}"))
}

/// The log begins behind the older snapshot, and its first segment goes.
async fn log_cut_behind_snapshots(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    // Longer than the shortest segment.
    for name in ["x", "y", "t"] {
        stage.node()?.create(name, 500).await?;
        stage.idle().await;
    }
    let first = Path::new(METADATA).join("__cluster_metadata-0/00000000000000000000.log");
    stage.begin();
    for name in ["z", "w", "v"] {
        stage.node()?.create(name, 12).await?;
        stage.idle().await;
    }
    stage.wait(DELETED).await;
    if stage.tree().lookup(&first).is_some() {
        return Err("the first segment of the metadata is still there".to_owned());
    }
    stage.kill();
    stage.start().await?;
    stage.node()?.create("u", 1).await?;
    stage.idle().await;
    Ok(())
}

/// The one before stands in.
async fn newest_snapshot_rots(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    for (name, partitions) in [("x", 12), ("y", 12), ("z", 12)] {
        stage.node()?.create(name, partitions).await?;
        stage.idle().await;
    }
    expect_snapshots(stage, 2)?;
    stage.stop().await?;
    stage.begin();
    stage.edit(|tree| {
        let names = snapshots(tree);
        let newest = names.last().map_or("", String::as_str);
        let path = Path::new(METADATA)
            .join("__cluster_metadata-0")
            .join(newest);
        tree.edit(&path, |bytes| bytes[150] ^= 8);
    });
    stage.start().await?;
    stage.node()?.create("w", 12).await?;
    stage.idle().await;
    Ok(())
}

async fn topics_removed(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.node()?.create("x", 2).await?;
    stage.node()?.create("y", 12).await?;
    stage.produce("x", 2).await?;
    stage.begin();
    stage.node()?.delete("x").await?;
    stage.node()?.create("x", 1).await?;
    stage.produce("x", 1).await?;
    stage.node()?.delete("y").await?;
    stage.idle().await;
    stage.node()?.create("y", 12).await?;
    stage.idle().await;
    stage.kill();
    stage.start().await?;
    stage.node()?.delete("x").await?;
    stage.idle().await;
    Ok(())
}

async fn promise_sync_fails(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.node()?.create("x", 1).await?;
    stage.idle().await;
    stage.begin();
    stage.kill();
    stage.fail_sync(|path| path.ends_with("quorum-state"));
    if stage.start().await.is_ok() {
        return Err("a start goes on without its promise".to_owned());
    }
    stage.kill();
    stage.start().await?;
    stage.node()?.create("y", 1).await?;
    stage.idle().await;
    Ok(())
}

async fn metadata_sync_fails(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.node()?.create("x", 1).await?;
    stage.idle().await;
    stage.begin();
    stage.fail_sync(|path| path.contains("journal."));
    if stage.node()?.create("y", 1).await.is_ok() {
        return Err("a topic is acknowledged behind a failed sync".to_owned());
    }
    stage.kill();
    stage.start().await?;
    // It may be there: that is seen by whoever looks.
    stage.node()?.look(true).await?;
    stage.node()?.create("z", 1).await?;
    stage.idle().await;
    Ok(())
}

async fn snapshot_sync_fails(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.node()?.create("x", 1).await?;
    stage.begin();
    stage.fail_sync(|path| path.contains(".checkpoint"));
    for name in ["y", "z", "w"] {
        // The directory is given up once the sync has failed.
        let made = stage.node()?.create(name, 12).await;
        stage.idle().await;
        if made.is_err() {
            break;
        }
    }
    if stage.is_fault_left() {
        return Err("no snapshot is synced".to_owned());
    }
    stage.kill();
    stage.start().await?;
    stage.node()?.look(true).await?;
    stage.node()?.create("v", 12).await?;
    stage.idle().await;
    Ok(())
}

async fn two_directories(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.node()?.create("x", 4).await?;
    stage.produce("x", 4).await?;
    stage.stop().await?;
    stage.edit(make_mount_point);
    stage.start().await?;
    stage.begin();
    stage.produce("x", 4).await?;
    stage.node()?.create("y", 2).await?;
    stage.produce("y", 2).await?;
    stage.kill();
    stage.start().await?;
    stage.produce("x", 4).await?;
    stage.node()?.delete("x").await?;
    stage.idle().await;
    Ok(())
}

async fn old_copy_of_second(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    old_copy(stage, SECOND).await
}

async fn old_copy_of_metadata(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    old_copy(stage, METADATA).await
}

/// A directory is copied between two starts; the copy may come back at any later one.
async fn old_copy(stage: &mut Stage<'_>, directory: &'static str) -> Result<(), Wrong> {
    stage.node()?.create("x", 4).await?;
    stage.produce("x", 4).await?;
    stage.stop().await?;
    stage.begin();
    stage.edit(|tree| {
        make_mount_point(tree);
        copy_for_later(tree, directory);
    });
    stage.start().await?;
    stage.produce("x", 4).await?;
    stage.node()?.create("y", 12).await?;
    stage.produce("y", 2).await?;
    stage.kill();
    stage.start().await?;
    stage.produce("x", 4).await?;
    stage.idle().await;
    Ok(())
}
