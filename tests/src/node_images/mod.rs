//! Crash images of a whole node: its metadata log, the two slots with its term and vote, its
//! snapshots of the metadata, and a second log directory that may be away, or an old copy of itself.
//!
//! What is judged of each image: the broker starts and shows every topic that it acknowledged or
//! showed before, whole, of the same cluster, and none that is gone; every record acknowledged is in
//! its place; it takes topics and records, and those are there behind the next crash; no term is
//! used twice, no vote changes. While a directory is away its partitions are refused, never empty,
//! and made nowhere else; the others serve.

mod histories;
mod mount;
mod node;
mod promise;
mod stage;
mod terms;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_config::BrokerConfig;
use millrace_host::Host;
use millrace_images::disk::{Plant, lock};
use millrace_images::volume::{Change, Op, Volume};
use millrace_images::{
    Broken, Counts, Draw, Plan, Processing, Recorded, Subject, Work, Wrong, every_image,
};
use millrace_sim::Sim;

use mount::{OLD, Stands, UNDER};
use node::{Node, Setup};
use promise::Known;
pub use promise::Promises;

/// The log directory with the metadata log.
const METADATA: &str = "/a";
/// The other one.
const SECOND: &str = "/b";
/// Names of topics that processes make and remove.
const NAMES: [&str; 3] = ["x", "y", "z"];

/// A history by its name.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// What it is called.
    pub name: &'static str,
    setup: Setup,
    /// Of which directory there is an old copy, if of any.
    copied: &'static str,
    play: fn(Setup, Option<Plant>) -> Result<Recorded<Promises>, Wrong>,
}

pub use histories::HISTORIES;

/// Judges the images of one history.
pub fn judge(history: &History, plan: Plan) -> Result<Counts, Broken> {
    judge_with(history, None, plan)
}

fn judge_with(history: &History, plant: Option<Plant>, plan: Plan) -> Result<Counts, Broken> {
    let broken = |image, what| Broken {
        history: history.name,
        image,
        what,
    };
    let recorded = (history.play)(history.setup, plant);
    let recorded = recorded.map_err(|wrong| broken(None, wrong))?;
    let config = history.setup.config();
    let whole = WholeNode {
        config: config.map_err(|wrong| broken(None, wrong))?,
        two: history.setup.two,
        copied: history.copied,
    };
    every_image(&whole, &recorded, plan)
        .map_err(|failure| broken(Some(failure.image), failure.to_string()))
}

/// A node as what is crashed.
struct WholeNode {
    config: BrokerConfig,
    two: bool,
    copied: &'static str,
}

impl Subject for WholeNode {
    type Promises = Promises;

    fn process<'a>(
        &'a self,
        sim: &'a Sim,
        host: Host,
        promises: Arc<Mutex<Promises>>,
        work: Work,
    ) -> Processing<'a> {
        Box::pin(self.run(sim, host, promises, work))
    }

    fn saw(promises: &mut Promises, volume: &Volume, op: &Op) {
        saw(promises, volume, op);
    }
}

/// What the disk promises by itself.
fn saw(promises: &mut Promises, volume: &Volume, op: &Op) {
    promises.terms.saw(volume, op);
    if let Op::Change(Change::Names { dir, .. }) = op {
        let old = volume.cache.lookup(Path::new(OLD));
        promises.copy_is_used |= old == Some(*dir);
    }
}

impl WholeNode {
    async fn run(
        &self,
        sim: &Sim,
        host: Host,
        promises: Arc<Mutex<Promises>>,
        mut work: Work,
    ) -> Result<(), Wrong> {
        let (away, stands) = self.mounted(&promises, &mut work);
        let machine = Arc::clone(&work.machine);
        let config = (host, self.config.clone());
        let node = Node::start(sim, config, &machine, &promises, (away, stands)).await;
        let is_metadata_old = stands == Stands::OldCopy && away == METADATA;
        let node = match node {
            Err(wrong) if is_metadata_old && wrong.contains("is an old copy") => return Ok(()),
            node => node.map_err(|wrong| format!("{away} {stands:?}: {wrong}"))?,
        };
        lock(&promises).is_sighted = stands == Stands::Itself;
        let draw = &mut work.draw;
        let worked = async {
            node.look(!work.lazy).await?;
            act(&node, &promises, draw).await?;
            node.sound()
        };
        worked
            .await
            .map_err(|wrong| format!("{away} {stands:?}: {wrong}"))?;
        if draw.once_in(2) {
            sim.pause(Duration::from_millis(10)).await;
        }
        if draw.once_in(4) {
            node.stop().await;
        }
        Ok(())
    }

    /// What stands where, for this process.
    fn mounted(&self, promises: &Arc<Mutex<Promises>>, work: &mut Work) -> (&'static str, Stands) {
        let (is_copied, is_under) = {
            let machine = lock(&work.machine);
            let cache = &machine.volume.cache;
            let is = |path: &str| cache.lookup(Path::new(path)).is_some();
            (is(OLD), is(UNDER))
        };
        let promises = lock(promises);
        if promises.copy_is_used {
            return (self.copied, Stands::OldCopy);
        }
        let may_miss = self.two && promises.holds(SECOND);
        match work.draw.below(8) {
            0 if may_miss => (SECOND, Stands::Failing),
            1 if may_miss => (SECOND, Stands::Nothing),
            2 if may_miss && is_under => (SECOND, Stands::MountPoint),
            // Of the metadata's own directory nobody else can tell.
            3 | 4 if is_copied && (self.copied == SECOND || promises.is_sighted) => {
                (self.copied, Stands::OldCopy)
            }
            _ => (SECOND, Stands::Itself),
        }
    }
}

/// What a process does once it has looked.
async fn act(
    node: &Node<'_>,
    promises: &Arc<Mutex<Promises>>,
    draw: &mut Draw,
) -> Result<(), Wrong> {
    for _ in 0..=draw.below(3) {
        let there = lock(promises).there();
        let name = NAMES[draw.below(NAMES.len())];
        let known = lock(promises).topics.get(name).copied();
        match draw.below(4) {
            0 | 1 if !matches!(known, Some(Known::There(..))) => {
                let partitions = [1, 2, 2, 40][draw.below(4)];
                node.create(name, partitions).await?;
            }
            0 if !there.is_empty() => {
                let (name, ..) = &there[draw.below(there.len())];
                node.delete(name).await?;
            }
            _ if !there.is_empty() => {
                let (name, _, partitions) = &there[draw.below(there.len())];
                let partition = draw.below(usize::try_from(*partitions).unwrap_or(1).min(4));
                node.produce(name, partition as i32, draw).await?;
            }
            _ => {
                node.create(name, 1).await?;
            }
        }
    }
    Ok(())
}
