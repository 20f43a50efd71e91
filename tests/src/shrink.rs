//! Leaving out faults of a run that fails until only those are left that it takes.
//!
//! Delta debugging (Zeller, ddmin): halves are left out first, then smaller parts. What always holds:
//! what comes out fails by one of the same rules, and the tries are bounded.

use crate::faults::Only;
use crate::simulation::{Failure, Setup, faults_of, run_setup};

/// Runs that a shrinking takes at most.
const TRIES_MAX: u32 = 120;

/// What is left.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The faults that it takes.
    pub only: Only,
    /// How the run fails with them.
    pub failure: Failure,
    /// Runs that it took to find out.
    pub tries: u32,
}

/// Shrinks the faults of a run that fails, while `more` says that there is time.
pub fn shrink(setup: Setup, failure: Failure, more: impl Fn() -> bool) -> Shrunk {
    let all = faults_of(setup);
    let only = setup.only;
    let numbers = all.iter().map(|fault| fault.number);
    let mut left: Vec<u32> = numbers
        .filter(|number| only.is_none_or(|only| only.has(*number)))
        .collect();
    let (mut failure, mut tries) = (failure, 0);
    let mut parts = 2;
    while !left.is_empty() && tries < TRIES_MAX && more() {
        let size = left.len().div_ceil(parts);
        let mut fewer = None;
        for at in (0..left.len()).step_by(size) {
            if tries == TRIES_MAX || !more() {
                break;
            }
            let end = left.len().min(at + size);
            let rest: Vec<u32> = [&left[..at], &left[end..]].concat();
            let only = Some(Only::of(rest.iter().copied()));
            tries += 1;
            if let Err(again) = run_setup(Setup { only, ..setup })
                && is_same(&failure, &again)
            {
                fewer = Some((rest, again));
                break;
            }
        }
        match fewer {
            Some((rest, again)) => {
                (left, failure) = (rest, again);
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(left.len()),
        }
    }
    Shrunk {
        only: Only::of(left),
        failure,
        tries,
    }
}

/// Fails by one of the same rules, or both by none.
fn is_same(one: &Failure, other: &Failure) -> bool {
    let shared = one.rules.iter().any(|rule| other.rules.contains(rule));
    shared || (one.rules.is_empty() && other.rules.is_empty())
}

/// The one command that runs it again.
pub fn command(setup: Setup) -> String {
    use std::fmt::Write;
    let mut command = format!("cargo xtask sim --seed {}", setup.seed);
    if let Some(row) = setup.row {
        write!(command, " --row {row:?}").expect("text takes text");
    }
    if let Some(only) = setup.only {
        let numbers: Vec<String> = only.numbers().iter().map(u32::to_string).collect();
        // No fault at all is a list, too.
        let list = if numbers.is_empty() {
            "none".to_owned()
        } else {
            numbers.join(",")
        };
        write!(command, " --only {list}").expect("text takes text");
    }
    command
}

/// The faults that happen, in words.
pub fn in_words(setup: Setup) -> String {
    let happen = faults_of(setup).into_iter();
    let happen = happen.filter(|fault| setup.only.is_none_or(|only| only.has(fault.number)));
    let lines: Vec<String> = happen.map(|fault| fault.to_string()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_what_it_takes() {
        let setup = Setup {
            seed: 12,
            only: Some(Only::of([3, 7])),
            ..Setup::default()
        };
        assert_eq!(command(setup), "cargo xtask sim --seed 12 --only 3,7");
        let words = in_words(setup);
        assert!(
            words.lines().count() == 2 && words.contains("  7: "),
            "{words}"
        );
        let only = Some(Only::of([]));
        assert!(command(Setup { only, ..setup }).ends_with("--only none"));
    }
}
