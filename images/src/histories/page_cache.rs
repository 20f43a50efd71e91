//! Topics that count on the page cache, and those that change their durability.

use millrace_log::mark::Durability;

use crate::Wrong;
use crate::stage::Stage;

pub(super) async fn durability_switched(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open_page_cache(0).await?;
    for _ in 0..3 {
        one.append(900)?;
    }
    stage.begin();
    one.switch(Durability::Fsync).await?;
    // The first acknowledgement by the new rule speaks of everything before it too.
    one.acked().await?;
    stage.append(&mut one, 70).await?;
    one.switch(Durability::PageCache).await?;
    stage.idle().await;
    Ok(())
}

/// Segments of a page-cache topic whose syncs a kill has overtaken, and what a later life says of
/// them.
pub(super) async fn page_cache_killed(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open_page_cache(0).await?;
    for _ in 0..3 {
        one.append(900)?;
    }
    stage.idle().await;
    one.append(900)?;
    one.append(900)?;
    drop(one);
    stage.kill();
    stage.start().await?;
    let mut one = stage.open_page_cache(0).await?;
    one.append(900)?;
    stage.begin();
    one.append(900)?;
    stage.idle().await;
    // Not a record more, but somebody asks for a sync.
    one.acked().await
}

/// Many segments that are synced in the background, beside a topic that is not of the page cache.
pub(super) async fn page_cache_segments(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open_page_cache(0).await?;
    let mut two = stage.open(1).await?;
    stage.append(&mut two, 20).await?;
    stage.begin();
    for _ in 0..6 {
        one.append(900)?;
        one.append(900)?;
        stage.append(&mut two, 20).await?;
    }
    stage.idle().await;
    stage.stop(vec![one, two]).await?;
    stage.start().await?;
    let mut one = stage.open_page_cache(0).await?;
    one.append(900)?;
    stage.idle().await;
    Ok(())
}

/// Segments whose last mark is on its way when the process is killed: in the page cache it counts,
/// and the next start removes their files by it.
pub(super) async fn killed_behind_retention(stage: &mut Stage<'_>) -> Result<(), Wrong> {
    let mut one = stage.open_page_cache(0).await?;
    for _ in 0..5 {
        one.append(900)?;
        stage.idle().await;
    }
    stage.begin();
    one.begin_move_start(5).await?;
    stage.pause(stage.sync / 2).await;
    drop(one);
    stage.kill();
    stage.start().await?;
    let mut one = stage.open_page_cache(0).await?;
    one.append(40)?;
    stage.idle().await;
    Ok(())
}
