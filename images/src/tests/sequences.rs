//! The 18 sequences, in one place: what happens, which rules prevent it, and the scenarios that play
//! it. What has no scenario of its own in this room says where it is tested.

use super::{bounds, existence, journal, recovery};
use crate::Wrong;

/// One sequence of events that breaks a broker without the rules named.
struct Sequence {
    number: usize,
    /// What happens.
    what: &'static str,
    /// The rules of `docs/durability.md`.
    rules: &'static str,
    scenarios: &'static [fn() -> Result<(), Wrong>],
    /// What of it can't happen in this room, and where it is tested.
    elsewhere: &'static str,
}

macro_rules! sequences {
    ($($number:literal, $what:literal, $rules:literal: $($module:ident::$name:ident),+ $(; elsewhere $elsewhere:literal)?;)*) => {
        const SEQUENCES: [Sequence; 18] = [$(Sequence {
            number: $number,
            what: $what,
            rules: $rules,
            scenarios: &[$($module::$name),+],
            elsewhere: concat!($($elsewhere)?),
        }),*];

        $($(
            #[doc = concat!("Sequence ", $number, " (", $rules, "): ", $what)]
            #[test]
            fn $name() {
                if let Err(wrong) = $module::$name() {
                    panic!("sequence {} ({}), {}: {wrong}", $number, $rules, $what);
                }
            }
        )+)*
    };
}

sequences! {
    1, "recovery cuts, a large batch is appended directly and acknowledged; after a crash replay performs the old cut again", "R2, C5":
        journal::an_old_cut_is_not_done_again_over_direct_bytes;
    2, "a first append is acknowledged before its existence; missing and unsettled look alike", "C4, R2":
        existence::a_first_large_append_exists_before_its_ack,
        existence::a_small_first_append_whose_files_are_lost_is_made_anew,
        existence::what_is_taken_in_is_shown_behind_its_durable_mark,
        existence::a_segment_left_without_those_before_it_is_set_aside,
        existence::what_was_settled_and_is_missing_is_not_made_anew;
    3, "what is left of a torn commit comes alive behind a shorter one; a commit whose sync failed is believed from the cache", "J4, J3":
        journal::a_torn_commit_stays_dead_behind_a_shorter_one,
        journal::a_commit_whose_sync_failed_is_proven_before_it_counts;
    4, "two commits share a block and the tear of the second unmakes the first; a flipped length hides what follows", "J2, R1":
        journal::no_block_of_the_journal_is_written_twice,
        journal::a_flipped_length_hides_nothing;
    5, "a flush completes after a cut and confirms other records; a small commit overtakes a direct sync; one commit mixes both around a roll", "C2, C3, C6":
        journal::a_completion_from_before_a_cut_confirms_nothing,
        journal::nothing_of_a_partition_overtakes_its_direct_sync;
    6, "the file is shortened before the mark; a log start is shown and comes back; a new topic of the name finds the old data", "C5":
        bounds::a_file_is_shortened_only_behind_the_durable_mark,
        bounds::a_log_start_that_was_shown_never_comes_back,
        bounds::a_new_topic_of_a_name_never_meets_the_old_data;
    7, "the disk isn't mounted, so the partition is begun again elsewhere; an old copy of a directory is served", "A1":
        existence::an_old_copy_of_a_directory_is_refused;
        elsewhere "where a partition is looked for, and a directory that is absent: broker/server";
    8, "a failed write-back goes with its evicted inode; a clean close is written for an offline directory; zeroing meets a wrapped writer", "S2, F2, J1":
        existence::a_file_with_unsettled_bytes_stays_open,
        existence::an_offline_directory_is_left_as_it_is,
        journal::a_journal_file_grows_beside_the_commits;
    9, "one flipped bit in the ledger turns all into never written; the ledger holds a torn commit; a full disk stops the delete", "L1, L2, L3, F4":
        recovery::a_ledger_that_cant_be_read_is_not_an_empty_one,
        recovery::the_only_whole_ledger_is_written_last,
        recovery::a_ledger_holds_durable_commits_only,
        recovery::a_full_disk_stops_no_removal;
    10, "un-recovered partitions look like damage of the same boot at the second start; an append behind a clean start is overwritten", "R3, R8":
        recovery::a_debt_outlives_starts_that_do_not_pay_it,
        recovery::what_is_repeated_stays_of_the_boot_that_wrote_it,
        recovery::an_append_behind_a_clean_start_outlives_a_kill;
    11, "recovery's unlink is lost and the cut tail returns; a page of zeros hides batches behind it", "R5, R6":
        bounds::a_cut_tail_never_returns_behind_new_records,
        bounds::batches_behind_a_page_of_zeros_never_come_back;
    12, "a snapshot of producers from above a cut acknowledges what was never stored; a clock jump expires a producer", "A2":
        bounds::a_snapshot_above_a_cut_is_not_believed;
        elsewhere "the age of producers is counted in broker/core, by its own tests";
    13, "a bit flips in a base offset; the journal holds the client's header; a dropped page enters the journal", "R4, J5, A5":
        recovery::a_flipped_base_offset_is_found,
        journal::the_journal_holds_the_bytes_as_they_stand_in_the_file,
        journal::a_page_that_the_cache_dropped_is_in_the_journal_all_the_same;
    14, "on an idle directory the last mark waits for ever, and later rot passes for a tear", "C7":
        journal::rot_in_the_last_commit_of_an_idle_directory_is_damage;
    15, "replay writes into a file that something else has replaced", "S4":
        journal::bytes_of_a_segment_that_was_cut_off_stay_out_of_the_next_one,
        bounds::a_kill_behind_retention_removes_by_durable_marks_only;
        elsewhere "compaction and moves do not exist yet, and nothing writes their mark";
    16, "a topic's mode changes and un-synced bytes count as synced; a page-cache log is cut from an early segment on", "A3":
        recovery::a_change_of_durability_counts_nothing_before_its_sync,
        recovery::a_page_cache_log_of_many_segments_keeps_what_was_synced;
    17, "pages stayed in the cache and the sync proved nothing", "R4":
        recovery::what_a_failed_write_back_left_in_the_cache_is_written_again;
    18, "a clock jump or a zeroed time index deletes fresh data", "A4":
        recovery::a_zeroed_time_index_condemns_nothing,
        recovery::a_clock_that_jumps_holds_retention_by_time;
}

#[test]
fn all_18_sequences_have_a_scenario() {
    for (at, sequence) in SEQUENCES.iter().enumerate() {
        assert_eq!(sequence.number, at + 1);
        let Sequence { what, rules, .. } = sequence;
        assert!(!what.is_empty() && !rules.is_empty());
        assert!(!sequence.scenarios.is_empty(), "{what}");
        println!(
            "{:2} ({rules}) {what}: {} scenarios {}",
            sequence.number,
            sequence.scenarios.len(),
            sequence.elsewhere
        );
    }
}
