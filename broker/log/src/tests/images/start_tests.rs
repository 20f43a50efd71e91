//! Histories of starts that stand on what the process before left in the page cache only.

use std::time::Duration;

use super::history::{Stage, record, settings};
use super::judge::every_image;
use crate::mark::Durability;
use crate::partition::LogSettings;

const LAG: Duration = Duration::from_millis(10);

/// Segments whose last mark is on its way when the process is killed: in the page cache it counts,
/// and the next start removes their files by it.
async fn killed_behind_retention(stage: &mut Stage<'_>) {
    let page_cache = LogSettings {
        durability: Durability::PageCache,
        ..settings()
    };
    let mut one = stage.open_with(0, page_cache).await;
    for _ in 0..5 {
        one.append(900);
        stage.pause(LAG).await;
    }
    stage.begin();
    one.begin_move_start(5).await;
    stage.pause(stage.sync / 2).await;
    drop(one);
    stage.kill();
    stage.start().await;
    let mut one = stage.open_with(0, page_cache).await;
    one.append(40);
    stage.pause(LAG).await;
}

#[test]
fn j4_no_file_goes_by_a_mark_that_may_have_missed_the_disk() {
    let history = record(None, killed_behind_retention);
    let images = every_image(&history, history.from).unwrap();
    assert!(images >= 100, "only {images} images");
}

#[test]
fn r6_a_roll_behind_the_recovery_from_a_power_cut_outlives_a_kill() {
    let history = record(None, async |stage| {
        stage.options.flush_lag = Duration::from_secs(10);
        let mut one = stage.open(0).await;
        stage.append(&mut one, 900).await;
        drop(one);
        stage.cut_power();
        stage.start().await;
        let mut one = stage.open(0).await;
        // Nobody waits for these to be durable; their marks never reach the journal.
        for _ in 0..3 {
            one.append(900);
        }
        let end = one.log.log_end();
        drop(one);
        stage.kill();
        stage.start().await;
        assert_eq!(stage.open(0).await.log.log_end(), end);
    });
    assert!(!history.ops.is_empty());
}
