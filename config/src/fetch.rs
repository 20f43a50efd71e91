//! Limits of the fetch path.

use crate::key::{Check, Key, Kind};
use crate::values::Values;

pub(crate) const KEYS: &[Key] = &[
    Key::kafka(
        "fetch.max.bytes",
        Kind::Int,
        Some("57671680"),
        "Most bytes of records in one fetch response, whatever the client asks for.",
    )
    .check(Check::AtLeast(1024)),
    Key::kafka(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int,
        Some("1000"),
        "Most fetch sessions kept at once; 0 keeps none.",
    )
    .check(Check::AtLeast(0)),
    Key::own(
        "fetch.session.partitions.max",
        Kind::Int,
        "1000000",
        "Most partitions that all fetch sessions remember together, some 500 bytes each; past it a \
         client gets no session, and is served without.",
    )
    .check(Check::AtLeast(0)),
];

/// Limits of the fetch path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchConfig {
    /// `fetch.max.bytes`: most bytes of records in one response. The first batch is sent whole
    /// even if it is larger.
    pub response_bytes_max: u64,
    /// `max.incremental.fetch.session.cache.slots`.
    pub sessions_max: u32,
    /// `fetch.session.partitions.max`: in all sessions together.
    pub session_partitions_max: u32,
}

impl FetchConfig {
    pub(crate) fn read(values: &Values) -> Self {
        Self {
            response_bytes_max: values.count("fetch.max.bytes"),
            sessions_max: values.count32("max.incremental.fetch.session.cache.slots"),
            session_partitions_max: values.count32("fetch.session.partitions.max"),
        }
    }
}
