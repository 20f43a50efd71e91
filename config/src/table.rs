//! The table of keys, put together from the sections, and looking a name up in it. A name that is
//! not in it is an error that says what the name is or what is near.

use crate::error::{ConfigError, Source};
use crate::key::Key;
use crate::nearest::nearest;
use crate::not_in_effect::{self, Absent};
use crate::{
    cleaner, fetch, groups, listener, log, metadata, network, node, produce, topic_default_rows,
    topic_rows, topics,
};

const BROKER_SECTIONS: [&[Key]; 11] = [
    node::KEYS,
    listener::KEYS,
    network::KEYS,
    log::KEYS,
    cleaner::KEYS,
    produce::KEYS,
    fetch::KEYS,
    topics::KEYS,
    topic_default_rows::KEYS,
    metadata::KEYS,
    groups::KEYS,
];

/// All broker keys, by section.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    BROKER_SECTIONS.into_iter().flatten()
}

/// All topic keys.
pub fn topic_keys() -> impl Iterator<Item = &'static Key> {
    topic_rows::KEYS.iter()
}

/// The broker key of this name.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    broker_keys().find(|key| key.name == name)
}

/// The topic key of this name.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    topic_keys().find(|key| key.name == name)
}

/// The broker keys for the same thing as this one, itself among them, in the order in which the
/// first one that is set counts. Kafka lists them for the first of them only.
pub(crate) fn broker_synonyms(name: &'static str) -> Vec<&'static str> {
    let family = topic_keys().map(Key::synonyms).find(|synonyms| {
        synonyms.len() > 1 && synonyms.first().is_some_and(|first| first.key == name)
    });
    family.map_or_else(
        || vec![name],
        |synonyms| synonyms.iter().map(|synonym| synonym.key).collect(),
    )
}

/// The broker key of this name, or why there is none.
pub(crate) fn known_broker_key(name: &str, from: &Source) -> Result<&'static Key, ConfigError> {
    if let Some(key) = broker_key(name) {
        return Ok(key);
    }
    if let Some(absent) = not_in_effect::broker(name) {
        return Err(not_in_effect(absent, from));
    }
    // A topic's name for a thing, given to a broker: the broker's name for it is what was meant.
    let meant = topic_key(name)
        .and_then(|key| key.synonyms().first())
        .map(|synonym| synonym.key)
        .or_else(|| nearest(name, broker_keys().map(|key| key.name)));
    Err(unknown(name, meant, from))
}

/// The topic key of this name, or why there is none.
pub(crate) fn known_topic_key(name: &str) -> Result<&'static Key, ConfigError> {
    if let Some(key) = topic_key(name) {
        return Ok(key);
    }
    if let Some(absent) = not_in_effect::topic(name) {
        return Err(not_in_effect(absent, &Source::Topic));
    }
    let meant = topic_keys()
        .find(|key| key.synonyms().iter().any(|synonym| synonym.key == name))
        .map(|key| key.name)
        .or_else(|| nearest(name, topic_keys().map(|key| key.name)));
    Err(unknown(name, meant, &Source::Topic))
}

fn unknown(name: &str, nearest: Option<&'static str>, from: &Source) -> ConfigError {
    ConfigError::UnknownKey {
        key: name.to_owned(),
        nearest,
        from: from.clone(),
    }
}

fn not_in_effect(absent: Absent, from: &Source) -> ConfigError {
    ConfigError::NotInEffect {
        key: absent.key,
        advice: absent.advice,
        from: from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Maker, Scope, Value};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_well_formed() {
        for table in [broker_keys().collect::<Vec<_>>(), topic_keys().collect()] {
            let names: BTreeSet<_> = table.iter().map(|key| key.name).collect();
            assert_eq!(names.len(), table.len(), "a name stands in the table twice");
            for name in names {
                // The environment's spelling maps `_` to `.`, so a name has no `_` itself.
                let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.';
                assert!(name.chars().all(fits), "{name}");
            }
        }
    }

    #[test]
    fn every_row_has_a_valid_default_a_scope_of_its_table_and_a_line_of_documentation() {
        for key in broker_keys().chain(topic_keys()) {
            if let Some(default) = key.default {
                key.parse(default, &Source::Default).unwrap();
            }
            assert!(
                key.doc.ends_with('.') && !key.doc.contains('\n'),
                "{}: {}",
                key.name,
                key.doc
            );
        }
        assert!(broker_keys().all(|key| !matches!(key.scope, Scope::Topic(_))));
        assert!(topic_keys().all(|key| matches!(key.scope, Scope::Topic(_))));
    }

    #[test]
    fn a_topic_key_has_the_default_of_the_broker_keys_behind_it() {
        for key in topic_keys() {
            for synonym in key.synonyms() {
                let behind = broker_key(synonym.key).unwrap();
                let Some(text) = behind.default else { continue };
                let mut value = behind.parse(text, &Source::Default).unwrap();
                if let Value::Number(number) = &mut value {
                    *number *= synonym.factor;
                }
                let own = key.parse(key.default.unwrap(), &Source::Default).unwrap();
                assert_eq!(own, value, "{} and {}", key.name, synonym.key);
            }
        }
    }

    #[test]
    fn own_keys_stay_under_fifty() {
        let own = broker_keys()
            .chain(topic_keys())
            .filter(|key| key.maker == Maker::Millrace);
        assert!(own.count() < 50);
    }

    #[test]
    fn no_key_is_both_in_effect_and_not() {
        assert!(broker_keys().all(|key| not_in_effect::broker(key.name).is_none()));
        assert!(topic_keys().all(|key| not_in_effect::topic(key.name).is_none()));
    }
}
