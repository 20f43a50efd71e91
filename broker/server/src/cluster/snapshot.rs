//! Snapshots of the metadata: `<end offset>-<epoch>.checkpoint` beside the log, in Kafka's format:
//! a control batch with the header, the image as records, a control batch with the footer.
//!
//! What always holds: a file has its final name only when it is whole and synced; it counts only
//! once a mark names its offset and CRC (`durability.md` A2); one that differs from its mark, or
//! isn't whole, is refused as a whole, never taken for a smaller cluster.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millrace_core::cluster::{Image, Loading};
use millrace_host::{Disk, OpenMode};
use millrace_log::dir::LogDir;
use millrace_probe::{Bug, planted};
use millrace_protocol::metadata::MetadataRecord;
use millrace_protocol::metadata::control::{ControlValue, SnapshotFooter, SnapshotHeader};
use millrace_protocol::records::{
    Batch, BatchBuilder, ControlType, Options, RecordError, Scratch, batches, control_batch,
    record_iter,
};

use super::{Entry, MetadataError};

/// What the name of a whole snapshot ends in.
const SUFFIX: &str = ".checkpoint";

/// What the name of one that is being written ends in, as in Kafka.
const PART_SUFFIX: &str = ".checkpoint.part";

/// Bytes of records in one batch of a snapshot, about.
const BATCH_BYTES: usize = 256 << 10;

/// Our own batches are never compressed; nothing is inflated.
const INFLATED_BYTES_MAX: usize = 0;

/// A snapshot that was read.
#[derive(Debug)]
pub(super) struct Restored {
    /// The image, still to be moved forward by the log behind it.
    pub(super) loading: Loading,
    /// The last entry it holds.
    pub(super) entry: Entry,
}

/// The file of a snapshot.
pub(super) fn path(dir: &Path, end_offset: i64, term: i32) -> PathBuf {
    dir.join(format!("{end_offset:020}-{term:010}{SUFFIX}"))
}

/// End offset and term in a snapshot's file name; `None` for any other name.
pub(super) fn parse_name(name: &str) -> Option<(i64, i32)> {
    let (offset, term) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let digits = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    (digits(offset, 20) && digits(term, 10)).then_some(())?;
    Some((offset.parse().ok()?, term.parse().ok()?))
}

/// Whether a file is one of ours that a mark has to name, or what was left of writing one.
pub(super) fn is_snapshot_name(name: &str) -> bool {
    name.ends_with(PART_SUFFIX) || parse_name(name).is_some()
}

/// The batches of a snapshot.
fn encode(image: &Image, entry: Entry) -> Result<Vec<Bytes>, RecordError> {
    let options = |base_offset| Options {
        base_offset,
        leader_epoch: entry.term,
        ..Options::default()
    };
    let timestamp_ms = entry.timestamp_ms;
    let header = SnapshotHeader {
        last_contained_log_timestamp_ms: timestamp_ms,
        entry_index: Some(entry.index),
    };
    let header = header.encode();
    let mut done = vec![control_batch(
        options(0),
        ControlType::SnapshotHeader,
        &header,
        timestamp_ms,
    )];
    let mut next = 1;
    let mut builder = BatchBuilder::new(options(next));
    let mut records = image.to_records();
    if planted(Bug::ConfigsLeftOutOfSnapshot) {
        records.retain(|record| !matches!(record, MetadataRecord::Config(_)));
    }
    if planted(Bug::AddedPartitionLeftOutOfSnapshot) {
        records.retain(|record| {
            let MetadataRecord::Partition(partition) = record else {
                return true;
            };
            let topic = image.topic(partition.topic_id);
            let count = topic.map_or(0, |topic| topic.partitions.size());
            count < 2 || partition.partition_id as usize + 1 < count
        });
    }
    for record in records {
        if builder.len() >= BATCH_BYTES {
            next += builder.record_count() as i64;
            let full = std::mem::replace(&mut builder, BatchBuilder::new(options(next)));
            done.push(full.build());
        }
        builder.push(timestamp_ms, None, Some(&record.encode()), &[])?;
    }
    if !builder.is_empty() {
        next += builder.record_count() as i64;
        done.push(builder.build());
    }
    let footer = SnapshotFooter.encode();
    done.push(control_batch(
        options(next),
        ControlType::SnapshotFooter,
        &footer,
        timestamp_ms,
    ));
    Ok(done)
}

