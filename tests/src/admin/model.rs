//! What may be set under one name: a topic with its partitions and its configuration, or the
//! configuration of brokers.
//!
//! What always holds: a change says what it makes of a state, or the code that refuses it there. So
//! an answer leaves of the states that may be those that it fits; no answer leaves both what was and
//! what would be, until the broker's next life, for a request may still take effect when its
//! connection is gone.

use std::collections::{BTreeMap, BTreeSet};

use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;

/// What is set, by key.
pub type Configs = BTreeMap<String, String>;

/// Changes without an answer that are kept in mind at once; with more nothing more is changed.
const PENDING_MAX: usize = 3;

/// What is there under a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct There {
    /// How many partitions; 0 of brokers.
    pub partitions: i32,
    /// The topic's id, once it is known.
    pub id: Option<TopicId>,
    /// What is set.
    pub configs: Configs,
}

/// What is there, or nothing.
pub type State = Option<There>;

/// A change of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A topic is made.
    Create {
        /// With so many partitions.
        partitions: i32,
        /// And this set.
        configs: Configs,
    },
    /// A topic is deleted.
    Delete,
    /// A topic gets more partitions.
    Grow {
        /// So many in all.
        count: i32,
    },
    /// Keys are set, or unset where there is no value.
    Alter {
        /// The keys.
        keys: BTreeMap<String, Option<String>>,
        /// Whether what is not named is unset.
        replaces: bool,
        /// What a configuration that can't be is refused with; `None` for one that can be.
        refused: Option<ErrorCode>,
    },
}

impl Change {
    /// What it makes of what is there, or why it is refused.
    pub fn apply(&self, state: &State) -> Result<State, ErrorCode> {
        match (self, state) {
            (Self::Create { .. }, Some(_)) => Err(ErrorCode::TopicAlreadyExists),
            (
                Self::Create {
                    partitions,
                    configs,
                },
                None,
            ) => Ok(Some(There {
                partitions: *partitions,
                id: None,
                configs: configs.clone(),
            })),
            (_, None) => Err(ErrorCode::UnknownTopicOrPartition),
            (Self::Delete, Some(_)) => Ok(None),
            (Self::Grow { count }, Some(there)) if *count <= there.partitions => {
                Err(ErrorCode::InvalidPartitions)
            }
            (Self::Grow { count }, Some(there)) => Ok(Some(There {
                partitions: *count,
                ..there.clone()
            })),
            (
                Self::Alter {
                    refused: Some(code),
                    ..
                },
                Some(_),
            ) => Err(*code),
            (Self::Alter { keys, replaces, .. }, Some(there)) => {
                let mut after = there.clone();
                if *replaces {
                    after.configs.clear();
                }
                for (key, value) in keys {
                    match value {
                        Some(value) => after.configs.insert(key.clone(), value.clone()),
                        None => after.configs.remove(key),
                    };
                }
                Ok(Some(after))
            }
        }
    }
}

/// All that may be there under one name.
#[derive(Clone, Debug)]
pub struct Register {
    states: BTreeSet<State>,
    /// What was asked and never answered, in a life.
    pending: Vec<(Change, usize)>,
}

impl Register {
    /// Only this may be there.
    pub fn of(state: State) -> Self {
        Self {
            states: BTreeSet::from([state]),
            pending: Vec::new(),
        }
    }

    /// All that may be there in a life, with what may have happened late.
    fn possible(&mut self, life: usize) -> BTreeSet<State> {
        let mut all = self.states.clone();
        loop {
            let made = |state: &State| {
                let changes = self.pending.iter();
                let made = changes.filter_map(|(change, _)| change.apply(state).ok());
                made.collect::<Vec<_>>()
            };
            let more: BTreeSet<State> = all.iter().flat_map(made).collect();
            let before = all.len();
            all.extend(more);
            if all.len() == before {
                break;
            }
        }
        if self.pending.iter().any(|(_, then)| *then != life) {
            // They have happened by now or never will; what came of them is among all these.
            self.states.clone_from(&all);
            self.pending.retain(|(_, then)| *then == life);
        }
        all
    }

    /// What is there for certain in a life.
    pub fn certain(&mut self, life: usize) -> Option<State> {
        let mut possible = self.possible(life).into_iter();
        let first = possible.next()?;
        (possible.next().is_none() && self.pending.is_empty()).then_some(first)
    }

    /// Whether one more change without an answer can be kept in mind.
    pub fn may_change(&mut self, life: usize) -> bool {
        self.possible(life);
        self.pending.len() < PENDING_MAX
    }

    /// It is not known whether this happened or will.
    pub fn unknown(&mut self, change: Change, life: usize) {
        self.pending.push((change, life));
    }

    /// Something was seen: `fits` gives what a state that may be is then known to be, and nothing for
    /// one that it can't be.
    pub fn seen(
        &mut self,
        life: usize,
        fits: impl Fn(&State) -> Option<State>,
    ) -> Result<(), String> {
        let possible = self.possible(life);
        let left: BTreeSet<State> = possible.iter().filter_map(fits).collect();
        if left.is_empty() {
            let may = possible.iter().map(|state| format!("{state:?}"));
            return Err(format!("may be: {}", may.collect::<Vec<_>>().join(" or ")));
        }
        self.states = left;
        Ok(())
    }

