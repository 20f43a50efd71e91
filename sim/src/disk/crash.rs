//! A power cut: what is left of what was not synced.

use std::collections::BTreeMap;

use super::image::PAGE;
use super::inode::{Change, FileNode, Pending};
use super::state::DiskState;
use crate::faults;
use crate::world::Shared;

/// Draws what is left, and makes it what the next process finds. With `flips` one bit of what is left
/// of the un-synced bytes of each log and journal may be another.
pub(crate) fn power_cut(shared: &Shared, node: &str, disk: &mut DiskState, flips: bool) {
    let style = shared.draw(4);
    let (kept, lost) = disk.names.power_cut(|_| keep(shared, style));
    let mut un_synced = kept + lost > 0;
    let mut torn = false;
    shared.count(faults::LOST_NAMES, u64::from(lost > 0));
    shared.event(format_args!(
        "power cut {node} names kept {kept} lost {lost}"
    ));
    let sector = disk.sector;
    for (number, file) in &mut disk.files {
        if !file.pending.is_empty() {
            let changes = std::mem::take(&mut file.pending);
            let fresh = if flips {
                fresh_bytes(file, &changes)
            } else {
                Vec::new()
            };
            let left = write_back_partly(shared, file, &changes, sector);
            shared.event(format_args!(
                "power cut {node} file {number} changes {} sectors kept {} lost {}",
                changes.len(),
                left.kept,
                left.lost
            ));
            flip_one(shared, file, &fresh);
            shared.count(faults::SECTORS_LOST, left.lost);
            shared.count(faults::SECTORS_KEPT, left.kept);
            un_synced = true;
            torn |= left.torn > 0;
        }
        file.cache = file.durable.clone();
        file.rot.show();
    }
    shared.count(faults::POWER_CUT, u64::from(un_synced));
    shared.count(faults::TORN_WRITE, u64::from(torn));
    disk.forget_unreachable();
}

/// Un-synced writes to places of a log or journal that held nothing: what they hold is promised by
/// nobody. (Bytes that recovery writes again in place are.)
fn fresh_bytes(file: &FileNode, changes: &[Pending]) -> Vec<(u64, u64)> {
    let is_log = file
        .name
        .rsplit_once('.')
        .is_some_and(|(_, suffix)| suffix == "log");
    if !is_log && !file.name.starts_with("journal.") {
        return Vec::new();
    }
    let fresh = changes.iter().filter_map(|pending| match &pending.change {
        Change::Write { lands, device, .. } => {
            let mut before = vec![0; device.len()];
            file.durable.read(*lands, &mut before);
            let is_fresh = before.iter().all(|byte| *byte == 0);
            is_fresh.then(|| at_risk(*lands, device.len() as u64, is_log))
        }
        Change::Len(_) => None,
    });
    fresh.collect()
}

/// What a write puts at risk: its own bytes; in a journal, which relies on nothing, every block that
/// it touches.
fn at_risk(lands: u64, len: u64, is_log: bool) -> (u64, u64) {
    if is_log {
        return (lands, len);
    }
    let from = lands / PAGE * PAGE;
    (from, (lands + len).next_multiple_of(PAGE) - from)
}

/// Flips one bit of those bytes, now and then.
fn flip_one(shared: &Shared, file: &mut FileNode, fresh: &[(u64, u64)]) {
    if fresh.is_empty() || shared.draw(3) > 0 {
        return;
    }
    let (at, len) = fresh[shared.draw(fresh.len() as u64) as usize];
    let byte = at + shared.draw(len);
    let bit = shared.draw(8) as u8;
    let mut left = [0];
    file.durable.read(byte, &mut left);
    if left != [0] && file.durable.flip(byte, bit) {
        file.rot.add(byte, 1, faults::CUT_FLIP, true);
        shared.event(format_args!("power cut flips byte {byte} of {}", file.name));
    }
}

/// One drawn choice: styles 0 and 1 are the sharp cases, all and nothing.
fn keep(shared: &Shared, style: u64) -> bool {
    match style {
        0 => true,
        1 => false,
        _ => shared.draw(2) == 0,
    }
}