/// Writes the snapshot of `image` as of `entry` and makes it durable, its name included. Gives the
/// CRC-32C of the file, by which the mark names it. A sync that fails ends the log directory (F1).
pub(super) async fn write(
    disk: &dyn Disk,
    (log_dir, dir): (&LogDir, &Path),
    image: &Image,
    entry: Entry,
) -> Result<u32, io::Error> {
    let failed = |error: io::Error| {
        log_dir.fail(&format!("syncing a snapshot of the metadata: {error}"));
        error
    };
    let chunks = encode(image, entry).map_err(io::Error::other)?;
    let to = path(dir, entry.end_offset, entry.term);
    let part = to.with_extension("checkpoint.part");
    let file = disk.open(&part, OpenMode::Create)?;
    file.set_len(0)?;
    let (mut at, mut crc) = (0, 0);
    for chunk in chunks {
        if file.write_vectored_at(&[IoSlice::new(&chunk)], at)? < chunk.len() {
            file.set_len(0)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        at += chunk.len() as u64;
        crc = crc32c::crc32c_append(crc, &chunk);
        tokio::task::yield_now().await;
    }
    file.sync().await.map_err(failed)?;
    disk.rename(&part, &to).await?;
    // The partition's directory was made by a journaled append: its own name may not be durable.
    for dir in [dir, log_dir.path()] {
        disk.sync_dir(dir).await.map_err(failed)?;
    }
    Ok(crc)
}

/// Reads the snapshot at `path`, which must be what the mark named.
pub(super) async fn read(
    disk: &Arc<dyn Disk>,
    path: &Path,
    (end_offset, term): (i64, i32),
    crc: u32,
) -> Result<Restored, MetadataError> {
    let damaged = |what: &dyn std::fmt::Display| {
        MetadataError::Damaged(format!("{}: {what}", path.display()))
    };
    let file = disk
        .open(path, OpenMode::Read)
        .map_err(|error| damaged(&error))?;
    let len = file.len().map_err(|error| damaged(&error))?;
    let len = usize::try_from(len).map_err(|error| damaged(&error))?;
    let bytes = file
        .read_at(0, len)
        .await
        .map_err(|error| damaged(&error))?;
    if crc32c::crc32c(&bytes) != crc {
        return Err(damaged(&"its bytes are not those that were written"));
    }
    decode(bytes, end_offset, term).map_err(|reason| damaged(&reason))
}

/// Folds a whole snapshot.
fn decode(bytes: Bytes, end_offset: i64, term: i32) -> Result<Restored, String> {
    let mut scratch = Scratch::new(INFLATED_BYTES_MAX);
    let mut loading = Loading::default();
    let mut header: Option<SnapshotHeader> = None;
    let (mut next, mut whole) = (0, false);
    for batch in batches(bytes) {
        let batch = batch.map_err(|error| error.to_string())?;
        batch.verify_crc().map_err(|error| error.to_string())?;
        if batch.header.base_offset != next || whole {
            return Err(format!("a batch at offset {next} isn't where it belongs"));
        }
        next = batch.header.last_offset() + 1;
        let record = |value: &[u8]| {
            let record = MetadataRecord::decode(value).map_err(|error| error.to_string())?;
            let restored = loading.restore(end_offset - 1, &record);
            restored.map_err(|error| error.to_string())
        };
        if batch.header.is_control() {
            read_control(&batch, &mut scratch, &mut header, &mut whole)?;
        } else if header.is_some() {
            each_value(&batch, &mut scratch, record)?;
        } else {
            return Err("it doesn't begin with a header".to_owned());
        }
    }
    let header = header.filter(|_| whole).ok_or("it has no end")?;
    let index = header.entry_index.ok_or("it doesn't count its entries")?;
    Ok(Restored {
        loading,
        entry: Entry {
            index,
            term,
            end_offset,
            timestamp_ms: header.last_contained_log_timestamp_ms,
        },
    })
}

fn read_control(
    batch: &Batch,
    scratch: &mut Scratch,
    header: &mut Option<SnapshotHeader>,
    whole: &mut bool,
) -> Result<(), String> {
    for record in record_iter(batch, scratch).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        let key = ControlType::parse_key(record.key.unwrap_or_default());
        let value = record.value.unwrap_or_default();
        match key.map_err(|error| error.to_string())? {
            ControlType::SnapshotHeader => {
                let value = SnapshotHeader::decode(value).map_err(|error| error.to_string())?;
                if header.replace(value).is_some() {
                    return Err("it has two headers".to_owned());
                }
            }
            ControlType::SnapshotFooter => *whole = true,
            // Who votes, in what format: nothing of the image.
            ControlType::KRaftVersion | ControlType::Voters => {}
            other @ (ControlType::Abort
            | ControlType::Commit
            | ControlType::LeaderChange
            | ControlType::Unknown(_)) => {
                return Err(format!("a control record {other:?} has no place in it"));
            }
        }
    }
    Ok(())
}

