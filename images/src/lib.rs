//! Crash images, exhaustively: short histories of a log directory are recorded operation by
//! operation, and every state that a kill or a power cut may leave after each of them is opened
//! again and judged, worked on, and crashed a second time.
//!
//! What is judged: every promise is kept; nothing is invented; the log takes records, and what it
//! acknowledges then is there behind the next crash too. All in memory, on the calling thread;
//! everything that is drawn comes from the plan's seed and the image's number.

mod cleaning;
mod content;
mod cut_off;
mod directory;
pub mod disk;
mod draw;
pub mod histories;
mod judge;
mod node;
pub mod program;
mod promise;
mod stage;
#[cfg(test)]
mod tests;
pub mod volume;

use std::fmt;

pub use cut_off::{Kind, Scale};
pub use draw::Draw;
pub use histories::{HISTORIES, History};
pub use judge::{Counts, Failure, Plan, Processing, Subject, Work, every_image};
pub use promise::Promises;
pub use stage::{Recorded, witness};

/// What is wrong, for people.
pub type Wrong = String;

/// The first broken promise of a run.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The history.
    pub history: &'static str,
    /// In which image of it; `None`: while it was played.
    pub image: Option<u64>,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.history, self.what)
    }
}

/// Judges the images of one history.
pub fn judge(history: &History, plan: Plan) -> Result<Counts, Broken> {
    let broken = |image, what| Broken {
        history: history.name,
        image,
        what,
    };
    let recorded = history.record(None);
    let recorded = recorded.map_err(|wrong| broken(None, wrong))?;
    every_image(&directory::Directory, &recorded, plan)
        .map_err(|failure| broken(Some(failure.image), failure.to_string()))
}
