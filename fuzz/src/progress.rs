//! How many inputs got further than the first check of their target.
//!
//! What always holds: only the calling thread is counted; the programs say it now and then on
//! standard error, where `cargo xtask fuzz` reads the last word.

use std::cell::Cell;

thread_local! {
    static INPUTS: Cell<u64> = const { Cell::new(0) };
    static PAST: Cell<u64> = const { Cell::new(0) };
    static NOTED: Cell<bool> = const { Cell::new(false) };
}

/// Inputs between two words.
const SAID_EVERY: u64 = 1024;

/// This input is past the header: what follows is what it wants to reach.
pub(crate) fn past_the_header() {
    NOTED.set(true);
}

/// Gives one input to a target, and counts it.
pub fn give(target: fn(&[u8]), bytes: &[u8]) {
    NOTED.set(false);
    target(bytes);
    let inputs = INPUTS.get() + 1;
    INPUTS.set(inputs);
    PAST.set(PAST.get() + u64::from(NOTED.get()));
    if inputs.is_multiple_of(SAID_EVERY) || inputs.is_power_of_two() {
        eprintln!("past the header: {} of {inputs} inputs", PAST.get());
    }
}
