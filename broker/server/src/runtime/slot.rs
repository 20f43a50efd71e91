//! A partition's place in the registry: being opened, open, or not to be opened.
//!
//! What always holds: one opening at a time; what failed for a reason that may pass is tried again
//! when it is asked for, after a time that doubles; what failed for good says so until the next
//! start.

use std::fmt;
use std::time::Duration;

use millrace_host::sync::{Arc, Mutex, MutexGuard, PoisonError};
use millrace_host::{Clock, Mono};
use millrace_log::error::Error;
use millrace_protocol::error_code::ErrorCode;
use tokio::sync::OnceCell;

use crate::cluster::MetadataError;

/// How long after the first failure an opening is tried again.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
/// How long at most after a further one.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// Why a partition isn't served.
#[derive(Clone, Debug)]
pub(crate) struct NotServed {
    pub(crate) code: ErrorCode,
    pub(crate) message: Arc<str>,
    /// Whether trying again may help.
    pub(super) may_pass: bool,
}

impl NotServed {
    /// For a reason that may pass.
    pub(super) fn for_now(code: ErrorCode, reason: impl fmt::Display) -> Self {
        Self {
            code,
            message: reason.to_string().into(),
            may_pass: true,
        }
    }

    /// The storage of the partition fails it until the next start.
    pub(super) fn for_good(reason: impl fmt::Display) -> Self {
        Self {
            may_pass: false,
            ..Self::for_now(ErrorCode::KafkaStorageError, reason)
        }
    }
}

impl From<Error> for NotServed {
    fn from(error: Error) -> Self {
        match error {
            Error::Io { .. } | Error::Access { .. } | Error::DiskFull { .. } => {
                Self::for_now(ErrorCode::KafkaStorageError, error)
            }
            Error::BadFile { .. }
            | Error::Offline { .. }
            | Error::InUse { .. }
            | Error::Foreign { .. }
            | Error::OtherFormat { .. }
            | Error::OldCopy { .. }
            | Error::Corrupt { .. }
            | Error::PartitionOffline { .. } => Self::for_good(error),
        }
    }
}

impl From<MetadataError> for NotServed {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Refused(_) => Self::for_now(ErrorCode::KafkaStorageError, error),
            MetadataError::Log(_)
            | MetadataError::Damaged(_)
            | MetadataError::Replay(_)
            | MetadataError::Record(_)
            | MetadataError::Unknown(_) => Self::for_good(error),
        }
    }
}

/// The place of one partition; `T` is what it is when it is open.
#[derive(Debug)]
pub(super) struct Slot<T> {
    open: OnceCell<Arc<T>>,
    failed: Mutex<Option<Failed>>,
}

/// An opening that failed.
#[derive(Debug)]
struct Failed {
    why: NotServed,
    pause: Duration,
    /// When it may be tried again; `None` for never.
    again_at: Option<Mono>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            open: OnceCell::new(),
            failed: Mutex::new(None),
        }
    }
}

impl<T> Slot<T> {
    /// What is open, if it is.
    pub(super) fn get(&self) -> Option<&Arc<T>> {
        self.open.get()
    }

    /// What is open; opened by `open` if need be, and if it isn't too early to try again.
    pub(super) async fn get_or_open(
        &self,
        clock: &dyn Clock,
        open: impl AsyncFnOnce() -> Result<Arc<T>, NotServed>,
    ) -> Result<Arc<T>, NotServed> {
        let opening = async || {
            if let Some(why) = self.refusal(clock.now().mono) {
                return Err(why);
            }
            let opened = open().await;
            match &opened {
                Ok(_) => *self.failed() = None,
                Err(why) => self.note(clock.now().mono, why),
            }
            opened
        };
        self.open.get_or_try_init(opening).await.cloned()
    }

    /// Nothing is opened here any more. Waits for an opening that is under way: what is open, if
    /// something is.
    pub(super) async fn end(&self, why: NotServed) -> Option<Arc<T>> {
        let refuse = async || {
            *self.failed() = Some(Failed {
                why: why.clone(),
                pause: AGAIN_MAX,
                again_at: None,
            });
            Err(why)
        };
        self.open.get_or_try_init(refuse).await.ok().cloned()
    }

