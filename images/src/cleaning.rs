//! Cleaning in a history: some batches go, of some the header stays, the others stay.

use bytes::Bytes;
use millrace_host::BoxFuture;
use millrace_log::error::Error;
use millrace_log::partition::{Cleaned, Filter, Kept, Pace, Replaced, Replacement, Uncleanable};
use millrace_protocol::records::{self, Batch};

use crate::Wrong;
use crate::draw::Draw;
use crate::node::{Part, text};
use crate::promise::sole_producer;

/// As fast as it goes.
struct Unpaced;

impl Pace for Unpaced {
    fn take(&self, _bytes: u64) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// What becomes of the batch at an offset: drawn from that and from the round.
fn fate(base_offset: i64, round: i64) -> Kept {
    match (base_offset / 2 + round) % 3 {
        0 => Kept::Dropped,
        1 => Kept::Rewritten,
        _ => Kept::Whole,
    }
}

/// What a round leaves of the batches.
struct Round(i64);

impl Filter for Round {
    fn batch(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<Kept, Uncleanable> {
        let kept = fate(batch.header.base_offset, self.0);
        if kept == Kept::Rewritten && records::keep_header(batch, true, out) == records::Kept::Whole
        {
            return Ok(Kept::Whole);
        }
        Ok(kept)
    }
}

impl Round {
    /// What is left of a batch that is stored; of a segment's last one at least the header.
    fn left(&self, bytes: &Bytes, is_last: bool) -> Result<Option<Bytes>, Wrong> {
        let batch = Batch::parse(bytes.clone()).map_err(text)?;
        let kept = fate(batch.header.base_offset, self.0);
        if kept == Kept::Dropped && !is_last {
            return Ok(None);
        }
        let mut out = Vec::new();
        let is_same = kept == Kept::Whole
            || records::keep_header(&batch, true, &mut out) == records::Kept::Whole;
        Ok(Some(if is_same { bytes.clone() } else { out.into() }))
    }
}

impl Part {
    /// Has all that is written settled and its producers written down, as before a cleaning.
    pub(crate) async fn settled(&mut self) -> Result<(), Wrong> {
        self.log.prepare_cleaning().await.map_err(text)?;
        let end = self.log.log_end();
        let covered = self.log.cover_start(end, || sole_producer(end));
        covered.await.map_err(text)
    }

    /// Makes one of the first `count` segments, and says what the log is once it is replaced.
    pub(crate) async fn clean_beside(&mut self, count: usize, round: i64) -> Result<Made, Wrong> {
        let cleaning = self.log.begin_cleaning().map_err(text)?;
        let views = cleaning.segments();
        let end = views.get(count).ok_or("too few segments")?.base_offset;
        let mut own = Round(round);
        let cleaned = cleaning.clean(0..count, end, &Unpaced, &mut own);
        Ok(Made {
            cleaned: cleaned.await.map_err(text)?,
            end,
            round: Round(round),
        })
    }

    /// Begins to put it in the place of the others: from now on the log may be either.
    pub(crate) fn begin_replacement(&mut self, made: Made) -> Result<Replacement, Wrong> {
        let Made {
            cleaned,
            end,
            round,
        } = made;
        let log_start = self.log.log_start();
        self.promise(|promise| {
            let mut left = Vec::new();
            for (base, next, bytes) in &promise.batches {
                if *next > end || *next <= log_start {
                    left.push((*base, *next, bytes.clone()));
                } else if let Some(bytes) = round.left(bytes, *next == end)? {
                    left.push((*base, *next, bytes));
                }
            }
            promise.before_cleaning = Some(std::mem::replace(&mut promise.batches, left));
            Ok::<_, Wrong>(())
        })?;
        self.log.begin_replacement(cleaned).map_err(text)
    }

    /// Cleans the first `count` segments into one.
    pub(crate) async fn clean(&mut self, count: usize, round: i64) -> Result<(), Wrong> {
        let made = self.clean_beside(count, round).await?;
        let outcome = self.begin_replacement(made)?.run().await;
        self.finish_replacement(outcome).await
    }

    /// Cleans what may be cleaned of the first segments, if anything is.
    pub(crate) async fn clean_some(&mut self, draw: &mut Draw) -> Result<(), Wrong> {
        self.settled().await?;
        let segments = self.log.begin_cleaning().map_err(text)?.segments().len();
        let sealed = segments.saturating_sub(1);
        if sealed == 0 {
            return Ok(());
        }
        let (count, round) = (1 + draw.below(sealed), draw.below(3));
        self.clean(count, round as i64).await
    }

    /// Shows it, and removes the files of the others.
    pub(crate) async fn finish_replacement(
        &mut self,
        outcome: Result<Replaced, Error>,
    ) -> Result<(), Wrong> {
        let removal = self.log.finish_replacement(outcome).map_err(text)?;
        self.promise(|promise| promise.before_cleaning = None);
        removal.run().await.map_err(text)
    }
}

/// A segment that was made of the first ones of a log.
pub(crate) struct Made {
    cleaned: Cleaned,
    end: i64,
    round: Round,
}
