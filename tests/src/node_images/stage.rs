//! Short scripted histories of a node, with every operation on its disk recorded.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_host::Host;
use millrace_images::disk::{Machine, Plant, RecordedDisk, SyncFault, SyncTime, lock};
use millrace_images::volume::{Op, ROOT, Tree, Volume};
use millrace_images::{Draw, Recorded, Wrong, witness};
use millrace_sim::Sim;

use super::mount::{OLD, Stands, UNDER};
use super::node::{Node, Setup};
use super::promise::Promises;
use super::{METADATA, SECOND, saw};

/// Longest history in simulated time.
const LONGEST: Duration = Duration::from_mins(2);
/// How long a sync takes.
const SYNC: Duration = Duration::from_millis(1);
/// Inodes of copies: far from those of what runs.
const COPIED: u64 = 1 << 40;
/// The empty directory under a mount point.
const UNDER_INODE: u64 = 1 << 50;

/// A node on the stage.
pub(super) struct Stage<'a> {
    sim: &'a Sim,
    setup: Setup,
    machine: Arc<Mutex<Machine>>,
    promises: Arc<Mutex<Promises>>,
    plant: Option<Plant>,
    boot: u32,
    from: usize,
    draw: Draw,
    node: Option<Node<'a>>,
}

/// Plays a script and records it.
pub(super) fn record(
    setup: Setup,
    plant: Option<Plant>,
    script: impl AsyncFnOnce(&mut Stage<'_>) -> Result<(), Wrong>,
) -> Result<Recorded<Promises>, Wrong> {
    let sim = Sim::new(5);
    let machine = Machine::new(Volume::default(), true);
    let promises = Arc::new(Mutex::new(Promises::default()));
    let told = witness(&machine, &promises, saw);
    let mut stage = Stage {
        sim: &sim,
        setup,
        machine: Arc::clone(&machine),
        promises: Arc::clone(&promises),
        plant,
        boot: 0,
        from: 0,
        draw: Draw::new(9),
        node: None,
    };
    let played = sim.block_on(async {
        let play = async {
            stage.start().await?;
            script(&mut stage).await?;
            stage.end();
            lock(&promises).terms.sound()
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
    (machine.witness, machine.watcher) = (None, None);
    let ops = machine.ops.take().unwrap_or_default();
    let mut told = std::mem::take(&mut *lock(&told));
    told.truncate(ops.len());
    told.push(lock(&promises).clone());
    Ok(Recorded { ops, told, from })
}

impl Stage<'_> {
    /// Images before this point are those of other histories.
    pub(super) fn begin(&mut self) {
        self.from = lock(&self.machine).ops.as_ref().map_or(0, Vec::len);
    }

    /// Starts a process.
    pub(super) async fn start(&mut self) -> Result<(), Wrong> {
        let node = self.sim.node("n");
        let time = SyncTime::Fixed(SYNC, node.clock.clone());
        let disk = RecordedDisk::on(&self.machine, self.boot, time, self.plant);
        let host = Host {
            disk: Arc::new(disk),
            ..node
        };
        let config = self.setup.config()?;
        let away = (SECOND, Stands::Itself);
        let node = Node::start(
            self.sim,
            (host, config),
            &self.machine,
            &self.promises,
            away,
        );
        self.node = Some(node.await?);
        lock(&self.promises).is_sighted = true;
        Ok(())
    }

    pub(super) fn node(&self) -> Result<&Node<'_>, Wrong> {
        self.node.as_ref().ok_or_else(|| "nothing runs".to_owned())
    }

    /// Appends one record to each of the first partitions of a topic.
    pub(super) async fn produce(&mut self, name: &str, partitions: i32) -> Result<(), Wrong> {
        let draw = &mut self.draw;
        let node = self.node.as_ref().ok_or("nothing runs")?;
        for partition in 0..partitions {
            node.produce(name, partition, draw).await?;
        }
        Ok(())
    }

    /// Longer than the lag: what waits for company is committed.
    pub(super) async fn idle(&self) {
        self.wait(Duration::from_millis(10)).await;
    }

    pub(super) async fn wait(&self, span: Duration) {
        self.sim.pause(span).await;
    }

    fn end(&mut self) {
        self.node = None;
        self.sim.kill("n");
    }

    /// kill -9.
    pub(super) fn kill(&mut self) {
        self.end();
        lock(&self.machine).apply(Op::Killed);
    }

    /// A clean stop.
    pub(super) async fn stop(&mut self) -> Result<(), Wrong> {
        self.node.take().ok_or("nothing runs")?.stop().await;
        self.kill();
        Ok(())
    }

    /// Takes the power away; nothing un-synced is left.
    pub(super) fn cut_power(&mut self) {
        self.end();
        let tree = lock(&self.machine).volume.durable.clone();
        self.leave(tree, true);
    }

    fn leave(&mut self, tree: Tree, rebooted: bool) {
        let tree = Box::new(tree);
        lock(&self.machine).apply(Op::Left { tree, rebooted });
        self.boot += u32::from(rebooted);
    }

    /// Changes what lies on the disk while nothing runs.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Tree)) {
        self.end();
        let mut tree = lock(&self.machine).volume.cache.clone();
        change(&mut tree);
        self.leave(tree, false);
    }

    /// The next sync of such a file fails.
    pub(super) fn fail_sync(&mut self, of: fn(&str) -> bool) {
        let fault = SyncFault { of, lost: false };
        lock(&self.machine).fault = Some(fault);
    }

    /// Whether a fault still waits for its sync.
    pub(super) fn is_fault_left(&self) -> bool {
        lock(&self.machine).fault.is_some()
    }

    /// What the cache shows.
    pub(super) fn tree(&self) -> Tree {
        lock(&self.machine).volume.cache.clone()
    }
}

/// The names of whole snapshots of the metadata, oldest first.
pub(super) fn snapshots(tree: &Tree) -> Vec<String> {
    let home = Path::new(METADATA).join("__cluster_metadata-0");
    let names = tree.lookup(&home).and_then(|home| tree.dirs.get(&home));
    let names = names.into_iter().flat_map(|names| names.keys());
    let whole = names.filter(|name| name.ends_with(".checkpoint"));
    whole
        .filter(|name| name.starts_with('0'))
        .cloned()
        .collect()
}

/// Makes the empty directory that lies under a mount point.
pub(super) fn make_mount_point(tree: &mut Tree) {
    let root = tree.dirs.entry(ROOT).or_default();
    Arc::make_mut(root).insert(UNDER[1..].to_owned(), UNDER_INODE);
    tree.dirs.entry(UNDER_INODE).or_default();
}

/// Copies a directory as it stands to the place of old copies.
pub(super) fn copy_for_later(tree: &mut Tree, directory: &str) {
    let Some(home) = tree.lookup(Path::new(directory)) else {
        return;
    };
    let copy = |inode: u64| inode + COPIED;
    let mut left = vec![home];
    while let Some(inode) = left.pop() {
        if let Some(names) = tree.dirs.get(&inode).cloned() {
            let copied = names.iter().map(|(name, of)| (name.clone(), copy(*of)));
            tree.dirs.insert(copy(inode), Arc::new(copied.collect()));
            left.extend(names.values());
        } else if let Some(content) = tree.files.get(&inode).cloned() {
            tree.files.insert(copy(inode), content);
        }
    }
    let root = tree.dirs.entry(ROOT).or_default();
    Arc::make_mut(root).insert(OLD[1..].to_owned(), copy(home));
}
