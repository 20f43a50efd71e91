//! How far a member came, told to the coordinator; also as somebody that it is no more.

use std::collections::BTreeSet;

use millrace_client::{Error, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::OffsetCommitRequest;

use super::{Member, Session};
use crate::groups::book::{ANSWER, Asked, Wish, convict};
use crate::groups::calls::{self, Seat};
use crate::groups::wire::Place;

/// The broker keeps no more beside an offset, in bytes.
const BESIDE_MAX: usize = 4096;

impl Member {
    /// Commits some of these places as the member of a seat.
    pub(super) async fn commit(
        &mut self,
        session: Session<'_>,
        seat: &Seat,
        places: &BTreeSet<Place>,
    ) -> Result<(), Error> {
        let topics = self.book.topics();
        let mut wanted = Vec::new();
        for place in places {
            let draw = session.draw();
            let position = self.positions.get(place).copied().unwrap_or(0);
            let step = i64::try_from(draw / 64 % 50).unwrap_or(0);
            match draw % 16 {
                0..8 => {}
                8 => wanted.push((place.clone(), Some((position - step).max(0)))),
                _ => wanted.push((place.clone(), Some(position + step))),
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let expires = self.plan.expires && session.draw().is_multiple_of(2);
        let wish = Wish {
            seat,
            life: session.life,
            offsets: wanted,
            expires,
        };
        let asked = self.book.wishes(&wish);
        let how = how(session.draw(), expires);
        let rows = rows(&topics, &wish, &asked, session.draw());
        let codes = calls::commit(session.client, seat, how, &rows).await?;
        self.book.wished(seat, &asked, &codes, session.of());
        for ((place, offset), code) in wish.offsets.into_iter().zip(codes) {
            self.answered(session, &place, code);
            if let Some(offset) = offset.filter(|_| code == ErrorCode::None) {
                self.positions.insert(place, offset);
            }
        }
        self.beat(session);
        Ok(())
    }

    /// Whether a commit may be answered so.
    fn answered(&self, session: Session<'_>, place: &Place, code: ErrorCode) {
        let may = [
            ErrorCode::None,
            ErrorCode::OffsetMetadataTooLarge,
            ErrorCode::RebalanceInProgress,
            ErrorCode::IllegalGeneration,
            ErrorCode::UnknownMemberId,
            ErrorCode::FencedInstanceId,
            ErrorCode::GroupIdNotFound,
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::RequestTimedOut,
        ];
        if !may.contains(&code) {
            let why = format!(
                "{}: a commit of {place:?} is answered {code:?}",
                self.plan.name
            );
            convict(session.progress, ANSWER, why);
        }
    }
}

/// The version of a commit, and how long offsets are to be kept.
pub(in crate::groups) fn how(draw: u64, expires: bool) -> (i16, i64) {
    if expires {
        let keep_ms = i64::try_from(draw / 16 % 400).unwrap_or(0);
        return (2 + i16::try_from(draw % 3).unwrap_or(0), keep_ms);
    }
    let version = calls::version::<OffsetCommitRequest>(draw);
    (version, -1)
}

/// The rows of a commit; now and then one says more beside its offset than is kept.
pub(in crate::groups) fn rows<'a>(
    topics: &'a [Topic],
    wish: &Wish<'_>,
    asked: &Asked,
    draw: u64,
) -> Vec<(&'a Topic, i32, i64, String)> {
    let mut rows = Vec::new();
    for ((place, number), (_, offset)) in asked.numbers.iter().zip(&wish.offsets) {
        let topic = topics.iter().find(|topic| topic.name == place.0);
        if let (Some(topic), Some(offset)) = (topic, offset) {
            let mut beside = format!("{number} ");
            if draw.is_multiple_of(40) && rows.is_empty() {
                beside.push_str(&"x".repeat(BESIDE_MAX));
            }
            rows.push((topic, place.1, *offset, beside));
        }
    }
    rows
}
