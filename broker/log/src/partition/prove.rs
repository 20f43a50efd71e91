//! Walks the headers of what is about to be shown and was not written by this process (A5).
//!
//! No checksum of a batch covers its base offset or its leader epoch, and what is sent from the page
//! cache is not looked at otherwise. What always holds: each byte that was found at an open is shown
//! only behind a walk over its headers; that is done once as somebody reads on, so what is read from
//! memory again, or was appended by this process, costs nothing.

use std::sync::Arc;

use millrace_probe::{Branch, reached};

use super::LogReader;
use crate::error::Error;
use crate::segment::tail::{End, Span};
use crate::segment::walk::{Step, Walk, WalkError};
use crate::segment::{Segment, headers, names};

impl LogReader {
    /// Up to where the bytes of `segment` from the batch `first` on, at most up to `upto`, are
    /// batches that follow each other: at least `first` itself.
    ///
    /// # Errors
    ///
    /// When `first` does not stand where it should, or the file can't be read.
    pub(super) async fn prove(
        &self,
        segment: &Arc<Segment>,
        first: &Span,
        upto: u64,
    ) -> Result<u64, Error> {
        let Some((from, walk_to)) = segment.tail(|tail| tail.unproven(first, upto)) else {
            return Ok(upto);
        };
        let file = self.open(segment)?;
        let mut walk = Walk::behind(file, from, segment.end().bytes, segment.holes());
        let mut at = from;
        let mut broken = None;
        while at.bytes < walk_to {
            let step = match walk.next().await {
                Ok(Some(step)) => self.has_its_epoch(step),
                Ok(None) => break,
                Err(WalkError::Bad { what, .. }) => Err(what),
                Err(WalkError::Io(error)) => {
                    return Err(Error::io("read", &segment.path(names::LOG))(error));
                }
            };
            match step {
                Ok(step) => {
                    at = End {
                        bytes: step.end(),
                        offset: step.header.last_offset().saturating_add(1),
                    };
                }
                Err(what) => {
                    broken = Some(what);
                    break;
                }
            }
        }
        segment.tail(|tail| tail.walked(from.bytes, at));
        let Some(what) = broken else { return Ok(upto) };
        reached(Branch::ChainBrokenAtRead);
        if at.bytes == first.position {
            return Err(headers::damaged(segment, at.bytes, &what));
        }
        Ok(at.bytes)
    }

    /// The step, if its leader epoch is the one that the log knows for its offset.
    fn has_its_epoch(&self, step: Step) -> Result<Step, String> {
        let (base, epoch) = (step.header.base_offset, step.header.partition_leader_epoch);
        let later = self.epochs.partition_point(|(_, start)| *start <= base);
        match later.checked_sub(1).map(|at| self.epochs[at].0) {
            Some(known) if known != epoch => {
                Err(format!("leader epoch {epoch} where {known} is due"))
            }
            _ => Ok(step),
        }
    }
}
