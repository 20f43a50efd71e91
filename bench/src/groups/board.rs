//! Who is in which generation of a group, as the members themselves were told.
//!
//! What always holds: a group is complete when every member has its assignment of one and the same
//! generation, and nobody has what another has.

use std::collections::{BTreeMap, BTreeSet};

use millrace_host::Mono;

/// What one member was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Synced {
    pub(super) group: usize,
    pub(super) member: usize,
    pub(super) generation: i32,
    /// The partition that it was assigned.
    pub(super) partition: i32,
    /// When it knew.
    pub(super) at: Mono,
}

/// One group's newest generation.
#[derive(Clone, Debug, Default)]
struct Newest {
    generation: i32,
    /// What each of its members was assigned.
    assigned: BTreeMap<usize, i32>,
}

/// All groups.
#[derive(Debug)]
pub(super) struct Board {
    members: usize,
    groups: Vec<Newest>,
    complete: BTreeSet<usize>,
    last: Option<Mono>,
}

impl Board {
    /// So many groups of so many members each, nobody assigned.
    pub(super) fn new(groups: usize, members: usize) -> Self {
        Self {
            members,
            groups: vec![Newest::default(); groups],
            complete: BTreeSet::new(),
            last: None,
        }
    }

    /// A member was assigned; an error when a whole group was assigned wrongly.
    pub(super) fn synced(&mut self, synced: Synced) -> Result<(), String> {
        let group = self.groups.get_mut(synced.group).ok_or("no such group")?;
        if synced.generation > group.generation {
            group.generation = synced.generation;
            group.assigned.clear();
            self.complete.remove(&synced.group);
        }
        if synced.generation < group.generation {
            return Ok(());
        }
        group.assigned.insert(synced.member, synced.partition);
        self.last = self.last.max(Some(synced.at));
        if group.assigned.len() == self.members {
            let partitions: BTreeSet<i32> = group.assigned.values().copied().collect();
            if partitions.len() != self.members {
                let (number, has) = (synced.group, partitions.len());
                return Err(format!("group {number}: {has} parts for {}", self.members));
            }
            self.complete.insert(synced.group);
        }
        Ok(())
    }

    /// Whether every group is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.len() == self.groups.len()
    }

    /// When the last member knew its assignment.
    pub(super) fn last(&self) -> Option<Mono> {
        self.last
    }

    /// The highest generation of a group, and that of all groups together.
    pub(super) fn generations(&self) -> (i32, i64) {
        let numbers = self.groups.iter().map(|group| group.generation);
        let all = numbers.clone().map(i64::from).sum();
        (numbers.max().unwrap_or(0), all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synced(member: usize, generation: i32, partition: i32) -> Synced {
        Synced {
            group: 0,
            member,
            generation,
            partition,
            at: Mono(1),
        }
    }

    #[test]
    fn a_group_is_complete_in_one_generation_only() {
        let mut board = Board::new(1, 2);
        board.synced(synced(0, 1, 0)).unwrap();
        board.synced(synced(1, 2, 1)).unwrap();
        assert!(!board.is_complete());
        board.synced(synced(0, 1, 0)).unwrap();
        assert!(!board.is_complete());
        board.synced(synced(0, 2, 0)).unwrap();
        assert!(board.is_complete());
        board.synced(synced(1, 3, 0)).unwrap();
        assert!(!board.is_complete());
        assert!(board.synced(synced(0, 3, 0)).is_err());
    }
}
