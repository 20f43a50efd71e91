//! What of an answer isn't compared, one field a line, each with its reason: `masks.tsv`.
//!
//! What always holds: nothing is left out that the file doesn't name; a line that masks nothing fails
//! the comparison.

use std::collections::BTreeSet;

use millrace_protocol::api::Api;
use serde_json::{Value, json};

use crate::places;

const TABLE: &str = include_str!("../masks.tsv");

/// How a field is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It isn't compared at all.
    Any,
    /// It must be there, or not be there, as in the record; what it says isn't compared.
    Present,
    /// The list's order isn't compared.
    Order,
}

#[derive(Clone, Debug)]
struct Mask {
    api: &'static str,
    path: &'static str,
    how: How,
}

/// The masks, and which of them were of use.
#[derive(Clone, Debug)]
pub struct Masks {
    rows: Vec<Mask>,
    used: BTreeSet<usize>,
}

impl Masks {
    /// Those of the file.
    pub fn read() -> Result<Self, String> {
        let mut rows = Vec::new();
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let [api, path, how, reason] = line.split('\t').collect::<Vec<_>>()[..] else {
                return Err(format!("masks.tsv: not four columns: {line}"));
            };
            let how = match how {
                "any" => How::Any,
                "present" => How::Present,
                "order" => How::Order,
                _ => return Err(format!("masks.tsv: {how} is no way to mask: {line}")),
            };
            if reason.is_empty() {
                return Err(format!("masks.tsv: no reason: {line}"));
            }
            rows.push(Mask { api, path, how });
        }
        // Lists are put in order from the inside, once what isn't compared is gone.
        rows.sort_by_key(|mask| {
            (
                mask.how == How::Order,
                usize::MAX - mask.path.matches('.').count(),
            )
        });
        Ok(Self {
            rows,
            used: BTreeSet::new(),
        })
    }

    /// Masks an answer as it is recorded.
    pub fn apply(&mut self, answer: &mut Value) {
        let Some(object) = answer.as_object_mut() else {
            return;
        };
        let Some((api, body)) = object.iter_mut().next() else {
            return;
        };
        for (place, mask) in self.rows.iter().enumerate() {
            if mask.api != api {
                continue;
            }
            let used = &mut self.used;
            let (parent, field) = mask.path.rsplit_once('.').unwrap_or(("", mask.path));
            let mut change = |value: &mut Value| match mask.how {
                How::Any => {
                    if let Some(fields) = value.as_object_mut()
                        && fields.remove(field).is_some()
                    {
                        used.insert(place);
                    }
                }
                How::Present => {
                    if let Some(value) = value.get_mut(field) {
                        *value = json!("<any>");
                        used.insert(place);
                    }
                }
                How::Order => {
                    if let Some(list) = value.get_mut(field).and_then(Value::as_array_mut) {
                        list.sort_by_cached_key(ToString::to_string);
                        used.insert(place);
                    }
                }
            };
            if parent.is_empty() {
                change(body);
            } else {
                places::each(body, parent, &mut change);
            }
        }
    }

    /// Those that masked nothing, of some APIs.
    pub fn unused(&self, apis: &[Api]) -> Vec<String> {
        let asked = |mask: &Mask| apis.iter().any(|api| api.row().name == mask.api);
        let rows = self.rows.iter().enumerate();
        rows.filter(|(place, mask)| asked(mask) && !self.used.contains(place))
            .map(|(_, mask)| format!("masks.tsv: {} {} masks nothing", mask.api, mask.path))
            .collect()
    }
}
