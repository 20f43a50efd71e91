//! What moves a bound back or takes names away: cuts, log starts, retention, removal.

use millrace_log::mark::Durability;
use millrace_log::partition::LogSettings;

use crate::Wrong;
use crate::node::settings;
use crate::stage::Stage;

pub(super) async fn cut_back(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..4 {
        stage.append(&mut one, 900).await?;
    }
    stage.begin();
    one.append(900)?;
    one.cut(2).await?;
    stage.append(&mut one, 20).await?;
    stage.idle().await;
    Ok(())
}

/// A log whose names are all settled is cut back over segments, grows again up to where one of them
/// began, and is closed.
pub(super) async fn cut_back_and_closed(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..4 {
        stage.append(&mut one, 900).await?;
    }
    stage.stop(vec![one]).await?;
    stage.begin();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    one.cut(2).await?;
    stage.append(&mut one, 20).await?;
    stage.stop(vec![one]).await
}

/// A large batch behind a cut is synced directly: a replay of the cut would take it away.
pub(super) async fn cut_then_direct(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..3 {
        stage.append(&mut one, 200).await?;
    }
    stage.begin();
    one.cut(4).await?;
    stage.append(&mut one, 2_200).await?;
    stage.append(&mut one, 10).await?;
    drop(one);
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 2_200).await?;
    stage.idle().await;
    Ok(())
}

/// Cuts under what is still on its way: by the journal, and by a direct sync.
pub(super) async fn cut_twice(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut one, 30).await?;
    stage.append(&mut two, 30).await?;
    stage.begin();
    one.append(30)?;
    two.append(2_200)?;
    stage.pause(stage.sync / 2).await;
    two.cut(2).await?;
    one.append(30)?;
    stage.pause(stage.sync / 2).await;
    one.cut(2).await?;
    one.append(40)?;
    two.append(2_200)?;
    stage.pause(stage.sync / 2).await;
    one.cut(2).await?;
    stage.append(&mut one, 50).await?;
    two.acked().await?;
    stage.idle().await;
    Ok(())
}

pub(super) async fn log_start(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..5 {
        stage.append(&mut one, 900).await?;
    }
    stage.begin();
    one.move_start(5).await?;
    stage.append(&mut one, 20).await?;
    one.move_start(8).await?;
    stage.idle().await;
    Ok(())
}

pub(super) async fn retirement(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let retiring = LogSettings {
        retention_ms: Some(1),
        ..settings(Durability::Fsync)
    };
    let mut one = stage.open_with(0, retiring).await?;
    for _ in 0..3 {
        stage.append(&mut one, 900).await?;
    }
    stage.begin();
    one.retain().await?;
    stage.append(&mut one, 20).await?;
    one.retain().await?;
    stage.idle().await;
    // Nothing below the log start is there to be replayed.
    stage.stop(vec![one]).await
}

pub(super) async fn removal(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut one, 30).await?;
    stage.append(&mut two, 30).await?;
    stage.begin();
    one.remove().await?;
    let mut again = stage.open(9).await?;
    stage.append(&mut again, 40).await?;
    stage.append(&mut two, 30).await?;
    stage.idle().await;
    Ok(())
}

/// A topic that was synced directly is removed, and so is its successor of the same name.
pub(super) async fn removal_of_two(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 2_200).await?;
    stage.begin();
    one.append(20)?;
    one.remove().await?;
    let mut again = stage.open(9).await?;
    again.append(2_200)?;
    stage.pause(stage.sync / 2).await;
    again.remove().await?;
    let mut third = stage.open(19).await?;
    stage.append(&mut third, 50).await?;
    stage.idle().await;
    Ok(())
}
