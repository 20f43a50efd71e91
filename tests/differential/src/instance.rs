//! The instances of cases: each at each version, and each variation of what is varied.
//!
//! What always holds: instances come from the table of cases and Kafka's schemas alone, in the same
//! order every time; each has a label, and so names, of its own.

use std::collections::BTreeSet;

use millrace_protocol::api::Api;
use serde_json::Value;

use crate::case::{Call, Case, Suite};
use crate::schema;
use crate::vary::variations;

/// Which instance: what its line in the record goes by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The API.
    pub api: Api,
    /// The case's name.
    pub case: String,
    /// The variation, `Field=kind`; empty for the case as it stands.
    pub variation: String,
    /// The version.
    pub version: i16,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            api,
            case,
            variation,
            version,
        } = self;
        write!(f, "{} / {case} / {variation} / v{version}", api.row().name)
    }
}

/// A case at a version, with its request as it is varied.
#[derive(Clone, Debug)]
pub struct Instance<'a> {
    /// Which.
    pub key: Key,
    /// Its suite's place among the suites.
    pub suite: usize,
    /// The case.
    pub case: &'a Case,
    /// The request in the place of the varied one.
    pub varied: Option<Value>,
}

impl Instance<'_> {
    /// The place of the request that is varied among those asked.
    pub fn varied_at(&self) -> Option<usize> {
        varied_at(self.case)
    }
}

fn varied_at(case: &Case) -> Option<usize> {
    let is_own = |call: &Call| matches!(call, Call::Own(_));
    case.asked
        .iter()
        .rposition(|step| is_own(&step.call) && step.version.is_none())
}

/// All instances of all suites.
pub fn all(suites: &[Suite]) -> Result<Vec<Instance<'_>>, String> {
    let mut found = Vec::new();
    for (place, suite) in suites.iter().enumerate() {
        for case in &suite.cases {
            let served = suite.api.row().served;
            let versions = case.versions.clone().unwrap_or(served.min..=served.max);
            for version in versions {
                let key = Key {
                    api: suite.api,
                    case: case.name.clone(),
                    variation: String::new(),
                    version,
                };
                found.push(Instance {
                    key: key.clone(),
                    suite: place,
                    case,
                    varied: None,
                });
                if case.varied {
                    found.extend(varied(place, case, &key)?);
                }
            }
        }
    }
    let mut seen = BTreeSet::new();
    match found.iter().find(|instance| !seen.insert(&instance.key)) {
        Some(twice) => Err(format!("{} is there twice", twice.key)),
        None => Ok(found),
    }
}

fn varied<'a>(suite: usize, case: &'a Case, key: &Key) -> Result<Vec<Instance<'a>>, String> {
    let at = varied_at(case).ok_or(format!("{key} has no request to vary"))?;
    let Call::Own(body) = &case.asked[at].call else {
        return Err(format!("{key} has no request to vary"));
    };
    let message = schema::message(key.api, true);
    let left_out = |field: &str, kind: &str| {
        let mut without = case.without.iter();
        without.any(|(f, k)| f == field && (k == kind || k.is_empty()))
    };
    let instances = variations(message, key.version, body)
        .into_iter()
        .filter(|variation| variation.field.starts_with(&case.varied_within))
        .filter(|variation| !left_out(&variation.field, &variation.kind))
        .map(|variation| Instance {
            key: Key {
                variation: format!("{}={}", variation.field, variation.kind),
                ..key.clone()
            },
            suite,
            case,
            varied: Some(variation.body),
        });
    Ok(instances.collect())
}
