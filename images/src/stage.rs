//! Short scripted histories of one log directory, with every operation on the disk recorded.

#[cfg(test)]
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_host::Host;
use millrace_log::dir::DirOptions;
use millrace_log::mark::Durability;
use millrace_log::partition::LogSettings;
use millrace_sim::Sim;

use crate::Wrong;
use crate::disk::{Machine, Plant, RecordedDisk, SyncFault, SyncTime, lock};
use crate::node::{Part, Process, options, settings, topic};
use crate::promise::Promises;
use crate::volume::{Op, Tree, Volume};

/// Longest history in simulated time: whatever waits longer waits for ever.
const LONGEST: Duration = Duration::from_mins(1);

/// What a history left.
#[derive(Debug)]
pub struct Recorded<P> {
    /// What was done.
    pub ops: Vec<Op>,
    /// What was promised before each operation, and at the end.
    pub told: Vec<P>,
    /// Where the part begins whose images are judged.
    pub from: usize,
}

/// A directory on the stage, and the process that has it.
pub(crate) struct Stage<'a> {
    pub(crate) sim: &'a Sim,
    machine: Arc<Mutex<Machine>>,
    promises: Arc<Mutex<Promises>>,
    plant: Option<Plant>,
    boot: u32,
    from: usize,
    /// How long a sync takes.
    pub(crate) sync: Duration,
    /// Files whose syncs take twenty times as long in the processes that are started from now on.
    pub(crate) slow: Option<fn(&str) -> bool>,
    pub(crate) options: DirOptions,
    running: Option<Process>,
    starts: u64,
}

/// Takes down what is promised before each operation of a machine, by its process or by the
/// operations before (`saw`). Whoever has the promises locked must not touch the disk.
pub fn witness<P: Clone + Send + 'static>(
    machine: &Arc<Mutex<Machine>>,
    promises: &Arc<Mutex<P>>,
    saw: impl Fn(&mut P, &Volume, &Op) + Send + 'static,
) -> Arc<Mutex<Vec<P>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (shown, notes) = (Arc::clone(promises), Arc::clone(&told));
    let tell = move || lock(&notes).push(lock(&shown).clone());
    let shown = Arc::clone(promises);
    let mut machine = lock(machine);
    machine.witness = Some(Box::new(tell));
    machine.watcher = Some(Box::new(move |volume, op| {
        saw(&mut lock(&shown), volume, op);
    }));
    told
}

