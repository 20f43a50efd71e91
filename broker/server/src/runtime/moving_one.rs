//! One move of a replica to another log directory, from the wish to the removal of the old copy
//! (`durability.md` M1 to M5).
//!
//! What always holds: until the record is durable the old log is the partition, from then on the copy
//! is; whichever is not is taken away, now or at the next start; appends are held for a bounded time
//! before the record, and until it is known what became of it.

use std::sync::Arc;
use std::time::Duration;

use millrace_core::cluster::{Assignment, Directory, Topic, assign_directory};
use millrace_core::partition::Event;
use millrace_host::Pool;
use millrace_log::partition::{LogCopy, Note, PartitionLog, Partitions};
use millrace_probe::{Branch, Bug, planted, reached};
use millrace_protocol::ids::TopicId;

use super::moving::Wish;
use super::partition::{Held, OpenPartition, PartitionSink};
use super::registry::Registry;
use crate::cluster::MetadataError;

/// How long appends are held at most while the end of a log is copied and made durable.
const HOLD_MAX: Duration = Duration::from_secs(5);
/// How often a copy is begun anew because that was not enough, and how long after.
const HOLDS_MAX: u32 = 3;
const HOLD_AGAIN: Duration = Duration::from_secs(1);
/// What may be left to copy when appends are held.
const LEFT_MAX: u64 = 1 << 20;
/// How often a limit that nothing may move by is looked at again.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How a move ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The replica lies where it was wished.
    Moved,
    /// It lay there already.
    Stayed,
    /// It is not to go there any more.
    Cancelled,
}

/// What one attempt came to.
enum Attempt {
    Ended(Ended),
    /// The end of the log could not be copied in time.
    TooLong,
    /// Nobody knows whether the record will be found: both copies stay, and the next start decides.
    Unknown(String),
}

/// A partition on its way, and where it goes.
struct Way<'a> {
    wish: &'a Wish,
    open: &'a Arc<OpenPartition>,
    target: &'a Partitions,
    from: Directory,
}

impl Registry {
    /// Wishes a replica to lie in another directory of this node: where it lies now, the move that
    /// is under way ends.
    pub(crate) async fn wish(self: &Arc<Self>, topic: &Topic, partition: i32, to: Directory) {
        let place = topic.partitions.get(&partition);
        let current = place.and_then(|place| place.directory_of(self.config.node.id));
        let incarnation = millrace_log::mark::Incarnation {
            topic_id: topic.id.to_bytes(),
            partition,
        };
        let current = current.unwrap_or_default();
        let note = self.directories.get(&to).filter(|_| current != to);
        let note = note.and_then(|target| {
            let noted = target.note_wish(incarnation);
            noted
                .inspect_err(|error| {
                    tracing::warn!(%incarnation, %error, "a restart would end the move of a replica");
                })
                .ok()
        });
        let gone = self.moves.wish(incarnation, (current, to), note);
        self.forget_wishes(gone).await;
        self.run_moves();
    }

    /// Takes notes of wishes away that hold no more.
    pub(super) async fn forget_wishes(&self, notes: Vec<(Directory, Note)>) {
        for (directory, note) in notes {
            if let Some(partitions) = self.directories.get(&directory) {
                partitions.forget_wish(&note).await;
            }
        }
    }

    /// Wishes again what earlier runs were told and didn't end.
    async fn wish_again(&self) {
        let image = self.cluster.image();
        let mut notes = Vec::new();
        for (directory, partitions) in &self.directories {
            match partitions.noted_wishes().await {
                Ok(found) => notes.extend(found.into_iter().map(|note| (*directory, note))),
                Err(error) => {
                    tracing::warn!(%error, "moves that a restart interrupted are not begun again");
                }
            }
        }
        // Of two for one partition the later holds.
        notes.sort_by_key(|(_, note)| note.wished_ms);
        let mut gone = Vec::new();
        for (to, note) in notes {
            let topic = image.topic(TopicId::from_bytes(note.incarnation.topic_id));
            let place = topic.and_then(|topic| topic.partitions.get(&note.incarnation.partition));
            let Some(place) = place else {
                gone.push((to, note));
                continue;
            };
            reached(Branch::MoveBegunAgain);
            let current = place.directory_of(self.config.node.id).unwrap_or_default();
            gone.extend(self.moves.wish_again(note, (current, to)));
        }
        self.forget_wishes(gone).await;
    }

