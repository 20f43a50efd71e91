//! The bytes of a mark inside a journal entry: a kind, then its fields.

use std::sync::Arc;

use crate::codec::{Put, Take};
use crate::mark::{Durability, Mark, SegmentId, SnapshotName};

/// Longest topic name we write or read.
const TOPIC_LEN_MAX: usize = 249;

/// Appends `mark` to `out`.
pub(crate) fn encode(mark: &Mark, out: &mut Vec<u8>) {
    match mark {
        Mark::Segment { id, topic, holes } => {
            put_segment(out, 1, *id);
            out.put_u8(u8::from(*holes));
            out.put_block(topic.as_bytes());
        }
        Mark::Sealed {
            end,
            max_timestamp_ms,
        } => {
            put_at(out, 2, *end);
            out.put_i64(*max_timestamp_ms);
        }
        Mark::SegmentRemoved(id) => put_segment(out, 3, *id),
        // 4 was never written.
        Mark::Flushed(position) => put_at(out, 5, *position),
        Mark::Settled(position) => put_at(out, 6, *position),
        Mark::Recovered(position) => put_at(out, 7, *position),
        Mark::LogStart(offset) => put_offset(out, 8, *offset),
        Mark::HighWatermark(offset) => put_offset(out, 9, *offset),
        Mark::Epoch {
            epoch,
            start_offset,
        } => {
            out.put_u8(10);
            out.put_i32(*epoch);
            out.put_i64(*start_offset);
        }
        Mark::Mode(mode) => {
            out.put_u8(11);
            out.put_u8(encode_mode(*mode));
        }
        Mark::Snapshot(name) => {
            out.put_u8(12);
            put_snapshot(out, *name);
        }
        Mark::CutIntent { to, cut_count } => {
            put_at(out, 13, *to);
            out.put_u32(*cut_count);
        }
        Mark::CutDone { cut_count } => {
            out.put_u8(14);
            out.put_u32(*cut_count);
        }
        Mark::DeleteIntent => out.put_u8(15),
        Mark::DeleteDone => out.put_u8(16),
        Mark::Close(position) => put_at(out, 17, *position),
        Mark::Damaged => out.put_u8(18),
        Mark::TakenIn { id, topic } => {
            put_segment(out, 19, *id);
            out.put_block(topic.as_bytes());
        }
        Mark::Replaced {
            old,
            new,
            max_timestamp_ms,
            clean_upto,
        } => {
            out.put_u8(20);
            out.put_u32(old.len() as u32);
            old.iter().for_each(|id| out.put_segment(*id));
            out.put_position(*new);
            out.put_i64(*max_timestamp_ms);
            out.put_i64(*clean_upto);
        }
        Mark::Cleaned { segment, upto } => {
            put_segment(out, 21, *segment);
            out.put_i64(*upto);
        }
    }
}

fn put_segment(out: &mut Vec<u8>, kind: u8, id: SegmentId) {
    out.put_u8(kind);
    out.put_segment(id);
}

fn put_offset(out: &mut Vec<u8>, kind: u8, offset: i64) {
    out.put_u8(kind);
    out.put_i64(offset);
}

fn put_at(out: &mut Vec<u8>, kind: u8, position: crate::mark::Position) {
    out.put_u8(kind);
    out.put_position(position);
}

/// Decodes what [`encode`] wrote; `None` when it isn't exactly one mark.
pub(crate) fn decode(bytes: &[u8]) -> Option<Mark> {
    let mut take = Take(bytes);
    let mark = match take.u8()? {
        1 => {
            let id = take.segment()?;
            let holes = take.flag()?;
            let topic = take_topic(&mut take)?;
            Mark::Segment { id, topic, holes }
        }
        2 => Mark::Sealed {
            end: take.position()?,
            max_timestamp_ms: take.i64()?,
        },
        3 => Mark::SegmentRemoved(take.segment()?),
        5 => Mark::Flushed(take.position()?),
        6 => Mark::Settled(take.position()?),
        7 => Mark::Recovered(take.position()?),
        8 => Mark::LogStart(take.i64()?),
        9 => Mark::HighWatermark(take.i64()?),
        10 => Mark::Epoch {
            epoch: take.i32()?,
            start_offset: take.i64()?,
        },
        11 => Mark::Mode(decode_mode(take.u8()?)?),
        12 => Mark::Snapshot(take_snapshot(&mut take)?),
        13 => Mark::CutIntent {
            to: take.position()?,
            cut_count: take.u32()?,
        },
        14 => Mark::CutDone {
            cut_count: take.u32()?,
        },
        15 => Mark::DeleteIntent,
        16 => Mark::DeleteDone,
        17 => Mark::Close(take.position()?),
        18 => Mark::Damaged,
        19 => Mark::TakenIn {
            id: take.segment()?,
            topic: take_topic(&mut take)?,
        },
        20 => Mark::Replaced {
            old: take_segments(&mut take)?,
            new: take.position()?,
            max_timestamp_ms: take.i64()?,
            clean_upto: take.i64()?,
        },
        21 => Mark::Cleaned {
            segment: take.segment()?,
            upto: take.i64()?,
        },
        _ => return None,
    };
    take.is_done().then_some(mark)
}

