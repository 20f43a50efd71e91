//! One alteration, put in force in the broker, and one that only listens.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use millrace_differential::rewrite::{Change, Place, rewrite};
use millrace_differential::schema::{self, Field, Kind};
use millrace_probe::Alterations;
use millrace_protocol::api::Api;
use serde_json::Value;

use crate::points::code_at;

/// An error code that nobody answers: any of Kafka's might be what was recorded.
const NO_CODE: i16 = 999;

/// What is altered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alteration {
    /// An error code that is answered is another one.
    Code { path: String, from: i16 },
    /// A field of the answer says something else; a list has no elements.
    Answer { path: String },
    /// A field of the request is taken for its default; of a list the first element isn't seen.
    Ignored { path: String },
    /// Something that the request doesn't say is taken for another value.
    Default { name: &'static str },
}

/// An alteration in force.
#[derive(Debug)]
pub(crate) struct Altering {
    api: Api,
    what: Alteration,
    fired: AtomicU64,
}

impl Altering {
    pub(crate) fn new(api: Api, what: Alteration) -> Self {
        Self {
            api,
            what,
            fired: AtomicU64::new(0),
        }
    }

    /// How often it altered something.
    pub(crate) fn fired(&self) -> u64 {
        self.fired.load(Ordering::Acquire)
    }

    fn changed(
        &self,
        is_request: bool,
        version: i16,
        body: &[u8],
        change: impl Fn(&Place<'_>) -> Option<Change>,
    ) -> Option<Vec<u8>> {
        let version = if self.api.row().served.contains(version) {
            version
        } else {
            0
        };
        let message = schema::message(self.api, is_request);
        let mut count = 0;
        let mut counted = |place: &Place<'_>| {
            let change = change(place);
            count += u64::from(change.is_some());
            change
        };
        let changed = rewrite(message, version, body, &mut counted)?;
        self.fired.fetch_add(count, Ordering::AcqRel);
        Some(changed)
    }
}

impl Alterations for Altering {
    fn asked(&self, api_key: i16, api_version: i16, body: &[u8]) -> Option<Vec<u8>> {
        let Alteration::Ignored { path } = &self.what else {
            return None;
        };
        if api_key != self.api.key() {
            return None;
        }
        self.changed(true, api_version, body, |place| {
            if place.path != path {
                return None;
            }
            let default = default_bytes(place.field);
            match place.elements {
                Some(elements) => (elements > 0).then_some(Change::WithoutFirst),
                None if place.value.map(<[u8]>::to_vec) == default => None,
                None => Some(default.map_or(Change::Null, Change::Bytes)),
            }
        })
    }

    fn answered(&self, api_key: i16, api_version: i16, body: &[u8]) -> Option<Vec<u8>> {
        if api_key != self.api.key() {
            return None;
        }
        match &self.what {
            Alteration::Code { path, from } => self.changed(false, api_version, body, |place| {
                let is_it = place.path == path && code_at(place) == Some(*from);
                is_it.then(|| Change::Bytes(NO_CODE.to_be_bytes().to_vec()))
            }),
            Alteration::Answer { path } => self.changed(false, api_version, body, |place| {
                (place.path == path).then(|| another(place)).flatten()
            }),
            Alteration::Ignored { .. } | Alteration::Default { .. } => None,
        }
    }

    fn is_other_default(&self, asked: &'static str) -> bool {
        let is_it = matches!(self.what, Alteration::Default { name } if name == asked);
        if is_it {
            self.fired.fetch_add(1, Ordering::AcqRel);
        }
        is_it
    }
}

/// Another value in a place.
fn another(place: &Place<'_>) -> Option<Change> {
    if let Some(elements) = place.elements {
        return (elements > 0).then_some(Change::Emptied);
    }
    let value = place.value.unwrap_or_default();
    let last = |by: fn(u8) -> u8| {
        let mut value = value.to_vec();
        let last = value.last_mut()?;
        *last = by(*last);
        Some(Change::Bytes(value))
    };
    match place.field.kind {
        Kind::Structure => None,
        Kind::Boolean | Kind::Uuid => last(|byte| byte ^ 1),
        Kind::Number(_) | Kind::Unsigned => last(|byte| byte.wrapping_add(1)),
        Kind::Text | Kind::Bytes => Some(Change::Bytes([value, b"~"].concat())),
        Kind::Records => (!value.is_empty()).then(|| Change::Bytes(Vec::new())),
    }
}

/// What stands in a field's place when nobody says anything; `None` is null.
pub(crate) fn default_bytes(field: &Field) -> Option<Vec<u8>> {
    let default = field.default();
    let number = || default.as_i64().unwrap_or(0).to_be_bytes();
    match field.kind {
        Kind::Number(len) => Some(number()[8 - len..].to_vec()),
        Kind::Unsigned => Some(number()[6..].to_vec()),
        Kind::Boolean => Some(vec![u8::from(default == Value::Bool(true))]),
        Kind::Uuid => Some(vec![0; 16]),
        Kind::Text | Kind::Bytes | Kind::Records => {
            default.as_str().map(|text| text.as_bytes().to_vec())
        }
        Kind::Structure => None,
    }
}

/// Alters nothing, and notes which defaults are applied.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    defaults: Mutex<BTreeSet<&'static str>>,
}

impl Listening {
    /// The defaults that an API's handler and the reading of its requests applied.
    pub(crate) fn defaults(&self, api: Api) -> Vec<&'static str> {
        let defaults = self.defaults.lock().unwrap_or_else(PoisonError::into_inner);
        let module = module(api);
        let of_it = |name: &&&'static str| {
            let mut parts = name.split("::");
            (name.contains("::requests::") || name.contains("::handlers::"))
                && parts.any(|part| part == module)
        };
        defaults.iter().filter(of_it).copied().collect()
    }
}

/// The name of an API's modules.
fn module(api: Api) -> String {
    let mut name = String::new();
    for letter in api.row().name.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

impl Alterations for Listening {
    fn asked(&self, _: i16, _: i16, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn answered(&self, _: i16, _: i16, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn is_other_default(&self, name: &'static str) -> bool {
        let mut defaults = self.defaults.lock().unwrap_or_else(PoisonError::into_inner);
        defaults.insert(name);
        false
    }
}
