//! Directories: the names as the process sees them, as a power cut surely leaves them, and the
//! un-synced changes between.
//!
//! A change survives a power cut only together with every earlier un-synced change of the same
//! name (a disk cannot have the second file called `a` and still not have removed the first), and
//! the removal half of a rename between directories only with its other half (no file system
//! loses a file by renaming it). But for that, any subset survives.

use std::collections::{BTreeMap, BTreeSet};

/// The root directory's number.
pub(crate) const ROOT: u64 = 0;

/// One directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct DirNode {
    pub(crate) names: BTreeMap<String, u64>,
    pub(crate) durable: BTreeMap<String, u64>,
}

/// An un-synced change of names in one directory, atomic by itself.
#[derive(Clone, Debug)]
pub(crate) struct NameChange {
    pub(crate) number: u64,
    pub(crate) dir: u64,
    /// What each name leads to afterwards.
    pub(crate) names: Vec<(String, Option<u64>)>,
    /// Must be durable before this one may be.
    needs: Option<u64>,
    /// Its directory was synced, but what it needs was not.
    synced: bool,
}

/// All directories of a disk.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) dirs: BTreeMap<u64, DirNode>,
    pending: Vec<NameChange>,
    next: u64,
}

impl Names {
    pub(crate) fn new() -> Self {
        let dirs = BTreeMap::from([(ROOT, DirNode::default())]);
        Self {
            dirs,
            pending: Vec::new(),
            next: 0,
        }
    }

    /// Whether a power cut could take a name now.
    pub(crate) fn has_un_synced(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The number that the next change will have.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Changes names of one directory. Returns the change's number.
    pub(crate) fn change(
        &mut self,
        dir: u64,
        names: Vec<(String, Option<u64>)>,
        needs: Option<u64>,
    ) -> u64 {
        if let Some(node) = self.dirs.get_mut(&dir) {
            apply(&mut node.names, &names);
        }
        let number = self.next;
        self.next += 1;
        self.pending.push(NameChange {
            number,
            dir,
            names,
            needs,
            synced: false,
        });
        number
    }

    /// Makes durable what was changed in `dir` below `upto`.
    pub(crate) fn sync(&mut self, dir: u64, upto: u64) {
        for change in &mut self.pending {
            change.synced |= change.dir == dir && change.number < upto;
        }
        self.settle(|change| change.synced);
    }

    /// Makes durable the changes that `keep` names, as far as the rules at the top allow. Returns
    /// how many changes are left un-synced.
    fn settle(&mut self, mut keep: impl FnMut(&NameChange) -> bool) -> usize {
        let mut blocked: BTreeSet<(u64, String)> = BTreeSet::new();
        let mut left: Vec<NameChange> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            let wanted = keep(&change);
            let needs_missing = change
                .needs
                .is_some_and(|needs| left.iter().any(|other| other.number == needs));
            let behind = change
                .names
                .iter()
                .any(|(name, _)| blocked.contains(&(change.dir, name.clone())));
            if wanted && !needs_missing && !behind {
                if let Some(node) = self.dirs.get_mut(&change.dir) {
                    apply(&mut node.durable, &change.names);
                }
            } else {
                blocked.extend(
                    change
                        .names
                        .iter()
                        .map(|(name, _)| (change.dir, name.clone())),
                );
                left.push(change);
            }
        }
        self.pending = left;
        self.pending.len()
    }

    /// A power cut: `keep` draws which un-synced changes are left. Returns (kept, lost).
    pub(crate) fn power_cut(&mut self, keep: impl FnMut(&NameChange) -> bool) -> (usize, usize) {
        let all = self.pending.len();
        let lost = self.settle(keep);
        self.pending.clear();
        for node in self.dirs.values_mut() {
            node.names.clone_from(&node.durable);
        }
        (all - lost, lost)
    }

