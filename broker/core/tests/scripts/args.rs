//! The arguments of a command: `key=value` and flags. An argument that no command reads fails the
//! test, so that a misspelt one is not silently nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;

use millrace_core::partition::Token;

pub(crate) struct Args {
    pub(crate) line: String,
    name: String,
    pairs: Vec<(String, String)>,
    used: RefCell<BTreeSet<String>>,
}

impl Args {
    pub(crate) fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let pair = |word: &str| {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            (key.to_owned(), value.to_owned())
        };
        Self {
            line: line.to_owned(),
            name,
            pairs: words.map(pair).collect(),
            used: RefCell::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn assert_all_used(&self) {
        let used = self.used.borrow();
        for (key, _) in &self.pairs {
            assert!(used.contains(key), "{}: what is {key}?", self.line);
        }
    }

    pub(crate) fn optional(&self, key: &str) -> Option<&str> {
        self.used.borrow_mut().insert(key.to_owned());
        let found = self.pairs.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.optional(key).is_some()
    }

    pub(crate) fn number(&self, key: &str, default: i64) -> i64 {
        self.optional(key).map_or(default, |value| {
            value
                .parse()
                .unwrap_or_else(|_| panic!("{}: {key} is no number", self.line))
        })
    }

    pub(crate) fn int(&self, key: &str, default: i32) -> i32 {
        i32::try_from(self.number(key, i64::from(default)))
            .unwrap_or_else(|_| panic!("{}: {key} has more than 32 bits", self.line))
    }

    pub(crate) fn unsigned(&self, key: &str, default: u64) -> u64 {
        self.optional(key).map_or(default, |value| {
            value
                .parse()
                .unwrap_or_else(|_| panic!("{}: {key} is no number", self.line))
        })
    }

    pub(crate) fn count(&self, key: &str, default: usize) -> usize {
        usize::try_from(self.unsigned(key, default as u64)).expect("a count fits")
    }

    pub(crate) fn list(&self, key: &str) -> Vec<i32> {
        let value = self.optional(key).unwrap_or_default();
        let items = value.split(',').filter(|item| !item.is_empty());
        items
            .map(|item| item.parse().expect("a list of numbers"))
            .collect()
    }

    pub(crate) fn token(&self) -> Token {
        Token(self.unsigned("token", 0))
    }
}