/// Calls `each` with the value of every record of a batch.
pub(super) fn each_value(
    batch: &Batch,
    scratch: &mut Scratch,
    mut each: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    for record in record_iter(batch, scratch).map_err(|error| error.to_string())? {
        let record = record.map_err(|error| error.to_string())?;
        each(record.value.unwrap_or_default())
            .map_err(|reason| format!("the record at offset {}: {reason}", record.offset))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millrace_protocol::ids::TopicId;
    use millrace_protocol::metadata::TopicRecord;

    use super::*;

    const ENTRY: Entry = Entry {
        index: 42,
        term: 7,
        end_offset: 10_000,
        timestamp_ms: 1_700_000_000_000,
    };

    fn image(topics: u128) -> Image {
        let records: Vec<_> = (1..=topics)
            .map(|at| {
                MetadataRecord::Topic(TopicRecord {
                    name: format!("topic-with-a-long-name-{at:060}"),
                    topic_id: TopicId::from_bytes((at + 100).to_be_bytes()),
                })
            })
            .collect();
        Image::default().replay_all(0, &records).unwrap()
    }

    #[test]
    fn names_are_kafkas() {
        let path = path(Path::new("d"), 42, 7);
        assert_eq!(
            path,
            Path::new("d/00000000000000000042-0000000007.checkpoint")
        );
        assert_eq!(
            parse_name("00000000000000000042-0000000007.checkpoint"),
            Some((42, 7))
        );
        for other in [
            "00000000000000000042.checkpoint",
            "00000000000000000042-7.checkpoint",
            "00000000000000000042-0000000007.checkpoint.part",
            "99999999999999999999-0000000007.checkpoint",
            "leader-epoch-checkpoint",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
        assert!(is_snapshot_name(
            "00000000000000000042-0000000007.checkpoint.part"
        ));
        assert!(!is_snapshot_name("00000000000000000042.snapshot"));
    }

    #[test]
    fn an_image_of_many_batches_comes_back() {
        let image = image(7000);
        let chunks = encode(&image, ENTRY).unwrap();
        assert!(chunks.len() > 4, "{} batches", chunks.len());
        let restored = decode(chunks.concat().into(), ENTRY.end_offset, ENTRY.term).unwrap();
        assert_eq!(restored.entry, ENTRY);
        let read = restored.loading.finish();
        assert_eq!(read.offset(), ENTRY.end_offset - 1);
        assert_eq!(read.to_records(), image.to_records());
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let chunks = encode(&image(3), ENTRY).unwrap();
        assert_eq!(chunks.len(), 3);
        let whole = chunks.concat();
        for len in 0..whole.len() {
            let cut = Bytes::copy_from_slice(&whole[..len]);
            assert!(decode(cut, 1, 1).is_err(), "{len} bytes");
        }
        let [header, records, footer] = [&chunks[0], &chunks[1], &chunks[2]];
        for wrong in [
            [header, footer].map(|b| b.to_vec()).concat(),
            [records, footer].map(|b| b.to_vec()).concat(),
            [header, records, footer, footer]
                .map(|b| b.to_vec())
                .concat(),
            [header, header, records, footer]
                .map(|b| b.to_vec())
                .concat(),
        ] {
            assert!(decode(wrong.into(), 1, 1).is_err());
        }
    }
}