    /// Lets moves run from now on.
    pub(crate) fn begin_moves(self: &Arc<Self>) {
        self.moves.begin();
        self.run_moves();
    }

    /// Runs the moves that may run now.
    fn run_moves(self: &Arc<Self>) {
        while let Some(wish) = self.moves.take_next() {
            let registry = Arc::clone(self);
            let task = async move {
                registry.run_move(&wish).await;
                registry.moves.ended(&wish);
                registry.run_moves();
            };
            drop(
                self.host
                    .spawn
                    .spawn(Pool::Data, "replica move", Box::pin(task)),
            );
        }
    }

    /// Runs one move, and says what became of it.
    async fn run_move(self: &Arc<Self>, wish: &Wish) {
        use std::sync::atomic::Ordering::Relaxed;
        let figures = &self.moves.figures;
        let (incarnation, to) = (wish.incarnation, wish.to);
        let ended = self.move_one(wish).await;
        let is_done = matches!(ended, Ok(Ended::Moved | Ended::Stayed));
        if is_done || !self.moves.stays_noted(wish) {
            let note = wish.note.clone().map(|note| (to, note));
            self.forget_wishes(note.into_iter().collect()).await;
        }
        match ended {
            Ok(Ended::Moved) => {
                figures.moved.fetch_add(1, Relaxed);
                tracing::info!(%incarnation, %to, "a replica moved to another log directory");
            }
            Ok(Ended::Stayed) => {}
            Ok(Ended::Cancelled) => {
                reached(Branch::MoveCancelled);
                figures.cancelled.fetch_add(1, Relaxed);
                tracing::info!(%incarnation, %to, "the move of a replica was ended before it was done");
            }
            Err(reason) => {
                reached(Branch::MoveFailed);
                figures.failed.fetch_add(1, Relaxed);
                tracing::error!(%incarnation, %to, reason,
                    "a replica can't be moved to another log directory and stays where it is; ask \
                     for the move again when that is mended");
            }
        }
    }

    async fn move_one(self: &Arc<Self>, wish: &Wish) -> Result<Ended, String> {
        for _ in 0..HOLDS_MAX {
            let attempt = self.attempt(wish).await;
            if wish.cancelled.is_cancelled() && !matches!(attempt, Ok(Attempt::Ended(Ended::Moved)))
            {
                return Ok(Ended::Cancelled);
            }
            match attempt? {
                Attempt::Ended(ended) => return Ok(ended),
                Attempt::Unknown(reason) => return Err(reason),
                Attempt::TooLong => reached(Branch::HoldGivenUp),
            }
            self.rest(wish, HOLD_AGAIN).await;
        }
        Err(format!(
            "the end of its log could not be copied within {} s, {HOLDS_MAX} times: the disks are \
             too slow for what is appended",
            HOLD_MAX.as_secs()
        ))
    }

    /// Copies the log, and has the copy take its place.
    async fn attempt(self: &Arc<Self>, wish: &Wish) -> Result<Attempt, String> {
        let image = self.cluster.image();
        let partition = wish.incarnation.partition;
        let topic = image.topic(TopicId::from_bytes(wish.incarnation.topic_id));
        let place = topic.and_then(|topic| Some((topic, topic.partitions.get(&partition)?)));
        let Some((topic, place)) = place else {
            return Ok(Attempt::Ended(Ended::Cancelled));
        };
        let from = place.directory_of(self.config.node.id).unwrap_or_default();
        if from == wish.to {
            return Ok(Attempt::Ended(Ended::Stayed));
        }
        let target = self.directories.get(&wish.to);
        let target = target.ok_or("the other directory is not in service")?;
        if let Some(reason) = target.dir().offline() {
            return Err(format!("the other directory is offline: {reason}"));
        }
        // What an earlier attempt left there.
        if target.dir().entry(&wish.incarnation).is_some() {
            let source = self.directories.get(&from);
            if source.is_none_or(|source| source.dir().entry(&wish.incarnation).is_none()) {
                return Err(
                    "the other directory has a copy of it that the metadata don't name, \
                            and that may be all there is of it"
                        .to_owned(),
                );
            }
            let removed = target.remove(wish.incarnation, Duration::ZERO).await;
            removed.map_err(|error| error.to_string())?;
        }
        let open = self.get(topic, partition).await;
        let open = open.map_err(|error| error.message.to_string())?;
        let way = Way {
            wish,
            open: &open,
            target,
            from,
        };
        let outline = open.outline()?;
        self.check_room(&way, outline.bytes())?;
        let mut copy = target.begin_copy(&outline);
        drop(outline);
        let attempt = self.copy_and_switch(&way, &mut copy).await;
        self.resume(&open);
        let keeps = matches!(
            attempt,
            Ok(Attempt::Ended(Ended::Moved) | Attempt::Unknown(_))
        );
        if !keeps && let Err(error) = copy.discard().await {
            tracing::warn!(incarnation = %wish.incarnation, %error,
                "what was copied of a replica stays on disk until the next start");
        }
        attempt
    }

