//! Who a member was before: it asks once more, as a process that does not know yet that it is no
//! member any more, or that another one has its name.

use millrace_client::Error;
use millrace_protocol::error_code::ErrorCode;

use super::{Member, Session};
use crate::groups::assign;
use crate::groups::book::{ANSWER, convict};
use crate::groups::calls::{self, Seat};

/// What may be answered to somebody who is no member any more, or has yet to hear of it.
const MAY: [ErrorCode; 6] = [
    ErrorCode::None,
    ErrorCode::RebalanceInProgress,
    ErrorCode::IllegalGeneration,
    ErrorCode::UnknownMemberId,
    ErrorCode::FencedInstanceId,
    ErrorCode::GroupIdNotFound,
];

impl Member {
    /// Reads how far its group came, and has its own ghost ask for something now and then.
    pub(super) async fn arrive(&mut self, session: Session<'_>) -> Result<(), Error> {
        self.fetch(session).await?;
        let old = self.old.take();
        let is_new = |old: &Seat| {
            let seat = self.seat.as_ref();
            seat.is_some_and(|seat| {
                old.member_id != seat.member_id || old.generation != seat.generation
            })
        };
        if let Some(old) = old.filter(is_new)
            && session.happens(2)
        {
            self.haunt(session, &old).await?;
        }
        Ok(())
    }

    async fn haunt(&mut self, session: Session<'_>, old: &Seat) -> Result<(), Error> {
        let is_other = self
            .seat
            .as_ref()
            .is_some_and(|seat| seat.member_id != old.member_id);
        let begin = self.book.tick(session.life);
        let (what, code) = match session.draw() % 8 {
            0 => {
                let code = calls::heartbeat(session.client, old, session.draw()).await?;
                ("a heartbeat", code)
            }
            1 => {
                let nothing = std::collections::BTreeMap::new();
                let synced = calls::sync(session.client, old, &nothing, session.draw());
                ("an assignment", synced.await?.0)
            }
            // Whoever is the same member must not leave.
            2 if is_other => {
                let code = calls::leave(session.client, old, session.draw()).await?;
                ("to leave", code)
            }
            _ => {
                let places = assign::all_places(&self.counts());
                return self.commit(session, old, &places).await;
            }
        };
        if !MAY.contains(&code) {
            let why = format!("{old:?}: {what} is answered {code:?}");
            convict(session.progress, ANSWER, why);
        }
        // One that vanished may leave as long as it is waited for, in whatever generation.
        if code == ErrorCode::None && (what != "to leave" || old.instance.is_some()) {
            self.book.let_in(old, begin, session.progress);
        }
        Ok(())
    }
}
