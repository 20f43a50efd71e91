//! The annotated configuration file: every broker key with what it means, as a comment. What always
//! holds: read as it is, it sets nothing.

use crate::key::{Effect, Key, Maker, Scope};
use crate::table;

const HEAD: &str = "\
# Millrace's configuration: every key of a broker, with its default. Made from the table of keys by
# `millrace config --properties`. Nothing here is set: take the # off a line to set its key.
#
# Stronger than this file: environment variables (MILLRACE_LOG_DIRS is log.dirs) and --set options.
# Keys marked \"dynamic\" also change while the broker runs, by Kafka's kafka-configs tool, and what is
# set so is stronger than all of these.

";

/// The words on what comes of setting a key; none where that is plain.
fn effect(key: &Key) -> Option<&'static str> {
    match key.effect {
        Effect::Full => None,
        Effect::DefaultOnly => Some("Nothing but the default is taken: no effect in this version."),
        Effect::Unused => Some("It is taken and told, and has no effect in this version."),
    }
}

impl Key {
    /// Where it may be set, in words.
    pub const fn scope_name(&self) -> &'static str {
        match self.scope {
            Scope::Broker => "read at a start",
            Scope::ClusterWide => "dynamic",
            Scope::PerBroker => "dynamic, for each broker by itself",
            Scope::Topic(_) => "of a topic",
        }
    }

    /// Whose key it is, in words.
    pub const fn maker_name(&self) -> &'static str {
        match self.maker {
            Maker::Kafka => "Kafka",
            Maker::Millrace => "Millrace",
        }
    }

    /// All that is known of the key, in lines.
    pub fn explained(&self) -> Vec<String> {
        let mut lines = vec![self.doc.to_owned()];
        lines.extend(effect(self).map(str::to_owned));
        let (kind, scope, maker) = (self.kind.name(), self.scope_name(), self.maker_name());
        lines.push(format!("{maker}'s, {kind}, {scope}: {}.", self.allowed()));
        let behind: Vec<&str> = self.synonyms().iter().map(|behind| behind.key).collect();
        if !behind.is_empty() {
            lines.push(format!("The broker's: {}.", behind.join(", ")));
        }
        lines
    }
}

/// The file, as it is shipped.
pub fn annotated_properties() -> String {
    let mut lines = vec![HEAD.to_owned()];
    for key in table::broker_keys() {
        lines.extend(key.explained().iter().map(|line| format!("# {line}\n")));
        let default = key.default.unwrap_or_default();
        lines.push(format!("#{}={default}\n\n", key.name));
    }
    let text = lines.concat();
    text.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BrokerConfig, Sources};

    /// Made again by `millrace config --properties > config/millrace.properties`.
    #[test]
    fn the_shipped_file_is_what_the_table_says_and_sets_nothing() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/millrace.properties");
        let shipped = std::fs::read_to_string(path).unwrap();
        assert!(
            shipped == annotated_properties(),
            "make it again: millrace config --properties > config/millrace.properties"
        );
        let sources = Sources {
            file: Some(path.into()),
            ..Sources::default()
        };
        assert_eq!(
            BrokerConfig::load(&sources).unwrap(),
            BrokerConfig::default()
        );
    }

    #[test]
    fn every_line_taken_as_it_stands_is_accepted() {
        let lines = annotated_properties();
        let lines = lines.lines().filter(|line| !line.starts_with("# "));
        let set: Vec<_> = lines
            .filter_map(|line| line.strip_prefix('#')?.split_once('='))
            .collect();
        assert_eq!(set.len(), table::broker_keys().count());
        let set = set.into_iter().filter(|(_, value)| !value.is_empty());
        BrokerConfig::from_pairs(set).unwrap();
    }
}
