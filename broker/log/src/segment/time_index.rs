//! Kafka's time index (`.timeindex`): sorted 12-byte entries.
//!
//! Entry: `int64` timestamp (the largest in the segment so far, in ms since 1970), `int32` relative
//! offset (last offset of the batch that holds it), both big-endian. An entry says: no batch up to
//! that one has a later timestamp. Timestamps rise strictly; a batch that does not raise the largest
//! timestamp gets no entry. Retention never believes this file (`durability.md` A4).

/// Bytes of one entry.
pub(crate) const ENTRY_LEN: usize = 12;

/// One entry with its offset made absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    /// Largest timestamp so far, in ms since 1970.
    pub(crate) timestamp: i64,
    /// Last offset of the batch that holds it.
    pub(crate) last_offset: i64,
}

impl TimeEntry {
    /// As it stands in the file; `None` when it does not fit a segment that starts at `base`.
    pub(crate) fn encode(self, base: i64) -> Option<[u8; ENTRY_LEN]> {
        let relative = i32::try_from(self.last_offset.checked_sub(base)?).ok()?;
        if relative < 0 {
            return None;
        }
        let mut out = [0; ENTRY_LEN];
        out[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..].copy_from_slice(&relative.to_be_bytes());
        Some(out)
    }

    /// Reads one entry of a segment that starts at `base`; `None` for what no writer writes.
    pub(crate) fn decode(base: i64, bytes: &[u8]) -> Option<Self> {
        let timestamp = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let relative = i32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
        if relative < 0 {
            return None;
        }
        Some(Self {
            timestamp,
            last_offset: base.checked_add(i64::from(relative))?,
        })
    }
}

/// The last entry whose timestamp lies below `target` in `entries`, which are sorted: every batch
/// up to and including the one it names is too early.
pub(crate) fn before(entries: &[TimeEntry], target: i64) -> Option<TimeEntry> {
    let at = entries.partition_point(|entry| entry.timestamp < target);
    at.checked_sub(1).map(|at| entries[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_kafkas_bytes() {
        let entry = TimeEntry {
            timestamp: 0x0102_0304_0506_0708,
            last_offset: 77,
        };
        let bytes = entry.encode(70).unwrap();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 7]);
        assert_eq!(TimeEntry::decode(70, &bytes), Some(entry));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let far = TimeEntry {
            timestamp: 1,
            last_offset: i64::from(i32::MAX) + 1,
        };
        assert_eq!(far.encode(0), None);
        assert_eq!(TimeEntry::decode(0, &[0; 11]), None);
        assert_eq!(
            TimeEntry::decode(0, &[0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0]),
            None
        );
    }

    #[test]
    fn before_is_strict() {
        let entries: Vec<_> = [(100, 4), (200, 9)]
            .map(|(timestamp, last_offset)| TimeEntry {
                timestamp,
                last_offset,
            })
            .into();
        assert_eq!(before(&entries, 100), None);
        assert_eq!(before(&entries, 101).unwrap().last_offset, 4);
        assert_eq!(before(&entries, 1_000).unwrap().last_offset, 9);
    }
}