    /// Whether a power cut may give the file a name again.
    pub(crate) fn may_return(&self, number: u64) -> bool {
        let durable = self
            .dirs
            .values()
            .any(|dir| dir.durable.values().any(|it| *it == number));
        let names = |change: &NameChange| change.names.iter().any(|(_, it)| *it == Some(number));
        durable || self.pending.iter().any(names)
    }

    /// All files to which a power cut may give a name again.
    pub(crate) fn returning(&self) -> BTreeSet<u64> {
        let durable = self
            .dirs
            .values()
            .flat_map(|dir| dir.durable.values().copied());
        let pending = self.pending.iter().flat_map(|change| &change.names);
        durable
            .chain(pending.filter_map(|(_, number)| *number))
            .collect()
    }

    /// Puts a directory at a name of the root, or takes it away, at once and durably.
    pub(crate) fn mount(&mut self, name: &str, number: Option<u64>) {
        self.pending
            .retain(|change| change.dir != ROOT || change.names.iter().all(|(it, _)| it != name));
        if let Some(root) = self.dirs.get_mut(&ROOT) {
            let change = [(name.to_owned(), number)];
            apply(&mut root.names, &change);
            apply(&mut root.durable, &change);
        }
    }

    /// Everything that a path leads to, or that lies in one of the directories `away`.
    pub(crate) fn reachable(&self, away: impl Iterator<Item = u64>) -> BTreeMap<u64, u32> {
        let mut open = vec![ROOT];
        open.extend(away);
        let mut links: BTreeMap<u64, u32> = open.iter().map(|number| (*number, 1)).collect();
        while let Some(dir) = open.pop() {
            for target in self
                .dirs
                .get(&dir)
                .into_iter()
                .flat_map(|node| node.names.values())
            {
                let count = links.entry(*target).or_insert(0);
                *count += 1;
                if *count == 1 && self.dirs.contains_key(target) {
                    open.push(*target);
                }
            }
        }
        links
    }
}

fn apply(names: &mut BTreeMap<String, u64>, changes: &[(String, Option<u64>)]) {
    for (name, target) in changes {
        match target {
            Some(target) => names.insert(name.clone(), *target),
            None => names.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_after(keep: &[u64]) -> BTreeMap<String, u64> {
        let mut names = Names::new();
        let a = "a".to_owned();
        names.change(ROOT, vec![(a.clone(), Some(1))], None);
        names.change(
            ROOT,
            vec![(a.clone(), None), ("b".to_owned(), Some(1))],
            None,
        );
        names.change(ROOT, vec![(a, Some(2))], None);
        names.power_cut(|change| keep.contains(&change.number));
        names.dirs[&ROOT].names.clone()
    }

    #[test]
    fn a_later_change_of_a_name_never_survives_without_the_earlier() {
        assert!(names_after(&[1, 2]).is_empty());
        assert_eq!(names_after(&[0, 2]), BTreeMap::from([("a".to_owned(), 1)]));
        let all = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]);
        assert_eq!(names_after(&[0, 1, 2]), all);
    }

    #[test]
    fn a_move_between_directories_is_durable_after_both_syncs_in_either_order() {
        for first in [ROOT, 5] {
            let mut names = Names::new();
            names.dirs.insert(5, DirNode::default());
            names.change(
                ROOT,
                vec![("d".to_owned(), Some(5)), ("f".to_owned(), Some(9))],
                None,
            );
            names.sync(ROOT, 1);
            let added = names.change(5, vec![("f".to_owned(), Some(9))], None);
            names.change(ROOT, vec![("f".to_owned(), None)], Some(added));
            names.sync(first, 3);
            assert!(first == 5 || names.dirs[&ROOT].durable.contains_key("f"));
            names.sync(if first == 5 { ROOT } else { 5 }, 3);
            names.power_cut(|_| false);
            assert!(!names.dirs[&ROOT].names.contains_key("f"));
            assert_eq!(names.dirs[&5].names["f"], 9);
        }
    }
}
