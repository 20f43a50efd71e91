//! Starts on what stops, kills and power cuts left, before and while it is settled.

use crate::Wrong;
use crate::stage::Stage;

pub(super) async fn clean_stop(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut one, 30).await?;
    stage.append(&mut two, 900).await?;
    stage.begin();
    one.append(30)?;
    stage.stop(vec![one, two]).await?;
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 30).await
}

pub(super) async fn kill_and_power_cut(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 30).await?;
    stage.append(&mut one, 900).await?;
    drop(one);
    stage.begin();
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 40).await?;
    drop(one);
    stage.cut_power();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 50).await
}

/// A start over a generation that is not settled is killed before it has settled it: two of them
/// are there for the next.
pub(super) async fn start_on_start(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 30).await?;
    stage.append(&mut one, 600).await?;
    drop(one);
    stage.begin();
    stage.kill();
    stage.start().await?;
    stage.pause(stage.sync / 2).await;
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 30).await?;
    drop(one);
    stage.cut_power();
    stage.start().await?;
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 30).await
}

/// A long commit is on its way when the process ends; the next generation's are short.
pub(super) async fn torn_then_shorter(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut others = Vec::new();
    for index in 1..4 {
        others.push(stage.open(index).await?);
    }
    stage.append(&mut one, 20).await?;
    stage.begin();
    // 4 x 1,700 bytes: a commit of two blocks.
    one.append(1_700)?;
    for other in &mut others {
        other.append(1_700)?;
    }
    stage.pause(stage.sync / 2).await;
    drop((one, others));
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 5).await?;
    drop(one);
    stage.cut_power();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 5).await
}

/// Killed while a journal file is being given back, and again while that is made good.
pub(super) async fn killed_while_settling(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..24 {
        stage.append(&mut one, 20).await?;
    }
    stage.begin();
    let before = stage.ledgers()?;
    while stage.ledgers()? == before {
        one.append(20)?;
        stage.pause(stage.sync / 2).await;
    }
    drop(one);
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    one.append(700)?;
    stage.pause(stage.sync * 3 / 2).await;
    drop(one);
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 20).await?;
    stage.idle().await;
    Ok(())
}

/// A partition that owes recovery and is not looked at: power cut, start, kill, start.
pub(super) async fn never_opened_between_starts(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut two, 20).await?;
    stage.append(&mut one, 200).await?;
    one.append(900)?;
    one.append(900)?;
    drop((one, two));
    stage.begin();
    stage.cut_power();
    stage.start().await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut two, 20).await?;
    stage.stop(vec![two]).await?;
    stage.start().await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut two, 20).await?;
    drop(two);
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 20).await
}