    /// A change was answered, with success or with a code; `validated` when it was to change nothing.
    pub fn answered(
        &mut self,
        change: &Change,
        answer: Result<(), ErrorCode>,
        (validated, life): (bool, usize),
    ) -> Result<(), String> {
        let judged = self.seen(life, |state| match (change.apply(state), answer) {
            (Ok(_), Ok(())) if validated => Some(state.clone()),
            (Ok(after), Ok(())) => Some(after),
            (Err(code), Err(told)) if code == told => Some(state.clone()),
            _ => None,
        });
        judged.map_err(|may| format!("{change:?} came to {answer:?}, {may}"))
    }

    /// Whether any state that may be would refuse a change with this code.
    pub fn expects(&mut self, change: &Change, code: ErrorCode, life: usize) -> bool {
        let possible = self.possible(life);
        possible
            .iter()
            .any(|state| change.apply(state) == Err(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::unnecessary_wraps,
        reason = "a state is that there is something, or not"
    )]
    fn there(partitions: i32, configs: &[(&str, &str)]) -> State {
        let configs = configs.iter();
        Some(There {
            partitions,
            id: None,
            configs: configs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        })
    }

    fn set(key: &str, value: Option<&str>) -> Change {
        Change::Alter {
            keys: BTreeMap::from([(key.to_owned(), value.map(str::to_owned))]),
            replaces: false,
            refused: None,
        }
    }

    fn is(register: &mut Register, life: usize, wanted: &State) -> bool {
        let fits = |state: &State| (state == wanted).then(|| state.clone());
        register.seen(life, fits).is_ok()
    }

    #[test]
    fn what_was_acknowledged_is_there_and_nothing_else() {
        let mut register = Register::of(there(2, &[]));
        let answered = register.answered(&set("a", Some("1")), Ok(()), (false, 0));
        assert_eq!(answered, Ok(()));
        assert!(!is(&mut register.clone(), 1, &there(2, &[])), "lost");
        assert!(is(&mut register, 1, &there(2, &[("a", "1")])));
        let grown = register.answered(&Change::Grow { count: 3 }, Ok(()), (false, 1));
        assert_eq!(grown, Ok(()));
        assert!(
            !is(&mut register.clone(), 1, &there(2, &[("a", "1")])),
            "shrunk"
        );
        let deleted = register.answered(&Change::Delete, Ok(()), (false, 1));
        assert_eq!(deleted, Ok(()));
        let create = Change::Create {
            partitions: 1,
            configs: Configs::new(),
        };
        assert_eq!(register.answered(&create, Ok(()), (false, 1)), Ok(()));
        assert!(
            !is(&mut register.clone(), 1, &there(1, &[("a", "1")])),
            "inherited"
        );
        assert!(is(&mut register, 1, &there(1, &[])));
    }

    #[test]
    fn what_was_validated_or_refused_changes_nothing() {
        let mut register = Register::of(there(2, &[]));
        let validated = register.answered(&set("a", Some("1")), Ok(()), (true, 0));
        assert_eq!(validated, Ok(()));
        assert!(is(&mut register, 0, &there(2, &[])));
        let grow = Change::Grow { count: 2 };
        let refused = Err(ErrorCode::InvalidPartitions);
        assert_eq!(register.answered(&grow, refused, (false, 0)), Ok(()));
        assert!(register.answered(&grow, Ok(()), (false, 0)).is_err());
        let wrong = Err(ErrorCode::TopicAlreadyExists);
        assert!(register.answered(&grow, wrong, (false, 0)).is_err());
    }

    #[test]
    fn what_was_not_answered_may_happen_until_the_next_life() {
        let mut register = Register::of(there(1, &[]));
        register.unknown(set("a", Some("1")), 0);
        assert_eq!(register.certain(0), None);
        assert!(is(&mut register, 0, &there(1, &[])), "not yet");
        assert!(is(&mut register, 0, &there(1, &[("a", "1")])), "now");
        let mut register = Register::of(there(1, &[]));
        register.unknown(set("a", Some("1")), 0);
        assert!(
            is(&mut register, 1, &there(1, &[])),
            "it ended with its life"
        );
        assert!(!is(&mut register, 1, &there(1, &[("a", "1")])), "never");
        assert_eq!(register.certain(1), Some(there(1, &[])));
    }

    #[test]
    fn a_change_of_two_keys_is_never_half() {
        let mut register = Register::of(there(1, &[]));
        let both = Change::Alter {
            keys: BTreeMap::from([
                ("a".to_owned(), Some("1".to_owned())),
                ("b".to_owned(), Some("2".to_owned())),
            ]),
            replaces: false,
            refused: None,
        };
        register.unknown(both, 0);
        assert!(!is(&mut register.clone(), 1, &there(1, &[("a", "1")])));
        assert!(is(&mut register, 1, &there(1, &[("a", "1"), ("b", "2")])));
    }
}
