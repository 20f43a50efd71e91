//! Crash images, exhaustively: short histories are recorded operation by operation, and after each
//! one every state that a kill or a power cut may leave is opened again and judged.
//!
//! NOTE FOR WHOEVER WORKS HERE: the crate `images/` (millrace-images: `run(Plan::of(Scale::SMOKE), ..)`,
//! `judge(&HISTORIES[..], plan)`, on the calling thread) replaces this directory; it goes at 11:40.
//!
//! What is judged: every promise is kept; a second start finds what the first one found, though
//! nothing un-synced of the first is left; the log takes records, and a third start finds them.

mod cut_off;
mod disk;
mod history;
mod judge;
mod planted_tests;
pub(crate) mod promise;
mod rule_tests;
mod start_tests;
mod volume;
