//! A log directory as what is crashed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_host::Host;
use millrace_log::mark::{Durability, Incarnation};
use millrace_sim::Sim;

use crate::Wrong;
use crate::disk::lock;
use crate::draw::Draw;
use crate::judge::{Processing, Subject, Work};
use crate::node::{Part, Process, options, settings, topic};
use crate::promise::{Promises, Removal};

/// A log directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Directory;

impl Subject for Directory {
    type Promises = Promises;

    fn process<'a>(
        &'a self,
        sim: &'a Sim,
        host: Host,
        promises: Arc<Mutex<Promises>>,
        work: Work,
    ) -> Processing<'a> {
        Box::pin(process(sim, host, promises, work))
    }
}

async fn process(
    sim: &Sim,
    host: Host,
    promises: Arc<Mutex<Promises>>,
    mut work: Work,
) -> Result<(), Wrong> {
    let lazy = work.lazy;
    let draw = &mut work.draw;
    lock(&promises).failed = None;
    let process = Process::start(host, options(), &promises, draw.bits()).await?;
    let promised: Vec<_> = lock(&promises)
        .parts
        .iter()
        .map(|(whose, promise)| (*whose, promise.topic, promise.removal, promise.durability))
        .collect();
    // Removals first: a new topic of the name waits for them.
    for (whose, name, removal, _) in &promised {
        if *removal != Removal::None {
            let removed = process.remove(*whose).await;
            removed.map_err(|error| format!("{name}: {error}"))?;
        }
    }
    let mut parts = Vec::new();
    for (whose, name, removal, durability) in promised {
        if removal != Removal::None || lazy && draw.once_in(2) {
            continue;
        }
        let named = |error: Wrong| format!("{name}: {error}");
        let opened = process.open((whose, name), settings(durability)).await;
        let part = opened.map_err(named)?;
        let worked = work_on(&process, part, whose, durability, draw).await;
        parts.push(worked.map_err(named)?);
    }
    process.sound()?;
    if draw.once_in(2) {
        sim.pause(Duration::from_millis(10)).await;
    }
    if draw.once_in(6) {
        process.stop(parts).await?;
    }
    process.sound()?;
    work.kept_open()
}

/// What is done with a partition once it is open.
async fn work_on(
    process: &Process,
    mut part: Part,
    whose: Incarnation,
    durability: Durability,
    draw: &mut Draw,
) -> Result<Part, Wrong> {
    let (start, end) = (part.log.log_start(), part.log.log_end());
    let acked = part.promise(|promise| promise.acked);
    match draw.below(16) {
        // Not down to the log start: with the snapshot above the cut goes what is known of producers
        // whose records are gone already. No log of one node is cut below what was acknowledged.
        0 if end > start + 2 => part.cut(end - 2).await?,
        1 if acked > start => part.move_start(start + 2).await?,
        2 if whose.topic_id[0] < 200 => {
            part.remove().await?;
            let again = topic(whose.topic_id[0] - 1 + 10);
            part = process.open(again, settings(durability)).await?;
            part.promise(|promise| promise.durability = durability);
        }
        3 => {
            for _ in 0..3 {
                part.append(20)?;
            }
        }
        4 | 5 => part.append(2_200)?,
        6 | 7 => {
            part.append(900)?;
            part.append(900)?;
        }
        8 => part.clean_some(draw).await?,
        _ => {}
    }
    part.append(3)?;
    part.acked().await?;
    Ok(part)
}