fn take_segments(take: &mut Take<'_>) -> Option<Arc<[SegmentId]>> {
    let mut segments = Vec::new();
    for _ in 0..take.u32()? {
        segments.push(take.segment()?);
    }
    Some(segments.into())
}

fn take_topic(take: &mut Take<'_>) -> Option<Arc<str>> {
    let name = take.text().filter(|name| name.len() <= TOPIC_LEN_MAX)?;
    Some(name.into())
}

/// A topic's durability as a byte.
pub(crate) fn encode_mode(mode: Durability) -> u8 {
    match mode {
        Durability::Fsync => 0,
        Durability::PageCache => 1,
    }
}

/// The reverse of [`encode_mode`].
pub(crate) fn decode_mode(byte: u8) -> Option<Durability> {
    match byte {
        0 => Some(Durability::Fsync),
        1 => Some(Durability::PageCache),
        _ => None,
    }
}

/// A snapshot's name as fields.
pub(crate) fn put_snapshot(out: &mut Vec<u8>, name: SnapshotName) {
    out.put_i64(name.offset);
    out.put_u32(name.crc_ours);
    out.put_u32(name.crc_kafka);
}

/// The reverse of [`put_snapshot`].
pub(crate) fn take_snapshot(take: &mut Take<'_>) -> Option<SnapshotName> {
    Some(SnapshotName {
        offset: take.i64()?,
        crc_ours: take.u32()?,
        crc_kafka: take.u32()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::Position;

    fn all() -> Vec<Mark> {
        let id = SegmentId {
            base_offset: 77,
            generation: 3,
        };
        let at = Position {
            segment: id,
            bytes: 4096,
            offset: 99,
        };
        vec![
            Mark::Segment {
                id,
                topic: "orders".into(),
                holes: true,
            },
            Mark::Sealed {
                end: at,
                max_timestamp_ms: -1,
            },
            Mark::SegmentRemoved(id),
            Mark::Replaced {
                old: [id, SegmentId::default()].into(),
                new: at,
                max_timestamp_ms: 5,
                clean_upto: 6,
            },
            Mark::Cleaned {
                segment: id,
                upto: 99,
            },
            Mark::Flushed(at),
            Mark::Settled(at),
            Mark::Recovered(at),
            Mark::LogStart(5),
            Mark::HighWatermark(6),
            Mark::Epoch {
                epoch: 2,
                start_offset: 40,
            },
            Mark::Mode(Durability::PageCache),
            Mark::Snapshot(SnapshotName {
                offset: 9,
                crc_ours: 1,
                crc_kafka: 2,
            }),
            Mark::CutIntent {
                to: at,
                cut_count: 7,
            },
            Mark::CutDone { cut_count: 7 },
            Mark::DeleteIntent,
            Mark::DeleteDone,
            Mark::Close(at),
            Mark::Damaged,
            Mark::TakenIn {
                id,
                topic: "orders".into(),
            },
        ]
    }

    #[test]
    fn every_mark_comes_back_and_no_part_of_one_does() {
        for mark in all() {
            let mut bytes = Vec::new();
            encode(&mark, &mut bytes);
            assert_eq!(decode(&bytes), Some(mark.clone()));
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end]), None, "{mark:?} cut at {end}");
            }
            bytes.push(0);
            assert_eq!(decode(&bytes), None, "{mark:?} with a byte too many");
        }
    }
}
