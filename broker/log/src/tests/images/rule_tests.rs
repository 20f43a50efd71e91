//! One history per thing that a directory does, each cut off everywhere.

use std::time::Duration;

use super::history::{Recorded, Stage, record, settings};
use super::judge::{every_image, without_ledger};
use crate::mark::Durability;
use crate::partition::LogSettings;

const LAG: Duration = Duration::from_millis(10);

/// Judges every image of a history, and says how many there were.
fn judged(name: &str, history: &Recorded, at_least: usize) {
    match every_image(history, history.from) {
        Ok(images) => {
            println!(
                "{name}: {images} images of {} operations",
                history.ops.len()
            );
            assert!(images >= at_least, "only {images} images");
        }
        Err(wrong) => panic!("{name}: {wrong}"),
    }
}

pub(super) async fn first_appends(stage: &mut Stage<'_>) {
    let mut one = stage.open(0).await;
    let mut two = stage.open(1).await;
    one.append(10);
    two.append(10);
    stage.acked(&one).await;
    stage.acked(&two).await;
    stage.append(&mut one, 600).await;
    stage.pause(LAG).await;
}

#[test]
fn a_fresh_directory_and_its_first_commits() {
    judged("first appends", &record(None, first_appends), 500);
}

pub(super) async fn direct_sync(stage: &mut Stage<'_>) {
    let mut one = stage.open(0).await;
    stage.begin();
    stage.append(&mut one, 2_200).await;
    stage.append(&mut one, 10).await;
    one.append(10);
    stage.append(&mut one, 2_200).await;
    stage.pause(LAG).await;
}

#[test]
fn a_direct_sync_beside_the_journal() {
    judged("direct sync", &record(None, direct_sync), 500);
}

pub(super) async fn rolls(stage: &mut Stage<'_>) {
    let mut one = stage.open(0).await;
    stage.append(&mut one, 900).await;
    stage.append(&mut one, 900).await;
    stage.begin();
    one.new_epoch();
    stage.append(&mut one, 900).await;
    stage.append(&mut one, 900).await;
    stage.pause(LAG).await;
    stage.append(&mut one, 900).await;
}

#[test]
fn a_roll_with_a_producer_snapshot() {
    judged("roll", &record(None, rolls), 500);
}

pub(super) async fn cut_back(stage: &mut Stage<'_>) {
    let mut one = stage.open(0).await;
    for _ in 0..4 {
        stage.append(&mut one, 900).await;
    }
    stage.begin();
    one.append(900);
    one.cut(2).await;
    one.new_epoch();
    stage.append(&mut one, 20).await;
    stage.pause(LAG).await;
}

#[test]
fn a_cut_across_segments_and_what_is_appended_behind_it() {
    judged("cut back", &record(None, cut_back), 500);
}

pub(super) async fn log_start(stage: &mut Stage<'_>) {
    let mut one = stage.open(0).await;
    for _ in 0..5 {
        stage.append(&mut one, 900).await;
    }
    stage.begin();
    one.move_start(5).await;
    stage.append(&mut one, 20).await;
    one.move_start(8).await;
    stage.pause(LAG).await;
}

#[test]
fn a_log_start_that_moves_and_the_segments_below_it() {
    judged("log start", &record(None, log_start), 300);
}

pub(super) async fn retirement(stage: &mut Stage<'_>) {
    let retiring = LogSettings {
        retention_ms: Some(1),
        ..settings()
    };
    let mut one = stage.open_with(0, retiring).await;
    for _ in 0..3 {
        stage.append(&mut one, 900).await;
    }
    stage.begin();
    one.retain().await;
    stage.append(&mut one, 20).await;
    one.retain().await;
    stage.pause(LAG).await;
    // Nothing below the log start is there to be replayed.
    stage.stop(vec![one]).await;
}

#[test]
fn a2_what_is_known_of_producers_outlives_their_records() {
    judged("retirement", &record(None, retirement), 300);
}

pub(super) async fn removal(stage: &mut Stage<'_>) {
    let mut one = stage.open(0).await;
    let mut two = stage.open(1).await;
    stage.append(&mut one, 30).await;
    stage.append(&mut two, 30).await;
    stage.begin();
    stage.remove(one).await;
    let mut again = stage.open(9).await;
    stage.append(&mut again, 40).await;
    stage.append(&mut two, 30).await;
    stage.pause(LAG).await;
}

#[test]
fn a_removal_and_a_new_topic_of_the_same_name() {
    judged("removal", &record(None, removal), 500);
}

pub(super) async fn journal_round(stage: &mut Stage<'_>) {
    let mut one = stage.open(0).await;
    for _ in 0..22 {
        stage.append(&mut one, 20).await;
    }
    stage.begin();
    let before = stage.ledgers();
    for _ in 0..8 {
        stage.append(&mut one, 20).await;
    }
    stage.pause(LAG).await;
    assert!(stage.ledgers() > before, "a journal file was given back");
}

#[test]
fn a_journal_file_given_back_behind_a_ledger() {
    judged("journal round", &record(None, journal_round), 500);
}

