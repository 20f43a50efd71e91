//! Kafka's offset index (`.index`): sorted 8-byte entries, one per `index.interval.bytes`.
//!
//! Entry: `int32` relative offset (last offset of a batch minus the segment's base offset), `int32`
//! position of that batch in the segment file, both big-endian. What always holds in a file written
//! here: both columns rise strictly. Nothing read back is believed: an answer is a place from which
//! to scan, and the caller checks the batch header that stands there.

/// Bytes of one entry.
pub(crate) const ENTRY_LEN: usize = 8;

/// One entry with its offset made absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    /// Last offset of the batch.
    pub(crate) last_offset: i64,
    /// First byte of the batch in the segment file.
    pub(crate) position: u64,
}

impl OffsetEntry {
    /// As it stands in the file; `None` when it does not fit a segment that starts at `base`.
    pub(crate) fn encode(self, base: i64) -> Option<[u8; ENTRY_LEN]> {
        let relative = i32::try_from(self.last_offset.checked_sub(base)?).ok()?;
        let position = i32::try_from(self.position).ok()?;
        if relative < 0 {
            return None;
        }
        let mut out = [0; ENTRY_LEN];
        out[..4].copy_from_slice(&relative.to_be_bytes());
        out[4..].copy_from_slice(&position.to_be_bytes());
        Some(out)
    }

    /// Reads one entry of a segment that starts at `base`; `None` for what no writer writes
    /// (negative numbers, fewer than eight bytes).
    pub(crate) fn decode(base: i64, bytes: &[u8]) -> Option<Self> {
        let relative = i32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
        let position = i32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
        if relative < 0 || position < 0 {
            return None;
        }
        Some(Self {
            last_offset: base.checked_add(i64::from(relative))?,
            position: u64::try_from(position).ok()?,
        })
    }
}

/// The entry with the greatest last offset at or below `target` in `entries`, which are sorted.
pub(crate) fn floor(entries: &[OffsetEntry], target: i64) -> Option<OffsetEntry> {
    let above = entries.partition_point(|entry| entry.last_offset <= target);
    above.checked_sub(1).map(|at| entries[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_kafkas_bytes() {
        let entry = OffsetEntry {
            last_offset: 1_000_258,
            position: 0x1234,
        };
        let bytes = entry.encode(1_000_000).unwrap();
        assert_eq!(bytes, [0, 0, 1, 2, 0, 0, 0x12, 0x34]);
        assert_eq!(OffsetEntry::decode(1_000_000, &bytes), Some(entry));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let far = OffsetEntry {
            last_offset: i64::from(i32::MAX) + 1,
            position: 0,
        };
        assert_eq!(far.encode(0), None);
        let below = OffsetEntry {
            last_offset: 4,
            position: 0,
        };
        assert_eq!(below.encode(5), None);
        let big = OffsetEntry {
            last_offset: 5,
            position: 1 << 31,
        };
        assert_eq!(big.encode(5), None);
        assert_eq!(OffsetEntry::decode(0, &[0x80, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(OffsetEntry::decode(0, &[0; 7]), None);
        assert_eq!(
            OffsetEntry::decode(i64::MAX, &[0, 0, 0, 1, 0, 0, 0, 0]),
            None
        );
    }

    #[test]
    fn floor_finds_the_last_entry_at_or_below() {
        let entries: Vec<_> = [(4, 0), (9, 100), (20, 300)]
            .map(|(last_offset, position)| OffsetEntry {
                last_offset,
                position,
            })
            .into();
        assert_eq!(floor(&entries, 3), None);
        assert_eq!(floor(&entries, 4).unwrap().position, 0);
        assert_eq!(floor(&entries, 19).unwrap().position, 100);
        assert_eq!(floor(&entries, 400).unwrap().position, 300);
    }
}
