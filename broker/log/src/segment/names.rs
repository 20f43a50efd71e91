//! The names of a partition's files and directories, exactly Kafka's.
//!
//! A directory name is built only from a topic name that was validated before, and checked here once
//! more: nothing that could leave the log directory ever becomes a path.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// The suffix of record files.
pub(crate) const LOG: &str = "log";
/// The suffix of offset indexes.
pub(crate) const INDEX: &str = "index";
/// The suffix of time indexes.
pub(crate) const TIME_INDEX: &str = "timeindex";
/// The suffix of indexes of aborted transactions.
pub(crate) const TXN_INDEX: &str = "txnindex";
/// The suffix of Kafka's producer snapshots.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// The suffix of our own producer snapshots.
pub(crate) const PRODUCERS: &str = "producers";

/// The end of the names of files that cleaning is making.
pub(crate) const CLEANED: &str = ".cleaned";
/// The end of the names of files that are whole and about to take the place of others.
pub(crate) const SWAP: &str = ".swap";
/// The end of the names of files that were replaced and are to be removed.
pub(crate) const DELETED: &str = ".deleted";
/// The files of a segment, its record file last.
pub(crate) const OF_SEGMENT: [&str; 4] = [INDEX, TIME_INDEX, TXN_INDEX, LOG];

/// The longest topic name Kafka allows.
const TOPIC_NAME_MAX: usize = 249;

/// `<topic>-<partition>`; refuses what Kafka's topic name rules refuse.
pub(crate) fn partition_dir(topic: &str, partition: i32) -> Result<String, Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let valid = !topic.is_empty()
        && topic.len() <= TOPIC_NAME_MAX
        && topic != "."
        && topic != ".."
        && topic.bytes().all(allowed);
    if !valid || partition < 0 {
        return Err(Error::BadFile {
            what: format!(
                "`{}-{partition}` cannot be a partition's name",
                topic.escape_debug()
            ),
        });
    }
    Ok(format!("{topic}-{partition}"))
}

/// `<20 digits>.<suffix>` in `dir`.
pub(crate) fn file(dir: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    dir.join(format!("{base_offset:020}.{suffix}"))
}

/// Takes `<20 digits>.<suffix>` apart; `None` for any other name.
pub(crate) fn parse(name: &str) -> Option<(i64, &str)> {
    let (digits, suffix) = name.split_at_checked(20)?;
    let suffix = suffix.strip_prefix('.')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let path = file(Path::new("d"), 42, LOG);
        assert_eq!(path, Path::new("d/00000000000000000042.log"));
        assert_eq!(parse("00000000000000000042.log"), Some((42, "log")));
        assert_eq!(
            parse("00000000000000000042.log.deleted"),
            Some((42, "log.deleted"))
        );
        assert_eq!(parse("0000000000000000042.log"), None);
        assert_eq!(parse("99999999999999999999.log"), None);
        assert_eq!(parse("leader-epoch-checkpoint"), None);
        assert_eq!(parse("é0000000000000000042.log"), None);
    }

    #[test]
    fn a_directory_is_named_only_from_a_valid_topic() {
        assert_eq!(partition_dir("a.b_c-D9", 3).unwrap(), "a.b_c-D9-3");
        let long = "x".repeat(250);
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "a b",
            "é",
            "a\0",
            long.as_str(),
        ] {
            assert!(partition_dir(bad, 0).is_err(), "{bad:?}");
        }
        assert!(partition_dir("t", -1).is_err());
    }
}
