//! Record batches from JSON and to it, and bytes of other fields.
//!
//! What always holds: a batch whose fields are overridden has a right checksum all the same, unless the
//! case asks for a wrong one; what can't be read as batches is shown as it is.

use bytes::Bytes;
use millrace_protocol::records::{
    Batch, BatchBuilder, Codec, Header, Options, Scratch, batches, checksum, record_iter,
};
use serde_json::{Map, Value, json};

/// Bytes that a compressed batch of an answer may have opened.
const INFLATED_BYTES_MAX: usize = 16 << 20;

/// The bytes of a hexadecimal text.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    bytes
        .map(|pair| (pair.len() == 2).then(|| byte(pair)).flatten())
        .collect()
}

/// Bytes as hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect()
}

/// The bytes that a text or `{"hex": ..}` stands for.
pub fn plain(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Object(object) => unhex(object.get("hex")?.as_str()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

/// Bytes as a person reads them: as text where they are plain text.
pub fn readable(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => json!(text),
        _ => json!({ "hex": hex(bytes) }),
    }
}

/// What a `records` field of a request holds; `None` is null.
pub fn from_json(value: &Value) -> Result<Option<Vec<u8>>, String> {
    if value.is_null() {
        return Ok(None);
    }
    if let Some(bytes) = plain(value) {
        return Ok(Some(bytes));
    }
    let list = value["batches"].as_array();
    let list = list.ok_or(format!("{value} are no records"))?;
    let mut out = Vec::new();
    for batch in list {
        out.extend(batch_from(batch)?);
    }
    Ok(Some(out))
}

/// Where a field stands in a batch, and in how many bytes.
const OVERRIDES: [(&str, usize, usize); 12] = [
    ("base", 0, 8),
    ("length", 8, 4),
    ("leader_epoch", 12, 4),
    ("magic", 16, 1),
    ("attributes", 21, 2),
    ("last_delta", 23, 4),
    ("base_time", 27, 8),
    ("max_time", 35, 8),
    ("producer_id", 43, 8),
    ("epoch", 51, 2),
    ("sequence", 53, 4),
    ("count", 57, 4),
];

fn batch_from(value: &Value) -> Result<Vec<u8>, String> {
    let codec = value["codec"].as_str().unwrap_or("none");
    let codec = Codec::from_name(codec).ok_or(format!("{codec} is no codec"))?;
    let options = Options {
        codec,
        last_offset_delta: Some(-1),
        ..Options::default()
    };
    let none = Vec::new();
    let records = value["records"].as_array().unwrap_or(&none);
    let mut builder = BatchBuilder::new(Options {
        last_offset_delta: if records.is_empty() {
            options.last_offset_delta
        } else {
            None
        },
        ..options
    });
    let time = value["time"].as_i64().unwrap_or(1000);
    for record in records {
        let time = time + record["t"].as_i64().unwrap_or(0);
        let (key, content) = (plain(&record["k"]), plain(&record["v"]));
        let headers = headers(&record["h"]);
        let headers: Vec<Header<'_>> = headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        builder
            .push(time, key.as_deref(), content.as_deref(), &headers)
            .map_err(|error| error.to_string())?;
    }
    let mut bytes = builder.build().to_vec();
    for (name, at, len) in OVERRIDES {
        if let Some(number) = value[name].as_i64() {
            bytes[at..at + len].copy_from_slice(&number.to_be_bytes()[8 - len..]);
        }
    }
    let sum = checksum(&bytes) ^ u32::from(value["crc"] == "bad");
    bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    Ok(bytes)
}

fn headers(value: &Value) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let none = Vec::new();
    let pairs = value.as_array().unwrap_or(&none).iter();
    pairs
        .map(|pair| (plain(&pair[0]).unwrap_or_default(), plain(&pair[1])))
        .collect()
}

/// Records of an answer: each batch with its fields, or the bytes where they are no batches.
pub fn to_json(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return json!("");
    }
    let mut all = batches(Bytes::copy_from_slice(bytes));
    let found: Option<Vec<Value>> = all
        .by_ref()
        .map(|batch| batch_to(&batch.ok()?).ok())
        .collect();
    match found {
        Some(found) if all.rest().is_empty() => json!(found),
        _ => json!({ "hex": hex(bytes) }),
    }
}

fn batch_to(batch: &Batch) -> Result<Value, String> {
    batch.verify_crc().map_err(|error| error.to_string())?;
    let header = batch.header;
    let mut found = Map::new();
    let mut keep = |name: &str, value: i64, usual: i64| {
        if value != usual {
            found.insert(name.to_owned(), json!(value));
        }
    };
    keep("base", header.base_offset, 0);
    keep("leader_epoch", i64::from(header.partition_leader_epoch), -1);
    keep("attributes", i64::from(header.attributes.0), 0);
    keep("last_delta", i64::from(header.last_offset_delta), 0);
    keep("base_time", header.base_timestamp, 0);
    keep("max_time", header.max_timestamp, 0);
    keep("ProducerId", header.producer_id, -1);
    keep("epoch", i64::from(header.producer_epoch), -1);
    keep("sequence", i64::from(header.base_sequence), -1);
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let mut records = Vec::new();
    for record in record_iter(batch, &mut scratch).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        let nullable = |bytes: Option<&[u8]>| bytes.map_or(Value::Null, readable);
        let mut row = json!({
            "o": record.offset, "t": record.timestamp,
            "k": nullable(record.key), "v": nullable(record.value),
        });
        let headers: Vec<Value> = record
            .headers
            .map(|header| json!([readable(header.key), nullable(header.value)]))
            .collect();
        if !headers.is_empty() {
            row["h"] = json!(headers);
        }
        records.push(row);
    }
    found.insert("records".into(), json!(records));
    Ok(Value::Object(found))
}
