//! Somebody who reads without a group's help: takes partitions for its own, and commits how far it came
//! under a group's name, one commit right behind the other.
//!
//! What always holds: it begins each connection with what is kept, and goes on from there; only this
//! one commits under its name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Client, Error};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::OffsetCommitRequest;

use super::book::{ANSWER, Book, Wish, convict};
use super::calls::{self, Seat};
use super::wire::Place;
use super::{asks, assign, member};
use crate::ledger::Progress;
use crate::pulse::Pulse;
use crate::workload::Reach;

/// The group that it commits under.
pub(super) const GROUP: &str = "alone";
/// It waits until there are topics.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// It goes back now and then.
const REWINDS_ONE_IN: u64 = 16;

/// One who reads alone.
#[derive(Debug)]
pub(super) struct Loner {
    book: Arc<Book>,
    pause: Duration,
    positions: BTreeMap<Place, i64>,
}

impl Loner {
    pub(super) fn new(pause_ms: u64, book: &Arc<Book>) -> Self {
        Self {
            book: Arc::clone(book),
            pause: Duration::from_millis(pause_ms),
            positions: BTreeMap::new(),
        }
    }

    /// Commits until the workload stops.
    pub(super) async fn run(
        mut self,
        reach: &Reach,
        progress: &Progress,
        pulse: &Pulse,
    ) -> Result<(), String> {
        let clock = &reach.host.clock;
        while self.book.topics().is_empty() {
            clock.sleep_until(clock.now().mono + LOOK_AGAIN).await;
        }
        let mut since = clock.now().mono;
        while !progress.is_stopping() {
            let commits = pulse.count();
            let ended = match reach.connect().await {
                Ok(client) => {
                    let of = (progress.life(), progress, pulse);
                    self.session(&client, reach, of).await
                }
                Err(error) => Err(error),
            };
            if pulse.count() > commits {
                since = clock.now().mono;
            }
            if let Err(error) = ended {
                reach.bear(&error, &mut since).await?;
            }
        }
        Ok(())
    }

    async fn session(
        &mut self,
        client: &Client,
        reach: &Reach,
        (life, progress, pulse): (usize, &Progress, &Pulse),
    ) -> Result<(), Error> {
        let (clock, draw) = (&reach.host.clock, || reach.host.rng.next_u64());
        calls::find(client, GROUP, draw()).await?;
        let begin = self.book.tick(life);
        let kept = asks::fetch(client, GROUP, &self.book.topics(), draw()).await?;
        self.book.fetched(GROUP, begin, &kept, (life, progress));
        for (place, (offset, _)) in kept {
            self.positions.insert(place, offset);
        }
        while !progress.is_stopping() {
            self.commit((client, draw()), (life, progress)).await?;
            progress.operation();
            pulse.beat();
            clock.sleep_until(clock.now().mono + self.pause).await;
        }
        Ok(())
    }

    /// Commits how far it came.
    async fn commit(
        &mut self,
        (client, draw): (&Client, u64),
        (life, progress): (usize, &Progress),
    ) -> Result<(), Error> {
        let topics = self.book.topics();
        let counts = topics.iter();
        let counts: Vec<(String, i32)> = counts
            .map(|topic| (topic.name.clone(), topic.partitions))
            .collect();
        let places = assign::all_places(&counts);
        let at = usize::try_from(draw % 64).unwrap_or(0) % places.len().max(1);
        let some = places.into_iter().skip(at).take(2);
        let step = i64::try_from(draw / 64 % 20).unwrap_or(0);
        let back = (draw / 4096).is_multiple_of(REWINDS_ONE_IN);
        let offsets = some.map(|place| {
            let position = self.positions.get(&place).copied().unwrap_or(0);
            let next = if back {
                position - step
            } else {
                position + step
            };
            (place, Some(next.max(0)))
        });
        let seat = Seat {
            group: GROUP.to_owned(),
            generation: -1,
            ..Seat::default()
        };
        let wish = Wish {
            seat: &seat,
            life,
            offsets: offsets.collect(),
            expires: false,
        };
        let asked = self.book.wishes(&wish);
        let how = (calls::version::<OffsetCommitRequest>(draw / 65_536), -1);
        let rows = member::rows(&topics, &wish, &asked, 1);
        let codes = calls::commit(client, &seat, how, &rows).await?;
        self.book.wished(&seat, &asked, &codes, (life, progress));
        for ((place, offset), code) in wish.offsets.into_iter().zip(codes) {
            if calls::bear("a commit by one alone", code)? != ErrorCode::None {
                let why = format!("{GROUP}: a commit of {place:?} is answered {code:?}");
                convict(progress, ANSWER, why);
            }
            self.positions.extend(offset.map(|offset| (place, offset)));
        }
        Ok(())
    }
}
