//! Altering what handlers are asked, what they answer and what they take for granted, so that the
//! comparison with Apache Kafka can be shown to see each field, code and default.
//!
//! What always holds: unlike a planted bug an alteration belongs to the process, since the broker
//! that it alters serves sockets from several threads; there is one at a time, and none without the
//! feature `armed`.

use std::fmt;
use std::sync::Arc;

/// What is altered between the wire and the handlers. Called from any thread.
pub trait Alterations: fmt::Debug + Send + Sync {
    /// The body of a request as its handler is to read it; `None` leaves it as it came.
    fn asked(&self, api_key: i16, api_version: i16, body: &[u8]) -> Option<Vec<u8>>;

    /// The body of an answer as it is to be sent; `None` leaves it as its handler made it.
    fn answered(&self, api_key: i16, api_version: i16, body: &[u8]) -> Option<Vec<u8>>;

    /// Whether what stands for something that a request doesn't say is another value now. The name
    /// begins with that of the module that applies it and ends with a dot and the field.
    fn is_other_default(&self, name: &'static str) -> bool;
}

#[cfg(feature = "armed")]
mod armed {
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, RwLock};

    use super::Alterations;

    /// Whether there is one, so that who isn't altered takes no lock.
    pub(super) static ANY: AtomicBool = AtomicBool::new(false);
    pub(super) static NOW: RwLock<Option<Arc<dyn Alterations>>> = RwLock::new(None);
}

/// The alterations in force.
#[cfg(feature = "armed")]
pub fn alterations() -> Option<Arc<dyn Alterations>> {
    use std::sync::PoisonError;
    use std::sync::atomic::Ordering;

    if !armed::ANY.load(Ordering::Acquire) {
        return None;
    }
    let now = armed::NOW.read().unwrap_or_else(PoisonError::into_inner);
    now.clone()
}

/// The alterations in force: none, in a build that is not armed.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn alterations() -> Option<Arc<dyn Alterations>> {
    None
}

/// Whether another value is to stand for something that a request doesn't say.
#[cfg(feature = "armed")]
pub fn is_other_default(name: &'static str) -> bool {
    alterations().is_some_and(|alterations| alterations.is_other_default(name))
}

/// Whether another value is to stand for something that a request doesn't say: never, in a build
/// that is not armed.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn is_other_default(_: &'static str) -> bool {
    false
}

/// Puts alterations in force for the whole process, in place of those before; `None` ends them.
///
/// # Panics
/// In a build without the feature `armed`, where it would do nothing.
#[cfg(feature = "armed")]
pub fn alter(by: Option<Arc<dyn Alterations>>) {
    use std::sync::PoisonError;
    use std::sync::atomic::Ordering;

    let mut now = armed::NOW.write().unwrap_or_else(PoisonError::into_inner);
    armed::ANY.store(by.is_some(), Ordering::Release);
    *now = by;
}

/// Puts alterations in force.
///
/// # Panics
/// Always: this build is not armed.
#[cfg(not(feature = "armed"))]
pub fn alter(_: Option<Arc<dyn Alterations>>) {
    panic!("nothing can be altered: this build is without the feature `armed`")
}

#[cfg(all(test, feature = "armed"))]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct OneDefault;

    impl Alterations for OneDefault {
        fn asked(&self, _: i16, _: i16, _: &[u8]) -> Option<Vec<u8>> {
            None
        }

        fn answered(&self, _: i16, _: i16, body: &[u8]) -> Option<Vec<u8>> {
            Some(body.iter().rev().copied().collect())
        }

        fn is_other_default(&self, name: &'static str) -> bool {
            name == "one.field"
        }
    }

    #[test]
    fn alterations_are_in_force_until_they_are_taken_back() {
        assert!(alterations().is_none() && !is_other_default("one.field"));
        alter(Some(Arc::new(OneDefault)));
        assert!(is_other_default("one.field") && !is_other_default("another.field"));
        let altered = alterations().and_then(|by| by.answered(0, 0, &[1, 2]));
        assert_eq!(altered, Some(vec![2, 1]));
        alter(None);
        assert!(alterations().is_none() && !is_other_default("one.field"));
    }
}
