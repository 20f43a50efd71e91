//! Kafka's own bytes of every message and version, held against the table of schemas: what is read is
//! written again byte for byte.

use millrace_differential::{read, schema, write};
use millrace_protocol::api::TABLE;
use serde_json::Value;

const VECTORS: &str = include_str!("../../../protocol/vectors/messages.txt");

/// Error codes as numbers again, as requests write them.
fn numbered(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let code = value.as_str().filter(|_| name.ends_with("ErrorCode"));
                let code = code.and_then(|text| text.split(' ').next()?.parse::<i64>().ok());
                match code {
                    Some(code) => *value = code.into(),
                    None => numbered(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(numbered),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn what_kafka_wrote_is_read_and_written_again() {
    let mut seen = 0;
    for line in VECTORS.lines() {
        let [name, version, _, bytes] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("four columns: {line}");
        };
        let (stem, is_request) = match name.strip_suffix("Request") {
            Some(stem) => (stem, true),
            None => (name.strip_suffix("Response").unwrap_or(name), false),
        };
        let Some(row) = TABLE.iter().find(|row| row.name == stem) else {
            continue;
        };
        let version: i16 = version.parse().expect("a version");
        if !row.served.contains(version) {
            continue;
        }
        let message = schema::message(row.api, is_request);
        assert_eq!(message.first_flexible, row.first_flexible, "{stem}");
        let bytes = millrace_differential::batches::unhex(bytes).expect("hexadecimal");
        let mut value = read::body(message, version, &bytes)
            .unwrap_or_else(|reason| panic!("{name} {version}: {reason}"));
        numbered(&mut value);
        let written = write::body(message, version, &value)
            .unwrap_or_else(|reason| panic!("{name} {version}: {reason}"));
        assert_eq!(written, bytes, "{name} {version}: {value}");
        seen += 1;
    }
    assert!(seen > 500, "{seen} vectors of messages that are served");
}
