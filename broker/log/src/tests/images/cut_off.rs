//! Every state in which a power cut may leave a volume, for a moment of its history.
//!
//! Of the changes that are not certain: every subset where there are few; otherwise every prefix,
//! all without one, and each alone. Of the last write: torn at every sector, in the middle of
//! some, its end before its beginning, and zeros in its place; with all and with none of the others.

use bytes::Bytes;

use super::volume::{Change, Op, Tree, Volume};

/// With so many changes or fewer, every subset is tried.
pub(super) const SUBSETS_MAX: usize = 4;
const SECTOR: usize = 512;
/// Sector boundaries tried in one write: the first ones and the last ones.
const TEARS_MAX: usize = 6;

/// Calls `judge` with every state after the last operation of `volume`, `op`.
pub(super) fn each(volume: &Volume, op: &Op, mut judge: impl FnMut(Tree, &str)) {
    let pending: Vec<&Change> = volume.pending.iter().map(|(_, change)| change).collect();
    for kept in subsets(pending.len()) {
        let mut tree = volume.durable.clone();
        for index in &kept {
            tree.apply(pending[*index]);
        }
        judge(tree, &format!("kept {kept:?} of {}", pending.len()));
    }
    let Op::Change(Change::Write { file, at, bytes }) = op else {
        return;
    };
    if bytes.len() < 2 || bytes.iter().all(|byte| *byte == 0) {
        return;
    }
    let others = &pending[..pending.len() - 1];
    for kept in [&[], others] {
        let mut before = volume.durable.clone();
        for change in kept {
            before.apply(change);
        }
        let len = before.files.get(file).map_or(0, |content| content.len());
        for (form, changes) in torn(*file, *at, bytes, len) {
            let mut tree = before.clone();
            for change in &changes {
                tree.apply(change);
            }
            judge(tree, &format!("{} others, the last {form}", kept.len()));
        }
        if others.is_empty() {
            break;
        }
    }
}

/// Which of `count` changes are kept.
fn subsets(count: usize) -> Vec<Vec<usize>> {
    if count <= SUBSETS_MAX {
        let of = |mask: usize| (0..count).filter(|index| mask >> index & 1 == 1).collect();
        return (0..1 << count).map(of).collect();
    }
    let prefixes = (0..=count).map(|upto| (0..upto).collect());
    // The last one left out is a prefix, and so is the first one alone.
    let omissions =
        (0..count - 1).map(|without| (0..count).filter(|index| *index != without).collect());
    let alone = (1..count).map(|index| vec![index]);
    prefixes.chain(omissions).chain(alone).collect()
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
        Change::Write {
            file,
            at: from,
            bytes: vec![0; end.saturating_sub(from)].into(),
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
