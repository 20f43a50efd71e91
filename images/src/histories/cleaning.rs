//! Cleaning: segments that are replaced by one made of them, and what may come between.

use crate::Wrong;
use crate::stage::Stage;

/// Twice in a row, the second time over what came of the first.
pub(super) async fn cleaned_twice(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..7 {
        stage.append(&mut one, 900).await?;
    }
    one.settled().await?;
    stage.begin();
    one.clean(2, 0).await?;
    stage.append(&mut one, 20).await?;
    stage.idle().await;
    one.clean(2, 1).await?;
    stage.append(&mut one, 20).await?;
    stage.stop(vec![one]).await
}

/// Records come while names change, and the log is closed at once.
pub(super) async fn cleaned_under_appends(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..5 {
        stage.append(&mut one, 900).await?;
    }
    one.settled().await?;
    stage.begin();
    let made = one.clean_beside(2, 2).await?;
    one.append(30)?;
    let replacement = one.begin_replacement(made)?;
    one.append(900)?;
    let outcome = replacement.run().await;
    one.append(900)?;
    one.finish_replacement(outcome).await?;
    one.acked().await?;
    stage.stop(vec![one]).await
}

/// A process is killed with the names half changed; the next one goes on with what it finds, and
/// cleans it again.
pub(super) async fn cleaned_over_a_kill(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..7 {
        stage.append(&mut one, 900).await?;
    }
    one.settled().await?;
    let made = one.clean_beside(2, 0).await?;
    let replacement = one.begin_replacement(made)?;
    let begun = stage.pause(stage.sync * 5 / 2);
    tokio::select! {
        biased;
        _ = replacement.run() => return Err("it ended before the kill".to_owned()),
        () = begun => {}
    }
    drop(one);
    stage.begin();
    stage.kill();
    stage.start().await?;
    let mut one = stage.open(0).await?;
    stage.append(&mut one, 900).await?;
    one.settled().await?;
    stage.idle().await;
    one.clean(2, 1).await?;
    stage.idle().await;
    Ok(())
}

/// The log start moves into what is being replaced, and behind it.
pub(super) async fn cleaned_under_a_log_start(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..7 {
        stage.append(&mut one, 900).await?;
    }
    one.settled().await?;
    stage.begin();
    let made = one.clean_beside(2, 1).await?;
    let replacement = one.begin_replacement(made)?;
    one.move_start(2).await?;
    one.move_start(8).await?;
    let outcome = replacement.run().await;
    one.finish_replacement(outcome).await?;
    stage.append(&mut one, 20).await?;
    stage.idle().await;
    Ok(())
}

/// A cut into what was cleaned: behind it the segment grows again.
pub(super) async fn cleaned_then_cut(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..5 {
        stage.append(&mut one, 900).await?;
    }
    one.settled().await?;
    stage.begin();
    one.clean(2, 2).await?;
    one.cut(6).await?;
    stage.append(&mut one, 20).await?;
    stage.append(&mut one, 900).await?;
    stage.idle().await;
    Ok(())
}

/// A topic is removed while names of it change, and made again.
pub(super) async fn cleaned_and_removed(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open(0).await?;
    for _ in 0..5 {
        stage.append(&mut one, 900).await?;
    }
    one.settled().await?;
    stage.begin();
    let made = one.clean_beside(2, 1).await?;
    let replacement = one.begin_replacement(made)?;
    let (removed, _) = tokio::join!(one.remove(), replacement.run());
    removed?;
    let mut again = stage.open(9).await?;
    stage.append(&mut again, 40).await?;
    stage.idle().await;
    Ok(())
}
