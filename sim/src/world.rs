//! The world of a run: its nodes, and the levers that a test pulls.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millrace_host::{Completion, Host, Mono};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::clock::{SimClock, SimRng};
use crate::disk::planted::{DiskFault, FaultId};
use crate::disk::{FlipAt, SimDisk};
use crate::faults;
use crate::net::SimNet;
use crate::net::state::NetState;
use crate::node::{Node, SimMemory, SimSpawn};
use crate::trace::Trace;
use crate::{SimOptions, TraceSummary};

/// Takes a lock; everything runs on one thread, so it is free, and a panic in a task is an event
/// of the run like others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every part of the world shares. `rng` and `trace` are taken last and held shortest.
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    start: tokio::time::Instant,
    pub(crate) options: SimOptions,
    pub(crate) rng: Mutex<StdRng>,
    pub(crate) trace: Mutex<Trace>,
    pub(crate) net: Mutex<NetState>,
    nodes: Mutex<BTreeMap<String, Arc<Node>>>,
}

impl Shared {
    /// Virtual time since the start of the run.
    pub(crate) fn now_ns(&self) -> u64 {
        let _runtime = self.handle.enter();
        let passed = tokio::time::Instant::now().duration_since(self.start);
        u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits until virtual time has reached `at_ns`.
    pub(crate) fn sleep_until(&self, at_ns: u64) -> impl Future<Output = ()> + Send + use<> {
        let at = self.start + Duration::from_nanos(at_ns);
        #[expect(
            clippy::disallowed_methods,
            reason = "the simulated host is where time lives"
        )]
        async move {
            tokio::time::sleep_until(at).await;
        }
    }

    /// A number below `bound` (0 for a bound of 0).
    pub(crate) fn draw(&self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            lock(&self.rng).random_range(0..bound)
        }
    }

    /// True `per_mille` times in a thousand. Draws nothing when the answer is certain.
    pub(crate) fn chance(&self, per_mille: u32) -> bool {
        match per_mille {
            0 => false,
            1000.. => true,
            some => self.draw(1000) < u64::from(some),
        }
    }

    /// A span between the two, in microseconds.
    pub(crate) fn draw_us(&self, (least, most): (u64, u64)) -> Duration {
        Duration::from_micros(least + self.draw(most.saturating_sub(least) + 1))
    }

    pub(crate) fn event(&self, text: fmt::Arguments<'_>) {
        let now = self.now_ns();
        lock(&self.trace).event(now, text);
    }

    pub(crate) fn count(&self, name: &'static str, n: u64) {
        lock(&self.trace).count(name, n);
    }

    /// Runs `operation` as the machine's own work: whoever asked may be gone when it ends.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        operation: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> Completion<T> {
        let (done, end) = oneshot::channel();
        let run = self.handle.spawn(async move {
            drop(done.send(operation.await));
        });
        drop(run);
        Box::pin(async move {
            end.await
                .unwrap_or_else(|_| Err(io::Error::other("the simulation has ended")))
        })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("seed", &self.options.seed)
            .finish_non_exhaustive()
    }
}

/// The levers of a run. Cheap to clone; nodes are made when first named.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) shared: Arc<Shared>,
}

