//! The recorded differential: what Apache Kafka 4.3.1 answers to a table of cases, kept as data, and
//! Millrace held against it.
//!
//! What always holds: requests and answers go by Kafka's schemas, never by the code under test; what is
//! left out of a comparison stands in one file with its reason (`masks.tsv`), what differs and stays in
//! another (`differences.tsv`).

pub mod batches;
pub mod case;
pub mod cases;
pub mod differences;
pub mod instance;
pub mod masks;
pub mod names;
pub mod peer;
pub mod places;
pub mod pool;
pub mod read;
pub mod record;
pub mod rewrite;
pub mod run;
pub mod schema;
pub mod vary;
pub mod write;

use millrace_protocol::error_code::ErrorCode;

/// An error code as it is recorded: number and name.
pub fn code(code: i64) -> String {
    let known = i16::try_from(code).ok().and_then(ErrorCode::from_code);
    match known {
        Some(known) => format!("{code} {}", known.name()),
        None => code.to_string(),
    }
}
