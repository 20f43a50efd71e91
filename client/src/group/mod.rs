//! Classic consumer groups: members share the partitions of topics among themselves, and their offsets
//! are kept by a broker, the coordinator.
//!
//! What always holds: a record is given to the group at least once, unless an application moves its
//! position or commits offsets of its own; an offset that is committed without being told to lies
//! behind no record that the application isn't done with; a partition is read by at most one member of
//! a generation.
//!
//! `member` decides what a member does next, without doing anything; `driver` does it. Which partitions
//! a member gets is decided by the leader of its group with one of the `assignor`s. What the application
//! asks for itself is in `committing`.

mod assignor;
mod committing;
mod driver;
mod member;
pub(crate) mod offsets;
mod options;
mod protocol;
mod requests;

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

use crate::Error;
use crate::cluster::lock;
pub use assignor::Assignor;
pub(crate) use committing::{Which, commit, committed};
pub(crate) use driver::attend;
pub use options::{GroupOptions, OffsetAndMetadata, Rebalance, RebalanceListener, Topics};

/// The group of a consumer: what its handle and its membership's task share.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) options: GroupOptions,
    /// The membership has something to do.
    pub(crate) wake: Notify,
    wishes: Mutex<Wishes>,
    /// Topics that it wants to know of.
    interest: Mutex<Vec<Arc<str>>>,
    /// One commit at a time, so that an older one is never tried again behind a newer one.
    committing: tokio::sync::Mutex<()>,
    /// How the membership ended.
    ended: watch::Sender<Option<Result<(), Error>>>,
}

/// What the application wants of its membership.
#[derive(Debug, Default)]
struct Wishes {
    commits: bool,
    closes: bool,
}

impl Group {
    pub(crate) fn new(options: GroupOptions) -> Self {
        Self {
            options,
            wake: Notify::new(),
            wishes: Mutex::default(),
            interest: Mutex::default(),
            committing: tokio::sync::Mutex::default(),
            ended: watch::Sender::new(None),
        }
    }

    /// The topics that it wants to know of.
    pub(crate) fn topics(&self) -> Vec<Arc<str>> {
        lock(&self.interest).clone()
    }

    /// Commits soon, without telling how it went.
    pub(crate) fn commit_soon(&self) {
        lock(&self.wishes).commits = true;
        self.wake.notify_one();
    }

    /// Ends the membership; tells how that went.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        lock(&self.wishes).closes = true;
        self.wake.notify_one();
        let mut ended = self.ended.subscribe();
        let outcome = ended.wait_for(Option::is_some).await;
        let outcome = outcome.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or(Err(Error::Closed))
    }
}