    /// Refuses what would fill the other directory.
    fn check_room(&self, way: &Way<'_>, bytes: u64) -> Result<(), String> {
        let path = way.target.dir().path();
        let room = self
            .host
            .disk
            .space(path)
            .map_or(u64::MAX, |space| space.available);
        if bytes >= room {
            return Err(format!(
                "it has {bytes} bytes, and {} has {room} left",
                path.display()
            ));
        }
        Ok(())
    }

    async fn copy_and_switch(
        self: &Arc<Self>,
        way: &Way<'_>,
        copy: &mut LogCopy,
    ) -> Result<Attempt, String> {
        let turn = tokio::select! {
            biased;
            () = way.wish.cancelled.cancelled() => return Ok(Attempt::Ended(Ended::Cancelled)),
            turn = async {
                self.copy_most(way, copy).await?;
                Ok::<_, String>(way.open.start_move().await)
            } => turn?,
        };
        let attempt = self.switch(way, copy).await;
        drop(turn);
        attempt
    }

    /// Copies until little is left.
    async fn copy_most(&self, way: &Way<'_>, copy: &mut LogCopy) -> Result<(), String> {
        loop {
            let outline = way.open.outline()?;
            let dir = way.target.dir();
            if !dir.has_room(LEFT_MAX, false) {
                let path = dir.path().display();
                return Err(format!("no space left in log directory {path}"));
            }
            let step = copy
                .step(&outline)
                .await
                .map_err(|error| error.to_string())?;
            way.wish.tell(copy.bytes(), copy.end(&outline));
            self.moves.copied(step.copied);
            self.pause(way.wish).await;
            if step.left <= LEFT_MAX {
                break;
            }
        }
        copy.sync().await.map_err(|error| error.to_string())
    }

    /// Waits as the limit on moves says.
    async fn pause(&self, wish: &Wish) {
        loop {
            let config = self.broker_config(&self.cluster.image());
            let now = self.host.clock.now().mono;
            let pause = self.moves.pause(now, config.log.move_bytes_per_second_max);
            if pause.is_zero() || wish.cancelled.is_cancelled() {
                return;
            }
            self.rest(wish, pause.min(PAUSE_MAX)).await;
        }
    }

    async fn rest(&self, wish: &Wish, pause: Duration) {
        let until = self.host.clock.now().mono + pause;
        tokio::select! {
            biased;
            () = wish.cancelled.cancelled() => {}
            () = self.host.clock.sleep_until(until) => {}
        }
    }

    /// Copies the end of the log while appends are held, records the move, and has the copy take
    /// the log's place.
    async fn switch(
        self: &Arc<Self>,
        way: &Way<'_>,
        copy: &mut LogCopy,
    ) -> Result<Attempt, String> {
        let Some((held, settled)) = way.open.hold()? else {
            return Ok(Attempt::TooLong);
        };
        let sink = Arc::new(PartitionSink::default());
        let ending = async {
            settled.await.map_err(|error| error.to_string())?;
            let ending = way.open.ending(&sink)?;
            let mut left = 1;
            while left > 0 {
                let step = copy.step(&ending.outline).await;
                left = step.map_err(|error| error.to_string())?.left;
            }
            copy.finish(ending).await.map_err(|error| error.to_string())
        };
        let mut ending = Box::pin(ending);
        let deadline = self.host.clock.now().mono + HOLD_MAX;
        let ended = tokio::select! {
            biased;
            ended = &mut ending => ended,
            () = self.host.clock.sleep_until(deadline) => {
                drop(held);
                // Nothing is left half done: what came of it is discarded as a whole.
                drop(ending.await);
                return Ok(Attempt::TooLong);
            }
        };
        drop(ending);
        self.record(way, (ended?, &sink), held).await
    }

