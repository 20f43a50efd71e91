//! Asking `kafka-consumer-groups`, and what both of its walks expect to be told.

use super::{Tools, row};
use crate::Outcome;

/// The group of a member that has read everything and gone.
pub(super) const GONE: &str = "gone";
/// Records in the topic `gr`.
pub(super) const RECORDS: usize = 100;

pub(super) fn groups(tools: &Tools, arguments: &[&str], said: &[&str]) -> Result<String, String> {
    tools.ask("consumer-groups", arguments, said)
}

/// A group has committed that, and says how far it is behind.
pub(super) fn is_at(tools: &Tools, group: &str, offset: usize) -> Outcome {
    let told = groups(tools, &["--describe", "--group", group], &[])?;
    let (lag, offset) = ((RECORDS - offset).to_string(), offset.to_string());
    row(&told, &[group, "gr", "0", &offset, "100", &lag])
}
