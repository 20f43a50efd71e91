//! What runs core's decisions: open partitions with their logs, waiting fetches, fetch sessions.

pub(crate) mod cleaning;
mod cleaning_look;
mod cleaning_plan;
mod cleaning_round;
mod closing;
mod configure;
mod debt;
mod due;
pub(crate) mod fetch_waiter;
mod freed;
pub(crate) mod lateness;
pub(crate) mod lost_directory;
pub(crate) mod moving;
mod moving_one;
mod owed;
pub(crate) mod partition;
pub(crate) mod producer_count;
pub(crate) mod recompress;
pub(crate) mod registry;
mod removal;
mod removal_reports;
mod schedule;
#[cfg(all(test, feature = "schedules"))]
#[path = "tests/schedules/mod.rs"]
mod schedules;
pub(crate) mod scratch;
mod session_room;
pub(crate) mod sessions;
pub(crate) mod settings;
mod slot;
pub(crate) mod topic_configs;
pub(crate) mod upkeep;
