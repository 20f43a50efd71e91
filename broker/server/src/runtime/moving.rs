//! Moves of replicas between this node's log directories: which are wished for, which run, how far
//! each has come (KIP-113).
//!
//! What always holds: a partition has at most one move that runs and one wish behind it, the last
//! one; so many run at once as are allowed, in the order in which they were asked for; none begins
//! before a start has taken away what an earlier run left, or once the node ends; a note of each lies
//! on disk until it is over, and stays when the node ends first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use millrace_core::cluster::Directory;
use millrace_host::{Changing, Mono};
use millrace_log::mark::Incarnation;
use millrace_log::partition::Note;
use millrace_protocol::ids::TopicId;
use tokio_util::sync::CancellationToken;

use super::debt::Debt;

/// A replica that is to lie in another directory.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(super) incarnation: Incarnation,
    pub(super) to: Directory,
    pub(super) cancelled: CancellationToken,
    /// Says on disk that it is wished; `None` where that could not be written.
    pub(super) note: Option<Note>,
    /// Another wish or the removal of the topic ended it, and not the node.
    withdrawn: AtomicBool,
    /// Where its copy ends, and how many bytes it has.
    end: AtomicI64,
    bytes: AtomicU64,
}

/// A copy that is being made, or waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Future {
    /// Where it lies.
    pub(crate) directory: Directory,
    /// Its bytes.
    pub(crate) bytes: u64,
    /// The offset after its last record.
    pub(crate) end: i64,
}

impl Wish {
    fn new(incarnation: Incarnation, to: Directory, note: Option<Note>) -> Self {
        Self {
            incarnation,
            to,
            note,
            withdrawn: AtomicBool::new(false),
            cancelled: CancellationToken::new(),
            end: AtomicI64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// It is not to go there any more.
    fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
        self.cancelled.cancel();
    }

    /// Says how far its copy has come.
    pub(super) fn tell(&self, bytes: u64, end: i64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }

    fn future(&self) -> Future {
        Future {
            directory: self.to,
            bytes: self.bytes.load(Ordering::Relaxed),
            end: self.end.load(Ordering::Relaxed),
        }
    }
}

/// How moves ended, since the start.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// The replica lies where it was wished.
    pub(super) moved: AtomicU64,
    /// It stayed where it was.
    pub(super) failed: AtomicU64,
    /// Another wish, the removal of the topic or the end of the node came first.
    pub(super) cancelled: AtomicU64,
    /// Bytes copied.
    pub(super) bytes: AtomicU64,
}

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) moved: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) bytes: u64,
    /// Under way, or waiting for their turn.
    pub(crate) wished: u64,
}

#[derive(Debug, Default)]
struct Queue {
    /// What an earlier run left is gone.
    is_begun: bool,
    /// Of which something was wished before that: older notes of them don't hold.
    asked_early: BTreeSet<Incarnation>,
    /// The node ends.
    is_over: bool,
    waiting: VecDeque<Arc<Wish>>,
    running: BTreeMap<Incarnation, Arc<Wish>>,
    /// Bytes copied beyond what the limit on all moves allowed by then.
    debt: Debt,
}

impl Queue {
    /// Gives the notes that hold no more, the new one among them where nothing is to be done.
    fn wish(
        &mut self,
        incarnation: Incarnation,
        (current, to): (Directory, Directory),
        note: Option<Note>,
    ) -> Vec<(Directory, Note)> {
        let unused = note.clone().map(|note| (to, note));
        let mut gone = Vec::new();
        let waits = |one: &Arc<Wish>| one.incarnation == incarnation;
        if let Some(at) = self.waiting.iter().position(waits) {
            if self.waiting[at].to == to {
                return unused.into_iter().collect();
            }
            gone.extend(self.waiting.remove(at).as_ref().and_then(noted));
        }
        match self.running.get(&incarnation) {
            Some(running) if running.to == to && !running.cancelled.is_cancelled() => {
                gone.extend(unused);
                return gone;
            }
            // Where it is when that has ended nobody knows yet.
            Some(running) => running.withdraw(),
            None if current == to => {
                gone.extend(unused);
                return gone;
            }
            None => {}
        }
        if self.is_over {
            gone.extend(unused);
        } else {
            let wish = Wish::new(incarnation, to, note);
            self.waiting.push_back(Arc::new(wish));
        }
        gone
    }
}

/// A wish's note, and in which directory it lies.
fn noted(wish: &Arc<Wish>) -> Option<(Directory, Note)> {
    Some((wish.to, wish.note.clone()?))
}

