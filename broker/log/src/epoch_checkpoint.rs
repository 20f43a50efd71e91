//! Kafka's `leader-epoch-checkpoint`: text, version 0.
//!
//! Derived from the marks of the journal and written for Kafka's tools and for
//! `millrace check --rebuild-ledger`; an open partition never reads it back. Lines: `0`, the number
//! of entries, then `epoch startOffset` each, both columns rising.

use crate::error::Error;

/// The file's name in a partition's directory.
pub const FILE_NAME: &str = "leader-epoch-checkpoint";

/// The most entries that are read back: a damaged count cannot make the reader allocate.
const MAX_ENTRIES: usize = 1 << 20;

/// The file's text for `epochs`, (epoch, first offset), in order.
pub fn encode(epochs: &[(i32, i64)]) -> String {
    use std::fmt::Write as _;
    let mut out = format!("0\n{}\n", epochs.len());
    for (epoch, start) in epochs {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{epoch} {start}");
    }
    out
}

/// Reads the text back. Refuses another version, a wrong count and columns that do not rise.
pub fn parse(text: &str) -> Result<Vec<(i32, i64)>, Error> {
    let bad = |what: &str| Error::BadFile {
        what: format!("leader-epoch-checkpoint: {what}"),
    };
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("0") {
        return Err(bad("the version is not 0"));
    }
    let count: usize = lines
        .next()
        .and_then(|line| line.trim().parse().ok())
        .filter(|count| *count <= MAX_ENTRIES)
        .ok_or_else(|| bad("no number of entries"))?;
    let mut epochs: Vec<(i32, i64)> = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let entry = line
            .split_once(' ')
            .and_then(|(epoch, start)| {
                Some((epoch.trim().parse().ok()?, start.trim().parse().ok()?))
            })
            .ok_or_else(|| bad("a line is not `epoch offset`"))?;
        if epochs
            .last()
            .is_some_and(|last| last.0 >= entry.0 || last.1 > entry.1)
        {
            return Err(bad("the entries do not rise"));
        }
        epochs.push(entry);
    }
    if epochs.len() != count {
        return Err(bad("the number of entries is wrong"));
    }
    Ok(epochs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_kafkas() {
        let epochs = [(0, 0), (3, 100), (4, 250)];
        let text = encode(&epochs);
        assert_eq!(text, "0\n3\n0 0\n3 100\n4 250\n");
        assert_eq!(parse(&text).unwrap(), epochs);
        assert_eq!(parse(&encode(&[])).unwrap(), []);
    }

    #[test]
    fn a_damaged_text_is_refused() {
        for bad in [
            "",
            "1\n0\n",
            "0\n",
            "0\nx\n",
            "0\n2\n0 0\n",
            "0\n1\n00\n",
            "0\n2\n3 0\n3 5\n",
            "0\n2\n3 9\n4 5\n",
            "0\n99999999999\n",
            "0\n1\n0 9223372036854775808\n",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
