//! Crash images, exhaustively: short histories are recorded operation by operation, and after each
//! one every state that a kill or a power cut may leave is opened again and judged.
//!
//! What is judged: every promise is kept; a second start finds what the first one found, though
//! nothing un-synced of the first is left; the log takes records, and a third start finds them.

#[cfg(test)]
mod cut_off;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod history;
#[cfg(test)]
mod judge;
mod planted_tests;
#[cfg(test)]
pub(crate) mod promise;
mod rule_tests;
#[cfg(test)]
mod volume;