/// All moves of a node.
#[derive(Debug)]
pub(crate) struct Moves {
    queue: Changing<Queue>,
    at_once: usize,
    pub(super) figures: Figures,
}

impl Moves {
    /// None yet; at most so many run at once.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            queue: Changing::new(Queue::default()),
            at_once,
            figures: Figures::default(),
        }
    }

    /// Wishes a replica, which lies in `current`, to lie in `to`: what was wished before is over.
    /// Moves may be due then. Gives the notes that hold no more.
    pub(super) fn wish(
        &self,
        incarnation: Incarnation,
        (current, to): (Directory, Directory),
        note: Option<Note>,
    ) -> Vec<(Directory, Note)> {
        self.queue.modify(|queue| {
            if !queue.is_begun {
                queue.asked_early.insert(incarnation);
            }
            queue.wish(incarnation, (current, to), note)
        })
    }

    /// The same of a wish that an earlier run noted, unless something was wished since.
    pub(super) fn wish_again(
        &self,
        note: Note,
        (current, to): (Directory, Directory),
    ) -> Vec<(Directory, Note)> {
        self.queue.modify(|queue| {
            if queue.asked_early.contains(&note.incarnation) {
                return vec![(to, note)];
            }
            queue.wish(note.incarnation, (current, to), Some(note))
        })
    }

    /// From now on moves run.
    pub(super) fn begin(&self) {
        self.queue.modify(|queue| {
            queue.is_begun = true;
            queue.asked_early = BTreeSet::new();
        });
    }

    /// The next move that may run; it counts as running.
    pub(super) fn take_next(&self) -> Option<Arc<Wish>> {
        self.queue.modify(|queue| {
            if !queue.is_begun || queue.is_over || queue.running.len() >= self.at_once {
                return None;
            }
            let free = |wish: &Arc<Wish>| !queue.running.contains_key(&wish.incarnation);
            let at = queue.waiting.iter().position(free)?;
            let wish = queue.waiting.remove(at)?;
            queue.running.insert(wish.incarnation, Arc::clone(&wish));
            Some(wish)
        })
    }

    /// A move that ran has ended.
    pub(super) fn ended(&self, wish: &Wish) {
        self.queue.modify(|queue| {
            queue.running.remove(&wish.incarnation);
        });
    }

    /// Whether a move that ended undone is to begin again after a restart: the node's end, and nobody's
    /// wish, ended it.
    pub(super) fn stays_noted(&self, wish: &Wish) -> bool {
        self.queue.look(|queue| queue.is_over) && !wish.withdrawn.load(Ordering::Relaxed)
    }

    /// Ends the moves of a topic: those that run will end soon. Gives the notes that hold no more.
    pub(super) fn withdraw(&self, topic: TopicId) -> Vec<(Directory, Note)> {
        self.queue.modify(|queue| {
            let ends = |wish: &Wish| is_of(wish, Some(topic));
            for wish in queue.running.values().filter(|wish| ends(wish)) {
                wish.withdraw();
            }
            let (gone, stay) = std::mem::take(&mut queue.waiting)
                .into_iter()
                .partition::<VecDeque<_>, _>(|wish| ends(wish));
            queue.waiting = stay;
            gone.iter().filter_map(noted).collect()
        })
    }

    /// Ends all moves, for good: those that run will end soon, and all that are undone begin again
    /// after a restart.
    pub(super) fn end(&self) {
        self.queue.modify(|queue| {
            queue.is_over = true;
            queue.waiting.clear();
            for wish in queue.running.values() {
                wish.cancelled.cancel();
            }
        });
    }

    /// Completes once none of the topic's moves run, or none at all.
    pub(super) async fn until_none(&self, topic: Option<TopicId>) {
        let none = |queue: &Queue| {
            let mut running = queue.running.values();
            (!running.any(|wish| is_of(wish, topic))).then_some(())
        };
        self.queue.wait_for(none).await;
    }

    /// The copies that are being made, or will be.
    pub(crate) fn futures(&self) -> BTreeMap<Incarnation, Future> {
        self.queue.look(|queue| {
            let running = queue.running.values();
            let running = running.filter(|wish| !wish.cancelled.is_cancelled());
            // A wish comes behind what runs, and is the one that holds.
            let wishes = running.chain(&queue.waiting);
            wishes
                .map(|wish| (wish.incarnation, wish.future()))
                .collect()
        })
    }

    /// Bytes were copied.
    pub(super) fn copied(&self, bytes: u64) {
        self.figures.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.queue.modify(|queue| queue.debt.owe(bytes));
    }

    /// How long to wait before more is copied: all moves together copy at most so many bytes in a
    /// second; none while that is 0.
    pub(super) fn pause(&self, now: Mono, per_second: u64) -> Duration {
        self.queue.modify(|queue| queue.debt.pause(now, per_second))
    }

    /// The figures as they stand.
    pub(crate) fn counted(&self) -> Counted {
        let get = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let wished = |queue: &Queue| queue.waiting.len() + queue.running.len();
        Counted {
            moved: get(&self.figures.moved),
            failed: get(&self.figures.failed),
            cancelled: get(&self.figures.cancelled),
            bytes: get(&self.figures.bytes),
            wished: self.queue.look(wished) as u64,
        }
    }
}

