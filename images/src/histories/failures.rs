//! Syncs that fail: the directory goes offline, is not written again, and comes back with what was
//! acknowledged.

use crate::Wrong;
use crate::disk::SyncFault;
use crate::node::{Part, text};
use crate::stage::Stage;

fn of_journal(path: &str) -> bool {
    path.contains("journal.")
}

fn of_segment(path: &str) -> bool {
    path.contains(".log")
}

fn of_ledger(path: &str) -> bool {
    path.contains("ledger.")
}

fn of_home(path: &str) -> bool {
    path.ends_with("u-0/")
}

/// The directory is offline and stays as it is, whatever is asked of it (F2); the next process
/// finds what was acknowledged.
async fn offline_and_back(stage: &mut Stage<'_>, parts: Vec<Part>) -> Result<(), Wrong> {
    stage.failed().await?;
    let before = stage.changes();
    for mut part in parts {
        if part.append(20).is_ok() {
            return Err("an offline directory takes an append".to_owned());
        }
        part.log.set_high_watermark(1);
        part.log.flush_now();
        part.log.close().await.map_err(text)?;
    }
    let closed = stage.process()?.partitions.dir().close().await;
    stage.idle().await;
    if stage.changes() > before || closed.is_ok() {
        return Err("an offline directory is written to, or closed".to_owned());
    }
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 30).await
}

async fn journal(stage: &mut Stage<'_>, lost: bool) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut one, 30).await?;
    stage.append(&mut two, 30).await?;
    stage.begin();
    let of = of_journal;
    stage.fail_sync(SyncFault { of, lost });
    one.append(40)?;
    two.append(40)?;
    offline_and_back(stage, vec![one, two]).await
}

pub(super) async fn journal_sync_fails(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    journal(stage, false).await
}

pub(super) async fn journal_sync_fails_and_forgets(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    journal(stage, true).await
}

/// A direct sync fails beside a commit.
async fn segment(stage: &mut Stage<'_>, lost: bool) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut one, 30).await?;
    stage.append(&mut two, 30).await?;
    stage.begin();
    let of = of_segment;
    stage.fail_sync(SyncFault { of, lost });
    one.append(2_200)?;
    two.append(40)?;
    offline_and_back(stage, vec![one, two]).await
}

pub(super) async fn segment_sync_fails(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    segment(stage, false).await
}

pub(super) async fn segment_sync_fails_and_forgets(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    segment(stage, true).await
}

/// A journal file is to be given back, and the ledger that this needs can't be written.
pub(super) async fn ledger_sync_fails(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..22 {
        stage.append(&mut one, 20).await?;
    }
    stage.begin();
    let (of, lost) = (of_ledger as fn(&str) -> bool, false);
    stage.fail_sync(SyncFault { of, lost });
    for _ in 0..12 {
        if stage.append(&mut one, 20).await.is_err() {
            break;
        }
    }
    offline_and_back(stage, vec![one]).await
}

/// The names of a first direct sync can't be made durable.
pub(super) async fn directory_sync_fails(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut one, 30).await?;
    stage.begin();
    let (of, lost) = (of_home as fn(&str) -> bool, false);
    stage.fail_sync(SyncFault { of, lost });
    two.append(2_200)?;
    one.append(20)?;
    offline_and_back(stage, vec![one, two]).await
}
