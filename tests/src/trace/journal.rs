//! One commit of the journal, read by the words of `docs/durability.md` (J2) and by nothing of the
//! broker's own code.

/// A commit's first bytes.
const MAGIC: &[u8] = b"MRjc";
/// A commit's last field begins with these.
const TRAILER_MAGIC: &[u8] = b"MRje";
const KIND_DATA: u8 = 1;
const KIND_MARK: u8 = 2;
const MARK_SEGMENT: u8 = 1;
const MARK_TAKEN_IN: u8 = 19;

/// Topic id and partition.
pub(super) type Whose = ([u8; 16], i32);

/// What a commit says that matters to a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Bytes as they stand in a segment.
    Data {
        whose: Whose,
        base: i64,
        position: u64,
        bytes: Vec<u8>,
    },
    /// A segment exists, of a topic with this name.
    Segment {
        whose: Whose,
        base: i64,
        topic: String,
    },
}

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    pub(super) generation: u64,
    pub(super) number: u64,
    pub(super) entries: Vec<Entry>,
}

struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
}

/// Whether bytes begin as a commit does.
pub(super) fn is_commit(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads one whole commit; `None` when it is not one from its first byte to its trailer.
pub(super) fn commit(bytes: &[u8]) -> Option<Commit> {
    let mut take = Take(bytes);
    take.bytes(MAGIC.len() + 2 + 2)?;
    let (generation, number) = (take.u64()?, take.u64()?);
    let (entries_len, entry_count, partitions) = (take.len()?, take.u32()?, take.len()?);
    take.bytes(4 + 8)?;
    let mut whose = Vec::new();
    for _ in 0..partitions {
        whose.push((take.array::<16>()?, take.array().map(i32::from_le_bytes)?));
    }
    take.bytes(4)?;
    let mut inside = Take(take.bytes(entries_len)?);
    let mut entries = Vec::new();
    for _ in 0..entry_count {
        let [kind, ..] = inside.array::<4>()?;
        let index = inside.len()?;
        let len = inside.len()?;
        inside.bytes(8)?;
        let payload = inside.bytes(len)?;
        if let Some(whose) = whose.get(index) {
            entry(kind, *whose, payload, &mut entries)?;
        }
    }
    let ends = inside.0.is_empty()
        && take.bytes(TRAILER_MAGIC.len())? == TRAILER_MAGIC
        && take.u64()? == number;
    ends.then_some(Commit {
        generation,
        number,
        entries,
    })
}

/// Adds what an entry says, if it matters here; `None` when it can't be read.
fn entry(kind: u8, whose: Whose, payload: &[u8], to: &mut Vec<Entry>) -> Option<()> {
    let mut take = Take(payload);
    if kind == KIND_DATA {
        let base = take.i64()?;
        take.u32()?;
        let position = take.u64()?;
        take.bytes(16)?;
        let bytes = take.0.to_vec();
        to.push(Entry::Data {
            whose,
            base,
            position,
            bytes,
        });
    } else if kind == KIND_MARK {
        let [mark] = take.array::<1>()?;
        if mark == MARK_SEGMENT || mark == MARK_TAKEN_IN {
            let base = take.i64()?;
            take.u32()?;
            if mark == MARK_SEGMENT {
                take.bytes(1)?;
            }
            let len = take.len()?;
            let topic = String::from_utf8(take.bytes(len)?.to_vec()).ok()?;
            to.push(Entry::Segment { whose, base, topic });
        }
    }
    Some(())
}

/// A commit as it is written, for tests.
#[cfg(test)]
pub(super) fn encode(number: u64, entries: &[(u8, Vec<u8>)], whose: Whose) -> Vec<u8> {
    let mut inside = Vec::new();
    for (kind, payload) in entries {
        inside.extend_from_slice(&[*kind, 0, 0, 0]);
        inside.extend_from_slice(&0_u32.to_le_bytes());
        inside.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        inside.extend_from_slice(&[0; 8]);
        inside.extend_from_slice(payload);
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 0]);
    bytes.extend_from_slice(&1_u64.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&(inside.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend_from_slice(&whose.0);
    bytes.extend_from_slice(&whose.1.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&inside);
    bytes.extend_from_slice(TRAILER_MAGIC);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_without_its_last_bytes_is_none() {
        let whose = ([7; 16], 3);
        let mut data = Vec::new();
        data.extend_from_slice(&5_i64.to_le_bytes());
        data.extend_from_slice(&[0; 4]);
        data.extend_from_slice(&77_u64.to_le_bytes());
        data.extend_from_slice(&[0; 16]);
        data.extend_from_slice(b"bytes");
        let bytes = encode(9, &[(KIND_DATA, data)], whose);
        let read = commit(&bytes).unwrap();
        assert_eq!((read.generation, read.number), (1, 9));
        let entry = Entry::Data {
            whose,
            base: 5,
            position: 77,
            bytes: b"bytes".to_vec(),
        };
        assert_eq!(read.entries, [entry]);
        let end = bytes.windows(4).position(|at| at == TRAILER_MAGIC).unwrap();
        assert_eq!(commit(&bytes[..end + 4]), None);
    }
}