/// What reached the device of one file, in sectors and writes.
#[derive(Default)]
pub(super) struct Left {
    kept: u64,
    lost: u64,
    /// Writes of which a part is there.
    torn: u64,
}

/// Applies a drawn part of `changes`, which are off the list already, to the durable image: per
/// sector, how many of the changes that touch it were written back; for the length, how many of
/// those that set it.
pub(super) fn write_back_partly(
    shared: &Shared,
    file: &mut FileNode,
    changes: &[Pending],
    sector: u64,
) -> Left {
    let style = shared.draw(5);
    // Style 4: the device took everything up to one moment and nothing after.
    let moment = shared.draw(changes.len() as u64 + 1) as usize;
    let draw_upto = |count: usize, before: usize| match style {
        0 => count,
        1 => 0,
        4 => before,
        _ => shared.draw(count as u64 + 1) as usize,
    };
    let len = {
        let lens = lengths(file.durable.len, changes);
        lens[draw_upto(changes.len(), moment)]
    };
    let mut left = Left::default();
    // Of each change: sectors that got it, sectors that did not.
    let mut reached = vec![(0_u64, 0_u64); changes.len()];
    for (start, touching) in sectors(file, changes, sector) {
        let before = touching.partition_point(|index| *index < moment);
        let upto = draw_upto(touching.len(), before);
        for (at, index) in touching.iter().enumerate() {
            if at < upto {
                write_sector(file, &changes[*index].change, start, sector);
                reached[*index].0 += 1;
            } else {
                reached[*index].1 += 1;
            }
        }
        if upto < touching.len() {
            left.lost += 1;
        } else {
            left.kept += 1;
        }
    }
    left.torn = reached
        .iter()
        .filter(|(got, missed)| *got > 0 && *missed > 0)
        .count() as u64;
    file.durable.zero_from(len, u64::MAX);
    file.durable.len = len;
    left
}

/// The length after none, one, two ... of the changes.
fn lengths(first: u64, changes: &[Pending]) -> Vec<u64> {
    let mut len = first;
    let mut lens = vec![len];
    for Pending { change, .. } in changes {
        len = match change {
            Change::Write { at, data, .. } => len.max(at + data.len() as u64),
            Change::Len(len) => *len,
        };
        lens.push(len);
    }
    lens
}

/// First byte of every sector that a change touches, with the changes that do, in order.
fn sectors(file: &FileNode, changes: &[Pending], sector: u64) -> BTreeMap<u64, Vec<usize>> {
    let mut touched: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, Pending { change, .. }) in changes.iter().enumerate() {
        match change {
            Change::Write { lands, device, .. } => {
                let mut at = lands / sector * sector;
                while at < lands + device.len() as u64 {
                    touched.entry(at).or_default().push(index);
                    at += sector;
                }
            }
            Change::Len(len) => {
                // Sectors that hold something behind the cut: on the device, or from a change.
                let mut behind: Vec<u64> = touched
                    .range(len / sector * sector..)
                    .map(|(at, _)| *at)
                    .collect();
                for page in file.durable.pages_from(*len) {
                    behind.extend((page..page + PAGE).step_by(sector as usize));
                }
                behind.sort_unstable();
                behind.dedup();
                for at in behind {
                    if at + sector > *len {
                        touched.entry(at).or_default().push(index);
                    }
                }
            }
        }
    }
    touched
}

/// Applies the part of a change that lies in one sector.
fn write_sector(file: &mut FileNode, change: &Change, start: u64, sector: u64) {
    match change {
        Change::Write {
            at,
            data,
            lands,
            device,
        } => {
            let from = start.max(*lands);
            let to = (start + sector).min(lands + device.len() as u64);
            let part = &device[(from - lands) as usize..(to - lands) as usize];
            file.durable.write(from, part);
            file.rot.cover(from, to - from);
            let skip = (from - lands) as usize;
            file.rot.add_write(
                (at + skip as u64, &data[skip..skip + part.len()]),
                (from, part),
            );
        }
        Change::Len(len) => file.durable.zero_from(start.max(*len), start + sector),
    }
}