/// Plays a script and records it.
pub(crate) fn record(
    plant: Option<Plant>,
    script: impl AsyncFnOnce(&mut Stage<'_>) -> Result<(), Wrong>,
) -> Result<Recorded<Promises>, Wrong> {
    let sim = Sim::new(3);
    let machine = Machine::new(Volume::default(), true);
    let promises = Arc::new(Mutex::new(Promises::default()));
    let told = witness(&machine, &promises, |_, _, _| {});
    let mut stage = Stage {
        sim: &sim,
        machine: Arc::clone(&machine),
        promises: Arc::clone(&promises),
        plant,
        boot: 0,
        from: 0,
        sync: Duration::from_millis(1),
        slow: None,
        options: options(),
        running: None,
        starts: 0,
    };
    let played = sim.block_on(async {
        let play = async {
            stage.start().await?;
            script(&mut stage).await
        };
        tokio::select! {
            biased;
            played = play => played,
            () = sim.pause(LONGEST) => Err("it never ends".to_owned()),
        }
    });
    let from = stage.from;
    drop(stage);
    played.map_err(|error| format!("while it was played: {error}"))?;
    if let Some(panic) = sim.panics().first() {
        return Err(panic.clone());
    }
    let mut machine = lock(&machine);
    machine.witness = None;
    machine.watcher = None;
    let ops = machine.ops.take().unwrap_or_default();
    let mut told = std::mem::take(&mut *lock(&told));
    told.push(lock(&promises).clone());
    Ok(Recorded { ops, told, from })
}

impl Stage<'_> {
    /// Images before this point are those of other histories.
    pub(crate) fn begin(&mut self) {
        self.from = lock(&self.machine).ops.as_ref().map_or(0, Vec::len);
    }

    /// Starts a process.
    pub(crate) async fn start(&mut self) -> Result<(), Wrong> {
        let node = self.sim.node("n");
        let clock = node.clock.clone();
        let time = match self.slow {
            None => SyncTime::Fixed(self.sync, clock),
            Some(of) => SyncTime::Uneven {
                swift: self.sync,
                slow: self.sync * 20,
                of,
                clock,
            },
        };
        let disk = RecordedDisk::on(&self.machine, self.boot, time, self.plant);
        let host = Host {
            disk: Arc::new(disk),
            ..node
        };
        self.starts += 1;
        lock(&self.promises).failed = None;
        let process = Process::start(host, self.options.clone(), &self.promises, self.starts);
        self.running = Some(process.await?);
        Ok(())
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.end();
        lock(&self.machine).apply(Op::Killed);
    }

    fn end(&mut self) {
        if let Some(process) = self.running.take() {
            process.host.spawn.kill();
        }
        self.sim.kill("n");
    }

    /// Takes the power away; nothing un-synced is left.
    pub(crate) fn cut_power(&mut self) {
        let tree = lock(&self.machine).volume.durable.clone();
        self.leave(tree, true);
    }

    /// Takes the power away; what is left is said.
    #[cfg(test)]
    pub(crate) fn cut_power_to(&mut self, left: impl FnOnce(&Volume) -> Tree) {
        let tree = left(&lock(&self.machine).volume);
        self.leave(tree, true);
    }

    /// Kills the process; what is left on the device and in the cache is said.
    #[cfg(test)]
    pub(crate) fn kill_to(&mut self, left: impl FnOnce(&Volume) -> Tree) {
        let tree = left(&lock(&self.machine).volume);
        self.leave(tree, false);
    }

    fn leave(&mut self, tree: Tree, rebooted: bool) {
        self.end();
        let tree = Box::new(tree);
        lock(&self.machine).apply(Op::Left { tree, rebooted });
        self.boot += u32::from(rebooted);
    }

    /// The cache lets go of what was written to a file and not synced yet.
    #[cfg(test)]
    pub(crate) fn forget(&mut self, path: &str) -> Result<(), Wrong> {
        let mut machine = lock(&self.machine);
        let found = machine.volume.cache.lookup(Path::new(path));
        let file = found.ok_or_else(|| format!("{path} is not there"))?;
        machine.apply(Op::Forgotten(file));
        Ok(())
    }

    /// What the cache shows.
    #[cfg(test)]
    pub(crate) fn tree(&self) -> Tree {
        lock(&self.machine).volume.cache.clone()
    }

    /// Everything that was done so far.
    #[cfg(test)]
    pub(crate) fn ops(&self) -> Vec<Op> {
        lock(&self.machine).ops.clone().unwrap_or_default()
    }

    /// Files with records that were closed before they were synced (S2).
    #[cfg(test)]
    pub(crate) fn closed_early(&self) -> Vec<String> {
        lock(&self.machine).closed_early.clone()
    }

    /// The next sync of such a file fails.
    pub(crate) fn fail_sync(&mut self, fault: SyncFault) {
        lock(&self.machine).fault = Some(fault);
    }

    /// Waits until the directory is offline, and says why.
    pub(crate) async fn failed(&self) -> Result<String, Wrong> {
        let offline = self.process()?.partitions.dir().until_offline().await;
        Ok(offline.to_string())
    }

    /// Operations that changed something so far.
    pub(crate) fn changes(&self) -> usize {
        let machine = lock(&self.machine);
        let ops = machine.ops.iter().flatten();
        ops.filter(|op| matches!(op, Op::Change(_))).count()
    }

    pub(crate) fn process(&self) -> Result<&Process, Wrong> {
        self.running
            .as_ref()
            .ok_or_else(|| "nothing runs".to_owned())
    }

    pub(crate) async fn open(&self, index: u8) -> Result<Part, Wrong> {
        self.open_with(index, settings(Durability::Fsync)).await
    }

    /// Opens a partition of a page-cache topic; so does whoever judges.
    pub(crate) async fn open_page_cache(&self, index: u8) -> Result<Part, Wrong> {
        let durability = Durability::PageCache;
        let part = self.open_with(index, settings(durability)).await?;
        part.promise(|promise| promise.durability = durability);
        Ok(part)
    }

    pub(crate) async fn open_with(&self, index: u8, settings: LogSettings) -> Result<Part, Wrong> {
        self.process()?.open(topic(index), settings).await
    }

    pub(crate) async fn pause(&self, span: Duration) {
        self.sim.pause(span).await;
    }

    /// Longer than the lag: what waits for company is committed, and proven.
    pub(crate) async fn idle(&self) {
        self.pause(Duration::from_millis(10)).await;
    }

    /// Appends and waits for the acknowledgement.
    pub(crate) async fn append(&self, part: &mut Part, payload: usize) -> Result<(), Wrong> {
        part.append(payload)?;
        part.acked().await
    }

    /// A clean stop.
    pub(crate) async fn stop(&mut self, parts: Vec<Part>) -> Result<(), Wrong> {
        self.process()?.stop(parts).await?;
        self.kill();
        Ok(())
    }

    /// Ledgers written so far.
    pub(crate) fn ledgers(&self) -> Result<u64, Wrong> {
        Ok(self.process()?.partitions.dir().flusher_counts().ledgers)
    }
}