    /// Makes the record, then the copy takes the log's place.
    async fn record(
        self: &Arc<Self>,
        way: &Way<'_>,
        (log, sink): (PartitionLog, &Arc<PartitionSink>),
        held: Held,
    ) -> Result<Attempt, String> {
        let Way { wish, open, .. } = way;
        if wish.cancelled.is_cancelled() {
            return Ok(Attempt::Ended(Ended::Cancelled));
        }
        if let Some(reason) = way.target.dir().offline() {
            return Err(format!("the other directory is offline: {reason}"));
        }
        let assignment = Assignment {
            topic_id: TopicId::from_bytes(wish.incarnation.topic_id),
            partition_id: wish.incarnation.partition,
            broker_id: self.config.node.id,
            from: way.from,
            to: wish.to,
        };
        let proposed =
            self.cluster
                .propose(|image, _| match assign_directory(image, &assignment) {
                    Ok(record) => (Ok(()), vec![record]),
                    Err(why) => (Err(why), Vec::new()),
                });
        match proposed.await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return Err(why.to_string()),
            Err(error @ MetadataError::Unknown(_)) => {
                // Whichever copy is the partition after a restart, nothing may be added to this one.
                open.step(Event::DirectoryFailed).ok();
                return Ok(Attempt::Unknown(error.to_string()));
            }
            Err(error) => return Err(error.to_string()),
        }
        let unwritten = log.size_bytes() == 0 && log.log_end() == 0;
        reached(if unwritten {
            Branch::UnwrittenMoved
        } else {
            Branch::PartitionMoved
        });
        if planted(Bug::OldCopyServedAfterMove) {
            return Ok(Attempt::Ended(Ended::Moved));
        }
        let removal = open.hand_over((way.target.dir(), log), sink);
        drop(held);
        let Some(removal) = removal else {
            // It was removed meanwhile, or its old directory failed: who asks for it next opens it
            // where it lies now.
            self.forget(open);
            return Ok(Attempt::Ended(Ended::Moved));
        };
        if let Err(error) = removal.await {
            tracing::warn!(incarnation = %wish.incarnation, %error,
                "the old copy of a replica that moved stays on disk until the next start");
        }
        Ok(Attempt::Ended(Ended::Moved))
    }

    /// Has a change of durability begin that was asked for while appends were held.
    fn resume(&self, open: &Arc<OpenPartition>) {
        if open.owes_durability() {
            let changing = Arc::clone(open).change_durability();
            let spawn = &self.host.spawn;
            drop(spawn.spawn(Pool::Data, "durability change", Box::pin(changing)));
        }
    }

    /// Takes away copies that the metadata don't name, as a crash in the middle of a move leaves
    /// them: the one being made, or the old one. Only where the named directory knows the partition.
    /// Then what was wished is wished again.
    pub(crate) async fn finish_moves(&self) {
        self.take_copies_away().await;
        self.wish_again().await;
    }

    async fn take_copies_away(&self) {
        let image = self.cluster.image();
        for (directory, partitions) in &self.directories {
            let mut removed = match partitions.sweep_copies().await {
                Ok(copies) => copies,
                Err(error) => {
                    tracing::warn!(%error, "copies that were not ended stay on disk for now");
                    0
                }
            };
            let mut kept = 0;
            for incarnation in partitions.dir().written() {
                let topic = image.topic(TopicId::from_bytes(incarnation.topic_id));
                let place = topic.and_then(|topic| topic.partitions.get(&incarnation.partition));
                let named = place.and_then(|place| place.directory_of(self.config.node.id));
                let Some(named) = named.filter(|named| named != directory) else {
                    continue;
                };
                let there = self.directories.get(&named).filter(|there| {
                    there.dir().offline().is_none() && there.dir().entry(&incarnation).is_some()
                });
                if there.is_none() {
                    reached(Branch::UnnamedCopyKept);
                    kept += 1;
                    continue;
                }
                reached(Branch::UnnamedCopyRemoved);
                match partitions.remove(incarnation, Duration::ZERO).await {
                    Ok(()) => removed += 1,
                    Err(error) => tracing::warn!(%incarnation, %error,
                        "a copy that is not the partition stays on disk"),
                }
            }
            let path = partitions.dir().path().display();
            if removed > 0 {
                tracing::info!(%path, removed, "copies that interrupted moves left were removed");
            }
            if kept > 0 {
                tracing::warn!(%path, kept,
                    "the directory holds copies of partitions that the metadata place in another \
                     directory, which doesn't have them; they are not served and stay as they are");
            }
        }
    }
}