impl World {
    pub(crate) fn new(handle: Handle, options: SimOptions) -> Self {
        let start = {
            let _runtime = handle.enter();
            tokio::time::Instant::now()
        };
        let shared = Shared {
            handle,
            start,
            rng: Mutex::new(StdRng::seed_from_u64(options.seed)),
            trace: Mutex::new(Trace::new(options.keep_lines)),
            net: Mutex::new(NetState::default()),
            nodes: Mutex::new(BTreeMap::new()),
            options,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The machine as the node's running process sees it. After [`World::kill`],
    /// [`World::crash`] or the host's own `spawn.kill()` this begins the node's next process, on
    /// the disk as it then is; hosts and handles of the former answer with errors only.
    pub fn node(&self, name: &str) -> Host {
        let node = self.find(name);
        let process = node.running_process();
        Host {
            disk: Arc::new(SimDisk {
                node: Arc::clone(&node),
                process,
            }),
            net: Arc::new(SimNet {
                node: Arc::clone(&node),
                process,
            }),
            clock: Arc::new(SimClock {
                node: Arc::clone(&node),
            }),
            rng: Arc::new(SimRng {
                shared: Arc::clone(&self.shared),
            }),
            memory: Arc::new(SimMemory {
                node: Arc::clone(&node),
            }),
            spawn: Arc::new(SimSpawn { node, process }),
        }
    }

    pub(crate) fn find(&self, name: &str) -> Arc<Node> {
        let mut nodes = lock(&self.shared.nodes);
        let made = || Arc::new(Node::new(name, Arc::clone(&self.shared)));
        Arc::clone(nodes.entry(name.to_owned()).or_insert_with(made))
    }

    /// Ends the node's process: its tasks are dropped, its locks released, its connections
    /// closed. The page cache lives, the boot id stays.
    pub fn kill(&self, name: &str) {
        self.shared.event(format_args!("kill {name}"));
        let node = self.find(name);
        let un_synced = lock(&node.disk).has_un_synced();
        let hit = un_synced || crate::net::state::asked_of(&self.shared, name);
        self.shared.count(faults::KILL, u64::from(hit));
        node.end_process();
        crate::net::state::end_process(&self.shared, name, false);
    }

    /// Cuts the node's power: its process ends, of its un-synced sectors and names any subset is
    /// left, its peers hear nothing. The next process has another boot id and mount id.
    pub fn crash(&self, name: &str) {
        self.cut_power(name, false);
    }

    /// The same, and of what was un-synced in logs and journals a bit may be flipped.
    pub fn crash_with_flips(&self, name: &str) {
        self.cut_power(name, true);
    }

    fn cut_power(&self, name: &str, flips: bool) {
        self.shared.event(format_args!("crash {name}"));
        let node = self.find(name);
        node.end_process();
        node.power_cut(flips);
        crate::net::state::end_process(&self.shared, name, true);
    }

    /// Moves the node's wall clock by `by_ms`, in either direction.
    pub fn move_wall_clock(&self, name: &str, by_ms: i64) {
        self.shared
            .event(format_args!("wall clock of {name} moved by {by_ms} ms"));
        let node = self.find(name);
        node.wall_moved_ms.fetch_add(by_ms, Ordering::Relaxed);
        node.wall_unread.store(by_ms != 0, Ordering::Relaxed);
    }

    /// Makes the node's boot id readable or not.
    pub fn set_boot_id_readable(&self, name: &str, readable: bool) {
        self.find(name)
            .boot_id_readable
            .store(readable, Ordering::Relaxed);
    }

    /// Plants a fault on the node's disk.
    pub fn inject(&self, name: &str, fault: DiskFault) -> FaultId {
        lock(&self.find(name).disk).faults.add(fault)
    }

    /// Takes a fault away; operations that hang go on. `None` takes all.
    pub fn heal_disk(&self, name: &str, fault: Option<FaultId>) {
        lock(&self.find(name).disk).faults.remove(fault);
    }

    /// Changes how many bytes the node's disk holds; less than is used means full.
    pub fn set_capacity(&self, name: &str, bytes: u64) {
        lock(&self.find(name).disk).capacity = bytes;
    }

    /// Flips one bit of a file: rot. False when there is no such byte.
    pub fn flip_bit(&self, name: &str, path: &Path, offset: u64, bit: u8, at: FlipAt) -> bool {
        let flipped = lock(&self.find(name).disk).flip_bit(path, offset, bit, at);
        if flipped {
            let path = path.display();
            self.shared
                .event(format_args!("flip {name} {path} byte {offset} bit {bit}"));
        }
        flipped
    }

    /// Takes a directory of the root away from the node, as a disk that is not mounted; with
    /// `leaves_empty` the empty directory that it is mounted on stays. For the time between two
    /// processes. False when there is none that is durable.
    pub fn take_away(&self, name: &str, directory: &str, leaves_empty: bool) -> bool {
        let node = self.find(name);
        let taken = lock(&node.disk).take_away(directory.trim_matches('/'), leaves_empty);
        self.shared
            .event(format_args!("take away {name} {directory} {taken}"));
        taken
    }

    /// Brings it back with all that was in it, over whatever was put in its place.
    pub fn bring_back(&self, name: &str, directory: &str) {
        self.shared
            .event(format_args!("bring back {name} {directory}"));
        lock(&self.find(name).disk).bring_back(directory.trim_matches('/'));
    }

    /// The files of the node's disk and their lengths, in the order of their paths.
    pub fn files(&self, name: &str) -> Vec<(PathBuf, u64)> {
        lock(&self.find(name).disk).all_files()
    }

    /// The bytes of one of them as its processes see them; `None` when there is no such file.
    pub fn read_file(&self, name: &str, path: &Path) -> Option<Vec<u8>> {
        lock(&self.find(name).disk).read_file(path)
    }

    /// Counts a fault that took effect and that only the test can see; its name is one of
    /// [`faults::ALL`].
    pub fn count_fault(&self, fault: &'static str) {
        self.shared.count(fault, 1);
    }

    /// A number below `bound`, drawn from the seed: for the test's own choices.
    pub fn draw(&self, bound: u64) -> u64 {
        self.shared.draw(bound)
    }

    /// Waits for `span` of virtual time: for the test's own task.
    pub async fn pause(&self, span: Duration) {
        let at = Mono(self.shared.now_ns()) + span;
        self.shared.sleep_until(at.0).await;
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.shared.now_ns())
    }

    /// Adds an event of the test's own to the trace.
    pub fn note(&self, text: &str) {
        self.shared.event(format_args!("note {text}"));
    }

    /// The record of the run so far.
    pub fn trace(&self) -> TraceSummary {
        lock(&self.shared.trace).summary()
    }

    /// The text of every event, when `keep_lines` was set.
    pub fn trace_lines(&self) -> Vec<String> {
        lock(&self.shared.trace).lines()
    }

    /// How often the fault of that name took effect.
    pub fn count(&self, name: &str) -> u64 {
        lock(&self.shared.trace).counted(name)
    }

    /// How often processes of the machine gave back memory.
    pub fn given_back(&self, name: &str) -> u64 {
        self.find(name).given_back.load(Ordering::Relaxed)
    }

    /// Tasks that panicked, in order: `node/task: message`.
    pub fn panics(&self) -> Vec<String> {
        let nodes: Vec<_> = lock(&self.shared.nodes).values().cloned().collect();
        nodes.iter().flat_map(|node| node.panics()).collect()
    }

    /// Ends every process and forgets every node.
    pub(crate) fn dissolve(&self) {
        let nodes = std::mem::take(&mut *lock(&self.shared.nodes));
        for node in nodes.values() {
            node.end_process();
        }
        let net = std::mem::take(&mut *lock(&self.shared.net));
        drop(net);
    }
}
