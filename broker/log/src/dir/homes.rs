//! Who may make, rename or empty a partition's directory: one at a time for each name.
//!
//! What always holds: a directory of a partition is made, renamed away or set aside only by whoever
//! holds its name, and its owner is found out while the name is held. A removal holds it until its
//! *done* is durable, so that those of several topics of one name go one after another, and the
//! next topic's directory is made behind the last of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millrace_host::sync::{Arc, Mutex, lock};
use tokio::sync::OwnedMutexGuard;

use crate::mark::Incarnation;

/// Whose directory was made in this process and could not be given its identity yet. Until it has
/// one nothing on the disk tells whose it is.
type Begun = Option<Incarnation>;

/// The names of one log directory that somebody holds or waits for.
#[derive(Debug, Default)]
pub(crate) struct Homes {
    names: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::Mutex<Begun>>>>,
}

/// A name that is held; dropping it gives it to the next in the queue.
#[derive(Debug)]
pub(crate) struct Home {
    homes: Arc<Homes>,
    path: PathBuf,
    /// Gone only while it is dropped.
    begun: Option<OwnedMutexGuard<Begun>>,
}

impl Homes {
    /// Waits for the name of the directory at `path`; first come, first served.
    pub(crate) async fn hold(self: &Arc<Self>, path: &Path) -> Home {
        let begun = self.name(path).lock_owned().await;
        self.held(path, begun)
    }

    /// Takes the name if nobody holds it or waits for it.
    pub(crate) fn try_hold(self: &Arc<Self>, path: &Path) -> Option<Home> {
        let begun = self.name(path).try_lock_owned().ok()?;
        Some(self.held(path, begun))
    }

    fn name(&self, path: &Path) -> Arc<tokio::sync::Mutex<Begun>> {
        let mut names = lock(&self.names);
        Arc::clone(names.entry(path.to_owned()).or_default())
    }

    fn held(self: &Arc<Self>, path: &Path, begun: OwnedMutexGuard<Begun>) -> Home {
        Home {
            homes: Arc::clone(self),
            path: path.to_owned(),
            begun: Some(begun),
        }
    }
}

impl Home {
    /// Whose directory was begun here and has no identity yet.
    pub(crate) fn begun(&self) -> Option<Incarnation> {
        self.begun.as_deref().copied().flatten()
    }

    /// A directory was begun, or no longer is one without an identity.
    pub(crate) fn set_begun(&mut self, whose: Option<Incarnation>) {
        if let Some(begun) = self.begun.as_deref_mut() {
            *begun = whose;
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mut names = lock(&self.homes.names);
        let says_nothing = self.begun().is_none();
        self.begun = None;
        let idle = |name: &Arc<_>| Arc::strong_count(name) == 1;
        if says_nothing && names.get(&self.path).is_some_and(idle) {
            names.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Incarnation = Incarnation {
        topic_id: [1; 16],
        partition: 0,
    };

    #[tokio::test]
    async fn a_name_is_held_by_one_and_taken_in_turn() {
        let (homes, path) = (Arc::new(Homes::default()), Path::new("/data/t-0"));
        let first = homes.hold(path).await;
        assert!(homes.try_hold(path).is_none());
        assert!(homes.try_hold(Path::new("/data/t-1")).is_some());
        let next = async {
            let held = homes.hold(path).await;
            // Whoever waits in the queue comes before whoever asks now.
            assert!(homes.try_hold(path).is_none());
            drop(held);
        };
        let give = async { drop(first) };
        tokio::join!(next, give);
        assert!(homes.try_hold(path).is_some());
        assert!(lock(&homes.names).is_empty(), "nothing is kept of it");
    }

    #[tokio::test]
    async fn a_directory_without_identity_is_remembered_until_it_has_one() {
        let (homes, path) = (Arc::new(Homes::default()), Path::new("/data/t-0"));
        homes.hold(path).await.set_begun(Some(OURS));
        assert_eq!(homes.hold(path).await.begun(), Some(OURS));
        homes.hold(path).await.set_begun(None);
        assert!(lock(&homes.names).is_empty());
    }
}
