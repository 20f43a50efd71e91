//! What was set, by key: the text as written, its parsed value and its source; and reading it back
//! with the table's default behind it. Only keys of the broker table are in it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{ConfigError, Source};
use crate::key::{Key, Scope, Value};
use crate::table;

/// One value that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) text: String,
    pub(crate) value: Value,
    pub(crate) source: Source,
}

/// All values that were set on the broker: for each key at most one of each layer (static, the
/// cluster's, the broker's), strongest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Values(BTreeMap<&'static str, Vec<Setting>>);

impl Values {
    /// Sets a key, checked; a weaker source never replaces a stronger one.
    pub(crate) fn set(&mut self, name: &str, text: &str, from: Source) -> Result<(), ConfigError> {
        let key = table::known_broker_key(name, &from)?;
        if key.is_read_only() && !from.is_static() && from != Source::Default {
            return Err(ConfigError::ReadOnly { key: key.name });
        }
        if key.scope == Scope::PerBroker && from == Source::Cluster {
            return Err(ConfigError::PerBroker { key: key.name });
        }
        let setting = Setting {
            value: key.parse(text, &from)?,
            text: text.trim().to_owned(),
            source: from,
        };
        let layers = self.0.entry(key.name).or_default();
        let same = |old: &Setting| old.source.same_layer(&setting.source);
        match layers.iter().position(same) {
            Some(place) if layers[place].source.strength() > setting.source.strength() => {}
            Some(place) => layers[place] = setting,
            None => {
                let stronger = |old: &Setting| old.source.strength() > setting.source.strength();
                let place = layers.iter().take_while(|old| stronger(old)).count();
                layers.insert(place, setting);
            }
        }
        Ok(())
    }

    /// What was set for a key, if anything.
    pub(crate) fn setting(&self, name: &str) -> Option<&Setting> {
        self.layers(name).first()
    }

    /// All that was set for a key, strongest first.
    pub(crate) fn layers(&self, name: &str) -> &[Setting] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The one of several keys for one thing that counts: the strongest source wins, and within
    /// one source the first in the list. `None` when none was set.
    pub(crate) fn strongest<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> Option<(&'a str, &Setting)> {
        let mut best: Option<(&'a str, &Setting)> = None;
        for name in names {
            if let Some(setting) = self.setting(name)
                && best.is_none_or(|(_, b)| setting.source.strength() > b.source.strength())
            {
                best = Some((name, setting));
            }
        }
        best
    }

    /// The value with its text and source; `None` is Kafka's null.
    pub(crate) fn effective(&self, name: &str) -> Option<Setting> {
        if let Some(setting) = self.setting(name) {
            return Some(setting.clone());
        }
        let key = row(name);
        let text = key.default?;
        let value = key
            .parse(text, &Source::Default)
            .expect("a test parses every default");
        Some(Setting {
            text: text.to_owned(),
            value,
            source: Source::Default,
        })
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.effective(name)
            .expect("the table has a default for every number")
            .value
            .number()
    }

    /// A number that the table's check keeps at zero or above.
    pub(crate) fn count(&self, name: &str) -> u64 {
        u64::try_from(self.number(name)).expect("the table's check forbids negative values")
    }

    /// A number that the table's check keeps within 0 and 2^31 - 1.
    pub(crate) fn count32(&self, name: &str) -> u32 {
        u32::try_from(self.number(name)).expect("the table's type is int and not negative")
    }

    pub(crate) fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.count(name))
    }

    pub(crate) fn bool(&self, name: &str) -> bool {
        self.effective(name)
            .expect("the table has a default for every bool")
            .value
            .bool()
    }

    pub(crate) fn double(&self, name: &str) -> f64 {
        self.effective(name)
            .expect("the table has a default for every number")
            .value
            .double()
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        Some(self.effective(name)?.value.into_text())
    }

    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        Some(self.effective(name)?.value.into_list())
    }

    /// The error for the value that a key has now.
    pub(crate) fn refuse(&self, name: &str, allowed: &str) -> ConfigError {
        match self.effective(name) {
            Some(now) => row(name).refuse(&now.text, allowed.to_owned(), &now.source),
            None => row(name).refuse("", allowed.to_owned(), &Source::Default),
        }
    }
}

fn row(name: &str) -> &'static Key {
    table::broker_key(name).expect("every key that code reads is in the table; tests read them all")
}
