//! Every served API at every version against a whole node in simulation: what it answers, which
//! error it gives and when, and what is left after a restart. Codes are Kafka's numbers.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod admin;
mod answers;
mod bad_input;
mod compaction;
mod configs;
mod configs_in_effect;
mod delete_records;
#[path = "../dense/mod.rs"]
mod dense;
mod directories;
mod disk;
mod dynamic_listeners;
mod fetch;
mod fetch_sessions;
mod groups;
mod groups_bad_input;
mod groups_records;
mod groups_week;
mod health;
mod hung_sync;
mod keys_in_effect;
mod keys_of_groups;
mod log_configs;
mod log_dirs;
mod loggers;
mod many_partitions;
mod moves;
mod node;
mod offsets;
mod old_copies;
mod partitions;
mod produce;
mod producers;
mod security;
mod slow_requests;
mod starts;
mod sync_series;
mod topics;
#[path = "../wire/mod.rs"]
mod wire;
