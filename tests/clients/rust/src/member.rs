//! Members of groups and writers, each in a thread of its own until it is ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{
    Changes, Client, Consumer, Failure, Outcome, Producer, Reading, Record, by_place, expected,
    until,
};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a member has, read by the scenario while it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) seen: Vec<Record>,
    pub(crate) partitions: Vec<i32>,
    pub(crate) committed: BTreeMap<i32, i64>,
}

/// A member of a group: it reads and commits until it leaves.
pub(crate) struct Member {
    state: Arc<Mutex<State>>,
    changes: Changes,
    is_leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome<()>>>,
}

impl Member {
    pub(crate) fn join<C: Client>(client: &C, topic: &str, how: Reading) -> Outcome<Self> {
        let mut consumer = client.consumer(topic, how)?;
        let (state, changes) = (Arc::<Mutex<State>>::default(), Changes::default());
        let is_leaving = Arc::<AtomicBool>::default();
        consumer.subscribe(changes.clone())?;
        let (shared, leaving) = (state.clone(), is_leaving.clone());
        let run = move || {
            let mut pending = BTreeMap::new();
            while !leaving.load(Ordering::Relaxed) {
                match turn(&mut *consumer, &shared, &mut pending) {
                    Err(Failure::Rejoining) => pending.clear(),
                    Err(Failure::Unreachable) => {
                        std::thread::park_timeout(Duration::from_millis(100))
                    }
                    other => other?,
                }
            }
            Ok(())
        };
        Ok(Self {
            state,
            changes,
            is_leaving,
            thread: Some(std::thread::spawn(run)),
        })
    }

    pub(crate) fn now(&self) -> State {
        lock(&self.state).clone()
    }

    pub(crate) fn changes(&self) -> Vec<(bool, Vec<i32>)> {
        lock(&self.changes).clone()
    }

    /// All partitions that were ever taken from it.
    pub(crate) fn revoked(&self) -> Vec<i32> {
        let changes = self.changes();
        let revoked = changes.into_iter().filter(|(is_assigned, _)| !is_assigned);
        let revoked: BTreeSet<i32> = revoked.flat_map(|(_, which)| which).collect();
        revoked.into_iter().collect()
    }

    pub(crate) fn leave(&mut self) -> Outcome<()> {
        self.is_leaving.store(true, Ordering::Relaxed);
        ended(self.thread.take())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }
}

/// What a thread ended with; at once for one that ended before.
fn ended(thread: Option<JoinHandle<Outcome<()>>>) -> Outcome<()> {
    match thread.map(JoinHandle::join) {
        None | Some(Ok(Ok(()))) => Ok(()),
        Some(Ok(Err(failure))) => Err(failure),
        Some(Err(_)) => Err(Failure::Wrong("a thread panicked".to_owned())),
    }
}

fn turn(
    consumer: &mut dyn Consumer,
    shared: &Mutex<State>,
    pending: &mut BTreeMap<i32, i64>,
) -> Outcome<()> {
    let records = consumer.poll()?;
    let mut partitions = consumer.assignment()?;
    partitions.sort_unstable();
    for record in by_place(records.clone()) {
        pending.insert(record.partition, record.offset + 1);
    }
    {
        let mut state = lock(shared);
        state.partitions = partitions;
        state.seen.extend(records);
    }
    if !pending.is_empty() {
        consumer.commit(pending)?;
        lock(shared).committed.append(pending);
    }
    Ok(())
}

/// Waits until it is so for the members' states; fails at once where a member failed.
pub(crate) fn members_until(
    what: &str,
    members: &mut [&mut Member],
    condition: impl Fn(&[State]) -> bool,
) -> Outcome<()> {
    let states = |members: &[&mut Member]| members.iter().map(|m| m.now()).collect::<Vec<_>>();
    let mut last = String::new();
    let is_so = || {
        for member in members.iter_mut() {
            if member.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                ended(member.thread.take())?;
            }
        }
        let states = states(members);
        let shown = states.iter().map(|s| (&s.partitions, s.seen.len()));
        last = format!("{:?}", shown.collect::<Vec<_>>());
        Ok(condition(&states))
    };
    until(what, is_so, String::new).map_err(|failure| match failure {
        Failure::Wrong(why) => Failure::Wrong(format!("{why} {last}")),
        other => other,
    })
}

/// Whether each has a part, and each partition one member.
pub(crate) fn share(members: &[State], partitions: i32) -> bool {
    let mut together: Vec<i32> = members.iter().flat_map(|m| m.partitions.clone()).collect();
    together.sort_unstable();
    members.iter().all(|m| !m.partitions.is_empty()) && together.iter().copied().eq(0..partitions)
}

/// Sends records to one partition, a few at a time, until it is ended.
pub(crate) struct Writer {
    acknowledged: Arc<Mutex<Vec<Record>>>,
    is_ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<Outcome<()>>>,
}

impl Writer {
    pub(crate) fn start(producer: Box<dyn Producer>, partition: i32) -> Self {
        let acknowledged = Arc::<Mutex<Vec<Record>>>::default();
        let is_ending = Arc::<AtomicBool>::default();
        let (shared, ending) = (acknowledged.clone(), is_ending.clone());
        let run = move || {
            while !ending.load(Ordering::Relaxed) {
                let from = lock(&shared).len() as i32;
                let few = from..from + 5;
                let mut few: Vec<_> = few.map(|i| expected("restart", i, partition)).collect();
                let offsets = producer.send(&few)?;
                for (record, offset) in few.iter_mut().zip(offsets) {
                    record.offset = offset;
                }
                lock(&shared).extend(few);
            }
            Ok(())
        };
        Self {
            acknowledged,
            is_ending,
            thread: Some(std::thread::spawn(run)),
        }
    }

    pub(crate) fn acknowledged(&self) -> Vec<Record> {
        lock(&self.acknowledged).clone()
    }

    /// How many are acknowledged; fails at once where it failed.
    pub(crate) fn count(&mut self) -> Outcome<usize> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            ended(self.thread.take())?;
        }
        Ok(lock(&self.acknowledged).len())
    }

    pub(crate) fn end(&mut self) -> Outcome<()> {
        self.is_ending.store(true, Ordering::Relaxed);
        ended(self.thread.take())
    }
}
