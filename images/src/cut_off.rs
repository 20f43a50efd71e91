//! Every state in which a crash may leave a volume, for a moment of its history.
//!
//! Exhaustively: of the changes that are not certain every subset, where there are no more than
//! [`Scale::subsets_max`]; otherwise every prefix, all without one, and each alone. Of the last write:
//! torn at every sector, in the middle of some, its end before its beginning, and zeros in its place,
//! with every subset of the others where there are few, otherwise with all and with none of them.
//! Drawn from the seed: any sector of any change old or new.

use bytes::Bytes;

use crate::draw::Draw;
use crate::volume::{Change, Limbo, Op, Tree, Volume};

const SECTOR: usize = 512;
/// Sector boundaries tried in one write: the first ones and the last ones.
const TEARS_MAX: usize = 6;
/// With so many other changes or fewer, a torn write is tried with every subset of them.
const OTHERS_MAX: usize = 2;
/// What a failed sync covered is tried in every way up to so many changes.
const LIMBO_MAX: usize = 3;

/// How many images a run judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Up to so many changes that are not certain, every subset is tried.
    pub subsets_max: usize,
    /// States drawn sector by sector, for each moment; four times as many where not every subset
    /// is tried.
    pub drawn: usize,
    /// Second crashes drawn for each image.
    pub seconds: usize,
    /// One image in so many is judged, drawn from the seed.
    pub one_in: usize,
}

impl Scale {
    /// All that is tried exhaustively, and a million with what is drawn.
    pub const FULL: Self = Self {
        subsets_max: 12,
        drawn: 24,
        seconds: 3,
        one_in: 1,
    };
    /// What fits into a gate.
    pub const SMOKE: Self = Self {
        subsets_max: 5,
        drawn: 2,
        seconds: 1,
        one_in: 1,
    };
    /// What fits into a unit test.
    pub const TEST: Self = Self {
        subsets_max: 3,
        drawn: 1,
        seconds: 1,
        one_in: 24,
    };
}

/// In which way a state was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The process was killed; the cache lives.
    Kill,
    /// A power cut kept a subset of the changes.
    Subset,
    /// A power cut kept part of the last write.
    Torn,
    /// A power cut kept sectors drawn from the seed.
    Drawn,
}

/// Calls `judge` with every state after the last operation of `volume`, `op`, that was not there
/// before it; with all of them if something was `promised` since.
pub(crate) fn each(
    (volume, op): (&Volume, &Op),
    promised: bool,
    scale: &Scale,
    draw: &mut Draw,
    judge: &mut impl FnMut(Volume, Kind, &str),
) {
    let is_change = matches!(op, Op::Change(_));
    if !is_change && !promised && !matches!(op, Op::SyncFailed { .. } | Op::Left { .. }) {
        return;
    }
    kills(volume, judge);
    let changes = volume.uncertain();
    let new = is_change && !promised;
    for kept in subsets(changes.len(), new, scale.subsets_max) {
        let mut tree = volume.durable.clone();
        for index in &kept {
            tree.apply(changes[*index]);
        }
        let how = format!("kept {kept:?} of {}", changes.len());
        judge(Volume::of(tree), Kind::Subset, &how);
    }
    if let Op::Change(last) = op {
        tears(volume, &changes[..changes.len() - 1], last, judge);
    }
    if !changes.is_empty() {
        let more = if changes.len() > scale.subsets_max {
            4
        } else {
            1
        };
        for nth in 0..scale.drawn * more {
            let tree = by_sector(volume, draw);
            judge(Volume::of(tree), Kind::Drawn, &format!("draw {nth}"));
        }
    }
}

fn kills(volume: &Volume, judge: &mut impl FnMut(Volume, Kind, &str)) {
    let count = volume.limbo.len().min(LIMBO_MAX);
    for ways in 0..3_usize.pow(count as u32) {
        let of = |at: usize| match ways / 3_usize.pow(at.min(LIMBO_MAX - 1) as u32) % 3 {
            0 => Limbo::Cached,
            1 => Limbo::OnDevice,
            _ => Limbo::Lost,
        };
        judge(
            volume.killed(of),
            Kind::Kill,
            &format!("killed, way {ways}"),
        );
    }
}

/// Which of `count` changes are kept; with the last one only, if it is `new`.
fn subsets(count: usize, new: bool, most: usize) -> Vec<Vec<usize>> {
    let of = |mask: usize| (0..count).filter(|index| mask >> index & 1 == 1).collect();
    if count <= most {
        let from = if new { 1 << (count - 1) } else { 0 };
        return (from..1 << count).map(of).collect();
    }
    let prefixes = (0..=count).map(|upto| (0..upto).collect());
    // The last one left out is a prefix, and so is the first one alone.
    let omissions =
        (0..count - 1).map(|without| (0..count).filter(|index| *index != without).collect());
    let alone = (1..count).map(|index| vec![index]);
    let all = prefixes.chain(omissions).chain(alone);
    let is_new = |kept: &Vec<usize>| !new || kept.last() == Some(&(count - 1));
    all.filter(is_new).collect()
}

