//! Variations of a request: each field of a version at null, empty, its greatest and least, something
//! unknown, or twice.
//!
//! What always holds: the fields come from Kafka's schema, so that none of a version is forgotten; of
//! lists the first element is the one whose fields are varied.

use serde_json::{Value, json};

use crate::schema::{Field, Kind, Message};

/// A changed request.
#[derive(Clone, Debug)]
pub struct Variation {
    /// The field's path, with `[]` behind lists.
    pub field: String,
    /// What stands there: `null`, `empty`, `max`, ...
    pub kind: String,
    /// The request.
    pub body: Value,
}

/// All variations of a request at a version.
pub fn variations(message: &Message, version: i16, body: &Value) -> Vec<Variation> {
    let mut found = Vec::new();
    let mut place = Vec::new();
    structure(&message.fields, version, body, &mut place, &mut found);
    found
}

/// A step from a structure into a field, or into the first element of it.
#[derive(Clone, Debug)]
enum Into {
    Field(String),
    First,
}

fn structure(
    fields: &[Field],
    version: i16,
    body: &Value,
    place: &mut Vec<Into>,
    found: &mut Vec<Variation>,
) {
    for field in fields.iter().filter(|field| field.is_in(version)) {
        place.push(Into::Field(field.name.clone()));
        for (kind, value) in values(field, at(body, place).unwrap_or(&field.default())) {
            let mut changed = body.clone();
            put(&mut changed, place, value);
            found.push(Variation {
                field: path(place),
                kind: kind.to_owned(),
                body: changed,
            });
        }
        if field.is_array {
            place.push(Into::First);
        }
        if at(body, place).is_some() {
            if field.kind == Kind::Structure {
                structure(&field.fields, version, body, place, found);
            } else if field.is_array {
                let element = Field {
                    is_array: false,
                    ..field.clone()
                };
                for (kind, value) in scalars(&element, at(body, place).unwrap_or(&Value::Null)) {
                    let mut changed = body.clone();
                    put(&mut changed, place, value);
                    found.push(Variation {
                        field: path(place),
                        kind: kind.to_owned(),
                        body: changed,
                    });
                }
            }
        }
        if field.is_array {
            place.pop();
        }
        place.pop();
    }
}

/// What a field may be changed to, and how that is called.
fn values(field: &Field, now: &Value) -> Vec<(&'static str, Value)> {
    if !field.is_array {
        return scalars(field, now);
    }
    let mut values = vec![("null", Value::Null), ("empty", json!([]))];
    if let Some(first) = now.as_array().and_then(|list| list.first()) {
        values.push(("twice", json!([first, first])));
    }
    values.retain(|(_, value)| value != now);
    values
}

fn scalars(field: &Field, now: &Value) -> Vec<(&'static str, Value)> {
    let unknown = 77;
    let mut values = match field.kind {
        Kind::Structure if field.nullable.is_some() => vec![("null", Value::Null)],
        Kind::Structure => Vec::new(),
        Kind::Boolean => vec![("flipped", json!(!now.as_bool().unwrap_or(false)))],
        Kind::Number(len) => {
            let max = i64::MAX >> (64 - 8 * len);
            vec![
                ("0", json!(0)),
                ("-1", json!(-1)),
                ("unknown", json!(unknown)),
                ("max", json!(max)),
                ("min", json!(-max - 1)),
            ]
        }
        Kind::Unsigned => vec![
            ("0", json!(0)),
            ("unknown", json!(unknown)),
            ("max", json!(0xffff)),
        ],
        Kind::Text => vec![
            ("null", Value::Null),
            ("empty", json!("")),
            ("unknown", json!("~unknown")),
            ("max", json!({"long": 32_767})),
        ],
        Kind::Bytes | Kind::Records => vec![
            ("null", Value::Null),
            ("empty", json!("")),
            ("garbage", json!({"hex": "ff00fe01"})),
        ],
        Kind::Uuid => vec![
            ("empty", json!("")),
            ("unknown", json!("00000000000000770000000000000077")),
        ],
    };
    values.retain(|(_, value)| value != now);
    values
}

fn path(place: &[Into]) -> String {
    let mut path = String::new();
    for into in place {
        match into {
            Into::Field(name) if path.is_empty() => path.push_str(name),
            Into::Field(name) => {
                path.push('.');
                path.push_str(name);
            }
            Into::First => path.push_str("[]"),
        }
    }
    path
}

fn at<'a>(body: &'a Value, place: &[Into]) -> Option<&'a Value> {
    let mut value = body;
    for into in place {
        value = match into {
            Into::Field(name) => value.get(name)?,
            Into::First => value.get(0)?,
        };
    }
    Some(value)
}

fn put(body: &mut Value, place: &[Into], new: Value) {
    let mut value = body;
    for into in place {
        value = match into {
            Into::Field(name) => {
                if !value.is_object() {
                    *value = json!({});
                }
                &mut value[name.as_str()]
            }
            Into::First => &mut value[0],
        };
    }
    *value = new;
}