    /// Why it isn't tried now.
    pub(super) fn refusal(&self, now: Mono) -> Option<NotServed> {
        let failed = self.failed();
        let failed = failed.as_ref()?;
        let too_early = failed.again_at.is_none_or(|at| now < at);
        too_early.then(|| failed.why.clone())
    }

    fn note(&self, now: Mono, why: &NotServed) {
        let mut failed = self.failed();
        let before = failed.as_ref().map(|failed| failed.pause);
        let pause = before.map_or(AGAIN_FIRST, |pause| (pause * 2).min(AGAIN_MAX));
        *failed = Some(Failed {
            why: why.clone(),
            pause,
            again_at: why.may_pass.then(|| now + pause),
        });
    }

    fn failed(&self) -> MutexGuard<'_, Option<Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use millrace_sim::Sim;

    use super::*;

    /// Asks for the partition after `pause`; whether it was tried, and what came of it.
    async fn ask(
        sim: &Sim,
        slot: &Slot<u8>,
        pause: Duration,
        result: Result<u8, NotServed>,
    ) -> (bool, Result<u8, ErrorCode>) {
        let clock = sim.node("n").clock;
        clock.sleep_until(clock.now().mono + pause).await;
        let tried = Cell::new(false);
        let open = async || {
            tried.set(true);
            result.map(Arc::new)
        };
        let opened = slot.get_or_open(clock.as_ref(), open).await;
        let opened = opened.map(|open| *open).map_err(|why| why.code);
        (tried.get(), opened)
    }

    fn passing() -> Result<u8, NotServed> {
        Err(NotServed::for_now(ErrorCode::KafkaStorageError, "for now"))
    }

    const ERROR: Result<u8, ErrorCode> = Err(ErrorCode::KafkaStorageError);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_may_pass_is_tried_again_ever_more_slowly_until_it_opens() {
        let sim = Sim::new(1);
        sim.block_on(async {
            let slot = Slot::default();
            assert_eq!(ask(&sim, &slot, MS, passing()).await, (true, ERROR));
            for pause in [100, 200, 400] {
                assert_eq!(ask(&sim, &slot, MS, Ok(1)).await, (false, ERROR));
                assert_eq!(ask(&sim, &slot, pause * MS, passing()).await, (true, ERROR));
            }
            for _ in 0..20 {
                assert!(ask(&sim, &slot, AGAIN_MAX, passing()).await.0);
            }
            assert_eq!(ask(&sim, &slot, AGAIN_MAX, Ok(2)).await, (true, Ok(2)));
            assert_eq!(ask(&sim, &slot, MS, passing()).await, (false, Ok(2)));
        });
    }

    #[test]
    fn an_end_waits_for_the_opening_under_way_and_nothing_is_opened_behind_it() {
        let sim = Sim::new(1);
        sim.block_on(async {
            let slot = Slot::default();
            let clock = sim.node("n").clock;
            let opening = slot.get_or_open(clock.as_ref(), async || {
                sim.pause(MS).await;
                Ok(Arc::new(1))
            });
            let removed = || NotServed::for_good("it was removed");
            let (opened, ended) = tokio::join!(opening, slot.end(removed()));
            assert_eq!(
                (opened.ok().as_deref(), ended.as_deref()),
                (Some(&1), Some(&1))
            );
            let slot = Slot::default();
            assert_eq!(slot.end(removed()).await, None);
            assert_eq!(ask(&sim, &slot, MS, Ok(1)).await, (false, ERROR));
        });
    }

    #[test]
    fn what_failed_for_good_is_not_tried_again() {
        let sim = Sim::new(1);
        sim.block_on(async {
            let slot = Slot::default();
            let damaged = Error::PartitionOffline {
                partition: "t-0".into(),
                reason: "its bytes are missing".into(),
            };
            let first = ask(&sim, &slot, MS, Err(damaged.into())).await;
            assert_eq!(first, (true, ERROR));
            assert_eq!(
                ask(&sim, &slot, 100 * AGAIN_MAX, Ok(1)).await,
                (false, ERROR)
            );
        });
    }
}
