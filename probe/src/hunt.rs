//! Hunting planted bugs, several side by side: what every hunter does, whatever runs it hunts with.
//!
//! What always holds: each bug is hunted once, by whoever is free; what came of it is one line with
//! tabs between, printed when it ends; a run that stands still ends the process, since nothing else
//! could end it.

use std::io::Write;
use std::process::exit;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Runs end by virtual time; one that takes this long stands still.
const STILL_AFTER: Duration = Duration::from_mins(4);
/// Bugs hunted side by side.
const HUNTERS: usize = 2;

/// What hunting one bug came to.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The bug's name.
    pub bug: String,
    /// The run that caught it, and what that said; `None` when none did.
    pub by: Option<(String, String)>,
    /// Runs tried.
    pub tried: u64,
    /// How often it bit in them.
    pub fired: u64,
}

impl Caught {
    /// Nothing tried yet.
    pub fn none_yet(bug: String) -> Self {
        Self {
            bug,
            by: None,
            tried: 0,
            fired: 0,
        }
    }

    /// The bug, the kind of run, the run that caught it or nothing, runs tried, times it bit, what
    /// was said.
    fn line(&self, kind: &str) -> String {
        let Self {
            bug, tried, fired, ..
        } = self;
        let (by, said) = match &self.by {
            Some((by, said)) => (by.as_str(), said.as_str()),
            None => ("", ""),
        };
        format!("{bug}\t{kind}\t{by}\t{tried}\t{fired}\t{said}")
    }
}

/// Told by a hunter which run it begins.
#[derive(Debug)]
pub struct Tell(SyncSender<Event>);

impl Tell {
    /// This run begins.
    pub fn begins(&self, run: String) {
        // Nobody listens any more when a run stands still.
        self.0.send(Event::Begins(run)).ok();
    }
}

#[derive(Debug)]
enum Event {
    Begins(String),
    Ends(Caught),
}

/// Hunts all of `bugs` with one kind of runs, and prints what came of each. A bug belongs to the
/// thread that `hunt` is called in.
pub fn hunt_all<B: Copy + Send + Sync>(
    kind: &str,
    bugs: &[B],
    hunt: impl Fn(B, &Tell) -> Caught + Sync,
) {
    let next = Mutex::new(bugs.iter().copied());
    let (tell, told) = sync_channel(64);
    std::thread::scope(|scope| {
        for _ in 0..HUNTERS {
            let (tell, next, hunt) = (Tell(tell.clone()), &next, &hunt);
            scope.spawn(move || {
                let mine = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some(bug) = mine() {
                    tell.0.send(Event::Ends(hunt(bug, &tell))).ok();
                }
            });
        }
        drop(tell);
        let mut last = Vec::new();
        loop {
            match told.recv_timeout(STILL_AFTER) {
                Ok(Event::Begins(run)) => {
                    last.push(run);
                    last.drain(..last.len().saturating_sub(HUNTERS));
                }
                Ok(Event::Ends(caught)) => say(&caught.line(kind)),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let mut error = std::io::stderr().lock();
                    writeln!(error, "a run stands still, one of: {}", last.join(", ")).ok();
                    exit(1);
                }
            }
        }
    });
}

/// Whoever reads the lines reads them by the line; one that has gone needs none.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}
