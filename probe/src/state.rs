//! Which bug is planted in this thread, how often it was asked for, and what was reached.

#[cfg(feature = "armed")]
mod armed {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use crate::{Branch, Bug};

    thread_local! {
        pub(super) static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
        pub(super) static FIRED: Cell<u64> = const { Cell::new(0) };
        pub(super) static REACHED: RefCell<BTreeMap<Branch, u64>> = const { RefCell::new(BTreeMap::new()) };
    }
}

use std::collections::BTreeMap;
use std::marker::PhantomData;

use crate::{Branch, Bug};

/// Whether this bug is planted. It is asked where the bug would bite, so that a `true` counts as the
/// bug having fired.
#[cfg(feature = "armed")]
pub fn planted(bug: Bug) -> bool {
    let is_planted = armed::PLANTED.get() == Some(bug);
    if is_planted {
        armed::FIRED.set(armed::FIRED.get() + 1);
    }
    is_planted
}

/// Whether this bug is planted: never, in a build that is not armed.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Notes that a branch was taken.
#[cfg(feature = "armed")]
pub fn reached(branch: Branch) {
    armed::REACHED.with_borrow_mut(|reached| *reached.entry(branch).or_default() += 1);
}

/// Notes nothing, in a build that is not armed.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn reached(_: Branch) {}

/// How often the planted bug was asked for where it bites, since it was planted.
pub fn fired() -> u64 {
    #[cfg(feature = "armed")]
    return armed::FIRED.get();
    #[cfg(not(feature = "armed"))]
    0
}

/// How often each branch was reached in this thread since this was last asked.
pub fn take_reached() -> BTreeMap<Branch, u64> {
    #[cfg(feature = "armed")]
    return armed::REACHED.take();
    #[cfg(not(feature = "armed"))]
    BTreeMap::new()
}

/// A bug stays planted in this thread until this is dropped.
#[derive(Debug)]
#[must_use = "the bug is gone when this is dropped"]
pub struct Armed {
    /// It belongs to its thread.
    thread: PhantomData<*const ()>,
}

/// Plants one bug in this thread.
///
/// # Panics
/// In a build without the feature `armed`, where it would do nothing; and when one is planted.
#[cfg(feature = "armed")]
pub fn arm(bug: Bug) -> Armed {
    assert!(
        armed::PLANTED.get().is_none(),
        "a bug is planted in this thread already"
    );
    armed::PLANTED.set(Some(bug));
    armed::FIRED.set(0);
    Armed {
        thread: PhantomData,
    }
}

/// Plants one bug in this thread.
///
/// # Panics
/// Always: this build is not armed.
#[cfg(not(feature = "armed"))]
pub fn arm(bug: Bug) -> Armed {
    panic!("{bug:?} can't be planted: this build is without the feature `armed`")
}

impl Drop for Armed {
    fn drop(&mut self) {
        #[cfg(feature = "armed")]
        armed::PLANTED.set(None);
    }
}

#[cfg(all(test, feature = "armed"))]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_planted_until_its_guard_goes() {
        let armed = arm(Bug::AckBeforeSync);
        assert!(planted(Bug::AckBeforeSync) && !planted(Bug::MarkBeforeSync));
        assert_eq!(fired(), 1);
        drop(armed);
        assert!(!planted(Bug::AckBeforeSync));
    }

    #[test]
    fn what_was_reached_is_counted_until_it_is_taken() {
        reached(Branch::PartitionRecovered);
        reached(Branch::PartitionRecovered);
        assert_eq!(take_reached()[&Branch::PartitionRecovered], 2);
        assert!(take_reached().is_empty());
    }
}
