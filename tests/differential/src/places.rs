//! Places in an answer by path, such as `Topics[0].Partitions[0].Offset`.
//!
//! What always holds: a place that isn't there is `None`, never a panic.

use serde_json::Value;

/// What stands at a path.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, part| {
        let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
        let value = if name.is_empty() {
            value
        } else {
            value.get(name)?
        };
        let mut indexes = indexes.split(['[', ']']).filter(|index| !index.is_empty());
        indexes.try_fold(value, |value, index| {
            value.get(index.parse::<usize>().ok()?)
        })
    })
}

/// Changes every value at a path whose lists are meant as a whole, such as `Topics[].Partitions`.
pub fn each(value: &mut Value, path: &str, change: &mut dyn FnMut(&mut Value)) {
    let Some((part, rest)) = path.split_once('.') else {
        return last(value, path, change);
    };
    last(value, part, &mut |value| each(value, rest, change));
}

fn last(value: &mut Value, part: &str, change: &mut dyn FnMut(&mut Value)) {
    match part.strip_suffix("[]") {
        None => {
            if let Some(value) = value.get_mut(part) {
                change(value);
            }
        }
        Some(list) => {
            let list = if list.is_empty() {
                Some(value)
            } else {
                value.get_mut(list)
            };
            for element in list.and_then(Value::as_array_mut).into_iter().flatten() {
                change(element);
            }
        }
    }
}

/// Whether an answer with all its fields holds an error code.
pub fn has_error(value: &Value) -> bool {
    errors(value).next().is_some()
}

/// The error codes of an answer with all its fields, without those of success.
pub fn errors(value: &Value) -> Box<dyn Iterator<Item = i64> + '_> {
    match value {
        Value::Object(fields) => Box::new(fields.iter().flat_map(|(name, value)| {
            let code = value
                .as_i64()
                .filter(|code| name.ends_with("ErrorCode") && *code != 0);
            code.into_iter().chain(errors(value))
        })),
        Value::Array(list) => Box::new(list.iter().flat_map(errors)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Box::new(std::iter::empty())
        }
    }
}
