//! J2 and R1 on the bytes of one commit.

use super::*;

const DIR: [u8; 16] = [7; 16];

fn whose(partition: i32) -> Incarnation {
    Incarnation {
        topic_id: [1; 16],
        partition,
    }
}

fn commit(number: u64) -> (Header, Vec<u8>) {
    let mut entries = Vec::new();
    for index in 0..3_u32 {
        let start = begin_entry(&mut entries, EntryKind::Data, Some(index));
        let segment = SegmentId {
            base_offset: 0,
            generation: 0,
        };
        DataPlace {
            segment,
            position: 10,
            first_offset: 1,
            next_offset: 2,
        }
        .encode(&mut entries);
        entries.extend_from_slice(&[index as u8; 100]);
        end_entry(&mut entries, start);
    }
    let header = Header {
        place: Place {
            dir_id: DIR,
            generation: 4,
            number,
        },
        closing: false,
        previous_crc: 9,
        wall_ms: 1,
        partitions: (0..3).map(whose).collect(),
        entries_len: entries.len(),
        entry_count: 3,
    };
    (header.clone(), assemble(&header, entries))
}

fn assemble(header: &Header, mut entries: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    let crc = seal(header.place.seed(), &bytes, &mut entries);
    bytes.extend_from_slice(&entries);
    let mut tail = Vec::new();
    encode_trailer(&mut tail, header.place.number, crc, bytes.len());
    bytes.extend_from_slice(&tail);
    bytes
}

#[test]
fn j2_a_commit_comes_back_and_fills_whole_blocks() {
    let (header, bytes) = commit(5);
    assert_eq!(bytes.len() % BLOCK, 0);
    assert_eq!(bytes.len(), header.total_len());
    assert_eq!(Header::decode(DIR, &bytes), Some(header.clone()));
    let opened = open(&header, &bytes);
    assert!(opened.is_whole());
    assert_eq!(opened.entries.len(), 3);
}

#[test]
fn j2_another_directory_generation_or_number_is_not_ours() {
    let (header, bytes) = commit(5);
    assert_eq!(Header::decode([8; 16], &bytes), None);
    for (generation, number) in [(5, 5), (4, 6)] {
        let place = Place {
            generation,
            number,
            ..header.place
        };
        let other = Header {
            place,
            ..header.clone()
        };
        let opened = open(&other, &bytes);
        assert!(opened.entries.is_empty() && opened.crc_all.is_none());
    }
}

#[test]
fn r1_no_flipped_bit_passes_and_none_panics() {
    let (header, bytes) = commit(5);
    let used = Header::len(3) + header.entries_len + TRAILER_LEN;
    for at in 0..used {
        let mut hurt = bytes.clone();
        hurt[at] ^= 1 << (at % 8);
        match Header::decode(DIR, &hurt) {
            None => assert!(at < Header::len(3), "a flip at {at} hid the header"),
            Some(read) => {
                assert_eq!(read, header);
                assert!(!open(&read, &hurt).is_whole(), "a flip at {at} passed");
            }
        }
    }
}

#[test]
fn r1_a_hurt_payload_hurts_its_own_partition_only() {
    let (header, mut bytes) = commit(5);
    let second = Header::len(3) + (HEAD_LEN + DATA_LEN + 100) + HEAD_LEN + DATA_LEN + 50;
    bytes[second] ^= 1;
    let opened = open(&header, &bytes);
    assert_eq!(opened.damaged, vec![whose(1)]);
    assert_eq!(opened.entries.len(), 2);
}

#[test]
fn r1_a_hurt_head_hurts_every_partition_inside() {
    let (header, mut bytes) = commit(5);
    bytes[Header::len(3) + HEAD_LEN + DATA_LEN + 100 + 8] ^= 1;
    let opened = open(&header, &bytes);
    assert_eq!(opened.damaged.len(), 3);
    assert_eq!(opened.entries.len(), 1);
}

#[test]
fn c2_voided_entries_are_skipped() {
    let (header, bytes) = commit(5);
    let from = Header::len(3);
    let mut entries = bytes[from..from + header.entries_len].to_vec();
    void_data(&mut entries, 1);
    let bytes = assemble(&header, entries);
    let opened = open(&header, &bytes);
    assert!(opened.is_whole());
    assert_eq!(opened.entries.len(), 2);
}

#[test]
fn r1_a_header_that_claims_too_much_is_no_header() {
    let (_, mut bytes) = commit(5);
    bytes[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Header::decode(DIR, &bytes), None);
}
