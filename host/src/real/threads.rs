//! Starting threads, at the usual priority whoever asks.
//!
//! What always holds: a thread that is started here doesn't stand back, even if the one that asks does
//! ([`stand_back`]): Linux gives a new thread the place of the one that starts it, and nobody may be put
//! forward again. So compaction, which is often the first to sync, leaves no slow threads to producers.

use std::cell::RefCell;
use std::io;
use std::sync::mpsc::sync_channel;
use std::thread::Builder;

use tokio::runtime::Handle;

/// How much further back than the others the threads that stand back are ([`nice(2)`]; the last place is
/// 19): beside a busy thread of the others one gets about a tenth of a processor.
///
/// [`nice(2)`]: https://man7.org/linux/man-pages/man2/nice.2.html
const BACKGROUND_NICE: i32 = 10;

thread_local! {
    /// Of a thread that stands back: whose workers start threads for it.
    static USUAL: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// Puts the calling thread, for good, behind all others. Those of `usual` start its threads.
pub(super) fn stand_back(usual: Handle) {
    // Of the calling thread alone, on Linux.
    match rustix::process::nice(BACKGROUND_NICE) {
        Ok(_) => USUAL.set(Some(usual)),
        Err(error) => tracing::warn!(%error, "compaction can't stand back behind other work"),
    }
}

/// Starts a thread. From one that stands back it blocks until another one has.
pub(super) fn start(builder: Builder, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let Some(usual) = USUAL.with_borrow(Clone::clone) else {
        return builder.spawn(work).map(drop);
    };
    let (tell, told) = sync_channel(1);
    drop(usual.spawn(async move {
        // Whoever asks waits for it.
        drop(tell.send(builder.spawn(work).map(drop)));
    }));
    let ended = || io::Error::other("the process ends");
    told.recv().map_err(|_| ended())?
}