fn is_of(wish: &Wish, topic: Option<TopicId>) -> bool {
    topic.is_none_or(|topic| topic.to_bytes() == wish.incarnation.topic_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32) -> Incarnation {
        Incarnation {
            topic_id: [1; 16],
            partition,
        }
    }

    fn dir(byte: u8) -> Directory {
        TopicId::from_bytes([byte; 16])
    }

    fn begun(at_once: usize) -> Moves {
        let moves = Moves::new(at_once);
        moves.begin();
        moves
    }

    #[test]
    fn so_many_run_at_once_and_the_rest_in_order() {
        let moves = begun(2);
        for partition in 0..4 {
            moves.wish(place(partition), (dir(1), dir(2)), None);
        }
        let first = moves.take_next().unwrap();
        let second = moves.take_next().unwrap();
        assert_eq!(
            (first.incarnation, second.incarnation),
            (place(0), place(1))
        );
        assert!(moves.take_next().is_none());
        moves.ended(&first);
        assert_eq!(moves.take_next().unwrap().incarnation, place(2));
        assert_eq!(moves.counted().wished, 3);
    }

    #[test]
    fn nothing_runs_before_the_start_has_cleared_up_or_once_the_node_ends() {
        let moves = Moves::new(1);
        moves.wish(place(0), (dir(1), dir(2)), None);
        assert!(moves.take_next().is_none());
        moves.begin();
        let running = moves.take_next().unwrap();
        moves.wish(place(1), (dir(1), dir(2)), None);
        moves.end();
        assert!(running.cancelled.is_cancelled());
        moves.ended(&running);
        moves.wish(place(2), (dir(1), dir(2)), None);
        assert!(moves.take_next().is_none());
    }

    #[test]
    fn the_last_wish_is_the_one_that_holds() {
        let moves = begun(1);
        moves.wish(place(0), (dir(1), dir(2)), None);
        moves.wish(place(0), (dir(1), dir(3)), None);
        let running = moves.take_next().unwrap();
        assert_eq!(running.to, dir(3));
        moves.wish(place(0), (dir(1), dir(3)), None);
        assert!(!running.cancelled.is_cancelled(), "it is that already");
        moves.wish(place(0), (dir(1), dir(2)), None);
        assert!(running.cancelled.is_cancelled());
        assert!(moves.take_next().is_none(), "one at a time");
        moves.ended(&running);
        assert_eq!(moves.take_next().unwrap().to, dir(2));
    }

    #[test]
    fn a_wish_for_where_it_is_ends_what_was_wished() {
        let moves = begun(1);
        moves.wish(place(0), (dir(1), dir(2)), None);
        moves.wish(place(0), (dir(1), dir(1)), None);
        assert_eq!(moves.counted().wished, 0);
        moves.wish(place(0), (dir(1), dir(2)), None);
        let running = moves.take_next().unwrap();
        moves.wish(place(0), (dir(1), dir(1)), None);
        assert!(running.cancelled.is_cancelled());
        let futures = moves.futures();
        assert_eq!(futures[&place(0)].directory, dir(1));
    }

    #[test]
    fn a_limit_spreads_the_bytes_of_all_moves_over_time() {
        let (moves, second) = (begun(1), Duration::from_secs(1));
        let at = |millis: u64| Mono(millis * 1_000_000);
        assert_eq!(moves.pause(at(5), 100), Duration::ZERO);
        moves.copied(150);
        assert_eq!(moves.pause(at(5), 100), second * 3 / 2);
        assert_eq!(moves.pause(at(1005), 100), second / 2);
        assert_eq!(moves.pause(at(1005), 0), Duration::MAX, "nothing moves");
        assert_eq!(moves.pause(at(1005), 50), second, "the limit changed");
        assert_eq!(moves.pause(at(9005), 50), Duration::ZERO);
        moves.copied(1 << 20);
        assert_eq!(moves.pause(at(9005), i64::MAX as u64), Duration::ZERO);
    }
}
