//! Fuzz targets: whatever foreign bytes can reach, fed with anything, and held to what must hold.
//!
//! A target is a function of bytes that panics when a rule is broken. The programs in `targets/`
//! give it to libFuzzer; the test in `tests/` gives it the inputs kept in `corpus/`, so that what
//! was found once is looked for ever after, without a fuzzer.

mod allocation;
pub mod broker_directory;
pub mod broker_requests;
pub mod configuration;
pub mod decompress;
pub mod disk;
mod dumps;
mod edits;
mod faults;
pub mod frames;
pub mod hostile_broker;
pub mod input;
mod lives;
pub mod log_directory;
pub mod log_segment;
pub mod logs;
pub mod messages;
pub mod metadata;
pub mod progress;
pub mod records;
pub mod requests;
pub mod responses;
pub mod schemas;
mod seals;
pub mod second_codec;
pub mod small_files;

/// A target: its name, which is that of its program and its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("broker_directory", broker_directory::run),
    ("broker_requests", broker_requests::run),
    ("configuration", configuration::run),
    ("decompress", decompress::run),
    ("frames", frames::run),
    ("hostile_broker", hostile_broker::run),
    ("log_directory", log_directory::run),
    ("log_segment", log_segment::run),
    ("metadata", metadata::run),
    ("records", records::run),
    ("requests", requests::run),
    ("responses", responses::run),
    ("schemas", schemas::run),
    ("second_codec", second_codec::run),
    ("small_files", small_files::run),
];
