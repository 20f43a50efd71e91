//! Appends and how they become durable: by the journal, by direct syncs, over rolls and rounds of the
//! journal.

use std::time::Duration;

use crate::Wrong;
use crate::stage::Stage;

pub(super) async fn first_appends(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    one.append(10)?;
    two.append(10)?;
    one.acked().await?;
    two.acked().await?;
    stage.append(&mut one, 600).await?;
    stage.idle().await;
    Ok(())
}

pub(super) async fn direct_sync(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    stage.begin();
    stage.append(&mut one, 2_200).await?;
    stage.append(&mut one, 10).await?;
    one.append(10)?;
    stage.append(&mut one, 2_200).await?;
    stage.idle().await;
    Ok(())
}

pub(super) async fn rolls(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 900).await?;
    stage.append(&mut one, 900).await?;
    stage.begin();
    one.new_epoch();
    stage.append(&mut one, 900).await?;
    stage.append(&mut one, 900).await?;
    stage.idle().await;
    stage.append(&mut one, 900).await
}

/// A roll behind a large batch whose direct sync takes long: everything that the roll writes, and
/// marks, may be durable before the batch is.
pub(super) async fn roll_behind_a_slow_sync(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 20).await?;
    stage.stop(vec![one]).await?;
    stage.slow = Some(|name| name.contains(".log"));
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 20).await?;
    stage.begin();
    for payload in [2_200, 900] {
        one.append(payload)?;
        stage.pause(stage.sync * 5).await;
    }
    one.append(3)?;
    stage.pause(stage.sync * 5).await;
    one.append(3)?;
    one.acked().await?;
    stage.idle().await;
    Ok(())
}

/// Partitions that share commits, beside others that are synced directly at the same time.
pub(super) async fn several_partitions(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut parts = Vec::new();
    for index in 0..5 {
        parts.push(stage.open(index).await?);
    }
    stage.append(&mut parts[0], 30).await?;
    stage.begin();
    for round in 0..3 {
        for (index, part) in parts.iter_mut().enumerate() {
            part.append(if (index + round) % 4 == 3 { 2_200 } else { 40 })?;
        }
        // The next round gathers while this one is on its way.
        stage.pause(stage.sync / 2).await;
    }
    for part in &parts {
        part.acked().await?;
    }
    stage.idle().await;
    Ok(())
}

pub(super) async fn journal_round(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..22 {
        stage.append(&mut one, 20).await?;
    }
    stage.begin();
    let before = stage.ledgers()?;
    for _ in 0..8 {
        stage.append(&mut one, 20).await?;
    }
    stage.idle().await;
    if stage.ledgers()? == before {
        return Err("no journal file was given back".to_owned());
    }
    Ok(())
}

/// A journal file is given back, grows, and is written over.
pub(super) async fn journal_growth(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    stage.options.journal_file_bytes_max = 128 << 10;
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    for _ in 0..23 {
        stage.append(&mut one, 20).await?;
    }
    stage.begin();
    let before = stage.ledgers()?;
    for nth in 0..12 {
        two.append(30)?;
        stage
            .append(&mut one, if nth % 4 == 0 { 300 } else { 20 })
            .await?;
    }
    stage.idle().await;
    if stage.ledgers()? == before {
        return Err("no journal file was given back".to_owned());
    }
    Ok(())
}

/// The last commit is proven by a closing one; then nothing is written any more.
pub(super) async fn idle_directory(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 20).await?;
    stage.begin();
    stage.append(&mut one, 700).await?;
    one.log.set_high_watermark(4);
    stage.idle().await;
    let before = stage.changes();
    stage.pause(Duration::from_secs(5)).await;
    if stage.changes() > before {
        return Err("an idle directory is written to".to_owned());
    }
    Ok(())
}
