//! The histories that are cut off everywhere: one for each thing that a directory does.

mod changes;
mod cleaning;
mod commits;
mod failures;
mod page_cache;
mod starts;

use crate::Wrong;
use crate::disk::Plant;
use crate::promise::Promises;
use crate::stage::{Recorded, record};

/// A history by its name.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// What it is called.
    pub name: &'static str,
    play: fn(Option<Plant>) -> Result<Recorded<Promises>, Wrong>,
}

impl History {
    /// Plays it.
    pub fn record(&self, plant: Option<Plant>) -> Result<Recorded<Promises>, Wrong> {
        (self.play)(plant)
    }
}

macro_rules! histories {
    ($($module:ident::$name:ident,)*) => {
        [$(History { name: stringify!($name), play: |plant| record(plant, $module::$name) },)*]
    };
}

/// All of them.
pub const HISTORIES: [History; 38] = histories![
    commits::first_appends,
    commits::direct_sync,
    commits::rolls,
    commits::roll_behind_a_slow_sync,
    commits::several_partitions,
    commits::journal_round,
    commits::journal_growth,
    commits::idle_directory,
    changes::cut_back,
    changes::cut_back_and_closed,
    changes::cut_then_direct,
    changes::cut_twice,
    changes::log_start,
    changes::retirement,
    changes::removal,
    changes::removal_of_two,
    cleaning::cleaned_twice,
    cleaning::cleaned_under_appends,
    cleaning::cleaned_over_a_kill,
    cleaning::cleaned_under_a_log_start,
    cleaning::cleaned_then_cut,
    cleaning::cleaned_and_removed,
    starts::clean_stop,
    starts::kill_and_power_cut,
    starts::start_on_start,
    starts::torn_then_shorter,
    starts::killed_while_settling,
    starts::never_opened_between_starts,
    page_cache::durability_switched,
    page_cache::page_cache_killed,
    page_cache::page_cache_segments,
    page_cache::killed_behind_retention,
    failures::journal_sync_fails,
    failures::journal_sync_fails_and_forgets,
    failures::segment_sync_fails,
    failures::segment_sync_fails_and_forgets,
    failures::ledger_sync_fails,
    failures::directory_sync_fails,
];