pub(super) async fn clean_stop(stage: &mut Stage<'_>) {
    let mut one = stage.open(0).await;
    let mut two = stage.open(1).await;
    stage.append(&mut one, 30).await;
    stage.append(&mut two, 900).await;
    stage.begin();
    one.append(30);
    stage.stop(vec![one, two]).await;
    stage.start().await;
    let mut one = stage.open(0).await;
    stage.append(&mut one, 30).await;
}

#[test]
fn a_clean_stop_and_the_start_behind_it() {
    judged("clean stop", &record(None, clean_stop), 500);
}

pub(super) async fn kill_and_power_cut(stage: &mut Stage<'_>) {
    let mut one = stage.open(0).await;
    stage.append(&mut one, 30).await;
    stage.append(&mut one, 900).await;
    drop(one);
    stage.begin();
    stage.kill();
    stage.start().await;
    let mut one = stage.open(0).await;
    stage.append(&mut one, 40).await;
    drop(one);
    stage.cut_power();
    stage.start().await;
    let mut one = stage.open(0).await;
    stage.append(&mut one, 50).await;
}

#[test]
fn a_start_after_a_kill_and_one_after_a_power_cut() {
    judged("starts", &record(None, kill_and_power_cut), 500);
}

#[test]
fn l3_a_ledger_made_from_files_and_journals_loses_nothing() {
    let histories = [
        ("direct sync", record(None, direct_sync)),
        ("roll", record(None, rolls)),
        ("cut back", record(None, cut_back)),
        ("removal", record(None, removal)),
        ("journal round", record(None, journal_round)),
        ("clean stop", record(None, clean_stop)),
        ("starts", record(None, kill_and_power_cut)),
    ];
    for (name, history) in histories {
        match without_ledger(&history) {
            Ok(images) => println!("{name}: {images} images without a ledger"),
            Err(wrong) => panic!("{name}: {wrong}"),
        }
    }
}

pub(super) async fn durability_switched(stage: &mut Stage<'_>) {
    let page_cache = LogSettings {
        durability: Durability::PageCache,
        ..settings()
    };
    let mut one = stage.open_with(0, page_cache).await;
    for _ in 0..3 {
        one.append(900);
    }
    stage.begin();
    one.switch(Durability::Fsync).await;
    // The first acknowledgement by the new rule speaks of everything before it too.
    stage.acked(&one).await;
    stage.append(&mut one, 70).await;
    one.switch(Durability::PageCache).await;
    stage.pause(LAG).await;
}

#[test]
fn a3_a_durability_that_changes_both_ways_under_appends() {
    judged("durability", &record(None, durability_switched), 300);
}

/// Segments of a page-cache topic whose syncs a kill has overtaken, and what a later life says of
/// them.
pub(super) async fn page_cache_killed(stage: &mut Stage<'_>) {
    let mut one = stage.open_page_cache(0).await;
    for _ in 0..3 {
        one.append(900);
    }
    stage.pause(LAG).await;
    one.append(900);
    one.append(900);
    drop(one);
    stage.kill();
    stage.start().await;
    let mut one = stage.open_page_cache(0).await;
    one.append(900);
    stage.begin();
    one.append(900);
    stage.pause(LAG).await;
    // Not a record more, but somebody asks for a sync.
    one.log.flush_now();
    stage.acked(&one).await;
}

#[test]
fn a3_a_kill_between_the_rolls_of_a_page_cache_topic() {
    judged("page cache", &record(None, page_cache_killed), 500);
}

/// How many syncs stood one behind the other in what `work` waited for: nothing else takes time.
async fn in_series<T>(stage: &mut Stage<'_>, work: impl AsyncFnOnce(&mut Stage<'_>) -> T) -> u128 {
    let before = stage.sim.elapsed();
    work(stage).await;
    let after = stage.sim.elapsed();
    after.saturating_sub(before).as_millis() / stage.sync.as_millis()
}

async fn start_and_append(stage: &mut Stage<'_>) {
    stage.start().await;
    let mut one = stage.open(0).await;
    stage.append(&mut one, 10).await;
}

#[test]
fn r9_a_start_waits_for_few_syncs_in_series() {
    let counted = record(None, async |stage| {
        // So that looks at the clock, and commits that nobody waits for, don't count.
        stage.sync = Duration::from_millis(100);
        stage.options.flush_lag = Duration::from_secs(10);
        stage.kill();
        // Files and names; the append's commit.
        assert_eq!(in_series(stage, start_and_append).await, 2);
        let mut one = stage.open(0).await;
        stage.append(&mut one, 2_200).await;
        one.append(10);
        stage.pause(stage.sync / 2).await;
        drop(one);
        // Files and names; beside the last commit made again, the partition's own; the append's.
        stage.kill();
        assert_eq!(in_series(stage, start_and_append).await, 3);
        // The same, and that it is recovered: what is appended from now on is of this boot.
        stage.cut_power();
        assert_eq!(in_series(stage, start_and_append).await, 4);
        let one = stage.open(0).await;
        stage.stop(vec![one]).await;
        assert_eq!(in_series(stage, start_and_append).await, 2);
    });
    assert!(!counted.ops.is_empty());
}