/// The last write in part.
fn tears(
    volume: &Volume,
    others: &[&Change],
    last: &Change,
    judge: &mut impl FnMut(Volume, Kind, &str),
) {
    let Change::Write { file, at, bytes } = last else {
        return;
    };
    if bytes.len() < 2 {
        return;
    }
    let kept: Vec<Vec<usize>> = if others.len() <= OTHERS_MAX {
        subsets(others.len(), false, OTHERS_MAX)
    } else {
        vec![Vec::new(), (0..others.len()).collect()]
    };
    for kept in kept {
        let mut before = volume.durable.clone();
        for index in &kept {
            before.apply(others[*index]);
        }
        let len = before.files.get(file).map_or(0, |content| content.len());
        for (form, changes) in torn(*file, *at, bytes, len) {
            let mut tree = before.clone();
            for change in &changes {
                tree.apply(change);
            }
            let how = format!("others {kept:?}, the last {form}");
            judge(Volume::of(tree), Kind::Torn, &how);
        }
    }
}

/// The forms in which a write may have reached the device in part. Zeros stand in its place where
/// it made a file of `len` bytes longer: room that was taken and not written.
fn torn(file: u64, at: usize, bytes: &Bytes, len: usize) -> Vec<(String, Vec<Change>)> {
    let end = at + bytes.len();
    let write = |from: usize, to: usize| Change::Write {
        file,
        at: from,
        bytes: bytes.slice(from - at..to - at),
    };
    let zeros = |from: usize| {
        let from = from.max(len);
        Change::Zeros {
            file,
            at: from,
            len: end.saturating_sub(from),
        }
    };
    let mut cuts: Vec<usize> = (at / SECTOR + 1..=(end - 1) / SECTOR)
        .map(|sector| sector * SECTOR)
        .collect();
    if cuts.len() > TEARS_MAX {
        cuts.drain(TEARS_MAX / 2..cuts.len() - TEARS_MAX / 2);
    }
    let middles = [at + 1, at + bytes.len() / 2, end - 1];
    let mut forms = vec![("as zeros".to_owned(), vec![zeros(at)])];
    for cut in middles.iter().chain(&cuts).copied() {
        forms.push((format!("up to {cut}"), vec![write(at, cut)]));
    }
    for cut in cuts {
        forms.push((
            format!("zeros from {cut}"),
            vec![write(at, cut), zeros(cut)],
        ));
        forms.push((format!("only from {cut}"), vec![write(cut, end)]));
    }
    forms
}

/// A state in which each change is there, or not, or sector by sector.
fn by_sector(volume: &Volume, draw: &mut Draw) -> Tree {
    let mut tree = volume.durable.clone();
    for change in volume.uncertain() {
        match (draw.below(8), change) {
            (0..3, _) => tree.apply(change),
            (3..5, _) => {}
            (_, Change::Write { file, at, bytes }) => {
                let mut from = *at;
                let end = at + bytes.len();
                while from < end {
                    let upto = end.min((from / SECTOR + 1) * SECTOR);
                    let bytes = bytes.slice(from - at..upto - at);
                    if draw.once_in(2) {
                        let (file, at) = (*file, from);
                        tree.apply(&Change::Write { file, at, bytes });
                    }
                    from = upto;
                }
                let file = *file;
                let len = tree.files.get(&file).map_or(0, |content| content.len());
                if len < end && draw.once_in(2) {
                    tree.apply(&Change::Len { file, len: end });
                }
            }
            (_, Change::Zeros { .. } | Change::Len { .. } | Change::Names { .. }) => {
                if draw.once_in(2) {
                    tree.apply(change);
                }
            }
        }
    }
    tree
}

/// A crash drawn from the seed: what is left, and whether the machine was started again.
pub(crate) fn drawn(volume: &Volume, draw: &mut Draw) -> (Volume, bool) {
    if draw.once_in(6) {
        let ways = draw.bits();
        let of = |at: usize| match ways >> (at % 32 * 2) & 3 {
            0 => Limbo::OnDevice,
            1 => Limbo::Lost,
            _ => Limbo::Cached,
        };
        return (volume.killed(of), false);
    }
    let changes = volume.uncertain();
    let count = changes.len();
    let one = draw.below(count.max(1));
    let (form, bits) = (draw.below(7), draw.bits());
    if form == 6 {
        return (Volume::of(by_sector(volume, draw)), true);
    }
    let mut tree = volume.durable.clone();
    for (index, change) in changes.into_iter().enumerate() {
        let kept = match form {
            0 => false,
            1 => true,
            2 => index != one,
            3 => index == one,
            4 => index <= one,
            _ => bits >> (index % 64) & 1 == 1,
        };
        if kept {
            tree.apply(change);
        }
    }
    (Volume::of(tree), true)
}
