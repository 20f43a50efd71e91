//! Walks over the batch headers of a segment; what goes wrong is told with the file and the place.
//!
//! What always holds: a walk ends at the segment's end as it was when the walk began.

use std::io;
use std::sync::Arc;

use super::tail::End;
use super::walk::{Step, Walk, WalkError};
use super::{Segment, names};
use crate::error::Error;
use crate::handles::Handles;

/// A walk over the segment's headers from `position`, up to its present end.
pub(crate) fn walk(
    handles: &Handles,
    segment: &Arc<Segment>,
    position: u64,
) -> Result<Walk, Error> {
    let file = handles
        .log(segment)
        .map_err(|error| at("open", segment, error))?;
    let from = End {
        bytes: position,
        offset: segment.base(),
    };
    Ok(Walk::new(file, from, segment.end().bytes, segment.holes()))
}

/// The next step of such a walk.
pub(crate) async fn next(walk: &mut Walk, segment: &Segment) -> Result<Option<Step>, Error> {
    walk.next().await.map_err(|error| match error {
        WalkError::Io(error) => at("read", segment, error),
        WalkError::Bad { position, what } => damaged(segment, position, &what),
    })
}

/// No sound batch stands where one must.
pub(crate) fn damaged(segment: &Segment, position: u64, what: &str) -> Error {
    let path = segment.path(names::LOG);
    Error::BadFile {
        what: format!("{} at byte {position}: {what}", path.display()),
    }
}

pub(super) fn at(doing: &'static str, segment: &Segment, error: io::Error) -> Error {
    Error::io(doing, &segment.path(names::LOG))(error)
}
