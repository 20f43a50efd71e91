//! K1 to K5 on a real disk: what a cleaned segment holds, who reads what meanwhile, what an opening
//! finds of one that was interrupted.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use millrace_host::BoxFuture;
use millrace_protocol::records::{self, Batch, BatchHeader, Scratch};
use proptest::prelude::*;

use super::log_tests::{append, bytes_of, read_all, small};
use super::*;
use crate::fixture::{Fixture, INCARNATION};
use crate::segment::list::SegmentList;
use crate::testing::{BatchSpec, batch};

/// As fast as it goes.
pub(super) struct Unpaced;

impl Pace for Unpaced {
    fn take(&self, _bytes: u64) -> BoxFuture<'_, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// What is to become of the batches, by their base offsets; those not named stay.
#[derive(Clone, Debug, Default)]
pub(super) struct Fates(pub(super) BTreeMap<i64, Kept>);

impl Filter for Fates {
    fn batch(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<Kept, Uncleanable> {
        let kept = self.of(batch.header.base_offset);
        if kept == Kept::Rewritten {
            let made = records::keep_header(batch, true, out);
            // One that is a header already is the same again.
            if made == records::Kept::Whole {
                return Ok(Kept::Whole);
            }
        }
        Ok(kept)
    }
}

impl Fates {
    fn of(&self, base_offset: i64) -> Kept {
        self.0.get(&base_offset).copied().unwrap_or(Kept::Whole)
    }

    /// What is left of a stored batch; of the last one of a segment at least the header is.
    pub(super) fn apply(&self, bytes: &[u8], is_last: bool) -> Option<Vec<u8>> {
        let batch = Batch::parse(Bytes::copy_from_slice(bytes)).unwrap();
        let mut out = Vec::new();
        match self.of(batch.header.base_offset) {
            Kept::Whole => return Some(bytes.to_vec()),
            Kept::Dropped if !is_last => return None,
            Kept::Rewritten | Kept::Dropped => {}
        }
        if records::keep_header(&batch, true, &mut out) == records::Kept::Whole {
            return Some(bytes.to_vec());
        }
        Some(out)
    }
}

/// Collects what a first pass hands out.
#[derive(Default)]
struct Collected(Vec<(i64, Bytes)>, usize);

impl Visit for Collected {
    fn batch(&mut self, batch: &Batch) -> Result<ControlFlow<()>, Uncleanable> {
        self.0.push((batch.header.base_offset, batch.bytes.clone()));
        Ok(if self.0.len() == self.1 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }
}

/// Small segments, and files that go at once.
fn quick() -> LogSettings {
    LogSettings {
        file_delete_delay_ms: 0,
        ..small()
    }
}

/// A log of these batches in small segments, all of it settled, its producers written down.
async fn written(fixture: &Fixture, count: i64) -> (PartitionLog, Vec<Vec<u8>>) {
    let mut log = fixture.open(quick()).await.log;
    let batches = (0..count)
        .map(|at| {
            append(
                &mut log,
                BatchSpec {
                    records: 2,
                    payload: 120,
                    timestamp: 1_000 * (at + 1),
                    ..BatchSpec::default()
                },
            )
        })
        .collect();
    ready(&mut log).await;
    (log, batches)
}

/// Has all of it settled and its producers written down.
pub(super) async fn ready(log: &mut PartitionLog) {
    log.prepare_cleaning().await.unwrap();
    let end = log.log_end();
    log.cover_start(end, Vec::new).await.unwrap();
}

/// Cleans segments into one and shows it.
pub(super) async fn clean(
    log: &mut PartitionLog,
    range: std::ops::Range<usize>,
    fates: &Fates,
) -> Result<(), CleanError> {
    let cleaning = log.begin_cleaning()?;
    let upto = cleaning.segments()[range.end].base_offset;
    let cleaned = cleaning
        .clean(range, upto, &Unpaced, &mut fates.clone())
        .await?;
    let replacement = log.begin_replacement(cleaned)?;
    let outcome = replacement.run().await;
    log.finish_replacement(outcome)?.run().await?;
    Ok(())
}

/// What is left of batches, of which one ends at each of `ends`.
fn left(batches: &[Vec<u8>], fates: &Fates, ends: &[i64]) -> Vec<u8> {
    let left = batches.iter().filter_map(|bytes| {
        let header = BatchHeader::parse(bytes).unwrap();
        fates.apply(bytes, ends.contains(&(header.last_offset() + 1)))
    });
    left.flatten().collect()
}

fn fates(of: &[(i64, Kept)]) -> Fates {
    Fates(of.iter().copied().collect())
}

async fn files(fixture: &Fixture, end: &str) -> Vec<String> {
    let names = fixture.names().await;
    names
        .into_iter()
        .filter(|name| name.ends_with(end))
        .collect()
}

#[tokio::test]
async fn segments_become_one_and_the_rest_stands_where_it_stood() {
    let mut fixture = Fixture::new().await;
    let (mut log, batches) = written(&fixture, 24).await;
    let segments = log.begin_cleaning().unwrap().segments().to_vec();
    assert!(segments.len() > 4, "{segments:?}");
    let fates = fates(&[
        (0, Kept::Dropped),
        (4, Kept::Rewritten),
        (6, Kept::Dropped),
        (8, Kept::Dropped),
    ]);
    clean(&mut log, 0..3, &fates).await.unwrap();
    let upto = segments[3].base_offset;
    let wanted = left(&batches, &fates, &[upto]);
    assert!(wanted.len() < batches.concat().len());
    for _ in 0..2 {
        let view = log.begin_cleaning().unwrap();
        assert_eq!(view.segments().len(), segments.len() - 2);
        assert_eq!(view.segments()[0].base_offset, 0);
        assert_eq!(view.segments()[0].end_offset, upto);
        assert_eq!((view.first_dirty(), view.log_end()), (upto, 48));
        assert_eq!(read_all(&log.reader(), 300).await, wanted);
        assert_eq!(log.size_bytes(), wanted.len() as u64);
        let log_files = files(&fixture, ".log").await;
        assert_eq!(log_files.len(), segments.len() - 2);
        for end in [".cleaned", ".swap", ".deleted"] {
            assert_eq!(files(&fixture, end).await, Vec::<String>::new());
        }
        log.close().await.unwrap();
        drop((log, view));
        fixture = fixture.reboot().await;
        log = fixture.open(quick()).await.log;
    }
    // Behind a kill on another boot, too: nothing of it is verified again.
    append(&mut log, BatchSpec::default());
    fixture.durable(&log).await;
    drop(log);
    fixture = fixture.reboot().await;
    let opened = fixture.open(quick()).await;
    assert_eq!(opened.quarantined, None);
    let all = read_all(&opened.log.reader(), 300).await;
    assert_eq!(all[..wanted.len()], wanted);
}

#[tokio::test]
async fn look_ups_by_offset_and_time_lead_over_what_is_gone() {
    let fixture = Fixture::new().await;
    let (mut log, batches) = written(&fixture, 24).await;
    let dropped: Vec<_> = (1..10).map(|at| (at * 2, Kept::Dropped)).collect();
    clean(&mut log, 0..4, &fates(&dropped)).await.unwrap();
    let (reader, mut scratch) = (log.reader(), Scratch::new(1 << 20));
    for (at, bytes) in batches.iter().enumerate() {
        let base = at as i64 * 2;
        // What is gone leads to the next batch that is there.
        let next = if (1..10).contains(&at) { 10 } else { at };
        let read = reader.read(base, i64::MAX, 1, true).await.unwrap();
        assert_eq!(bytes_of(&read).await, batches[next], "offset {base}");
        let by_time = reader
            .offset_for_timestamp(1_000 * (at as i64 + 1), i64::MAX, &mut scratch)
            .await
            .unwrap();
        assert_eq!(by_time.unwrap().offset, next as i64 * 2);
        assert!(!bytes.is_empty());
    }
    assert_eq!(fixture.partitions.handles().indexes_rebuilt(), 0);
}

#[tokio::test]
async fn the_greatest_time_is_no_longer_that_of_a_record_that_is_gone() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(quick()).await.log;
    for at in 0..20 {
        let timestamp = if at == 3 { 1_000_000 } else { 1_000 + at };
        let spec = BatchSpec {
            payload: 60,
            timestamp,
            ..BatchSpec::default()
        };
        append(&mut log, spec);
    }
    ready(&mut log).await;
    clean(&mut log, 0..2, &fates(&[(3, Kept::Rewritten)]))
        .await
        .unwrap();
    let greatest = log
        .reader()
        .max_timestamp_offset(i64::MAX, &mut Scratch::new(1 << 20))
        .await
        .unwrap();
    assert_eq!(greatest.unwrap().offset, 19);
}

#[tokio::test]
async fn a_reader_of_the_old_segments_goes_on_with_them() {
    let fixture = Fixture::new().await;
    let (mut log, batches) = written(&fixture, 24).await;
    let old = log.reader().list();
    let whole = batches.concat();
    let dropped: Vec<_> = (0..8).map(|at| (at * 2, Kept::Dropped)).collect();
    clean(&mut log, 0..3, &fates(&dropped)).await.unwrap();
    let old = LogReader::new(
        SegmentList::new(old.all().to_vec(), 0),
        fixture.partitions.handles().clone(),
        150,
        Vec::new(),
    );
    assert_eq!(read_all(&old, 250).await, whole);
    let mut scratch = Scratch::new(1 << 20);
    let found = old.offset_for_timestamp(3_000, i64::MAX, &mut scratch);
    assert_eq!(found.await.unwrap().unwrap().offset, 4);
    assert!(read_all(&log.reader(), 250).await.len() < whole.len());
}

#[tokio::test]
async fn what_was_cleaned_is_cleaned_again_and_joined() {
    let fixture = Fixture::new().await;
    let (mut log, batches) = written(&fixture, 30).await;
    let first = fates(&[(0, Kept::Dropped), (2, Kept::Rewritten)]);
    clean(&mut log, 0..2, &first).await.unwrap();
    let seam = log.begin_cleaning().unwrap().segments()[0].end_offset;
    let dropped: Vec<_> = (0..30).map(|at| (at * 2, Kept::Dropped)).collect();
    ready(&mut log).await;
    clean(&mut log, 0..4, &fates(&dropped)).await.unwrap();
    let view = log.begin_cleaning().unwrap();
    assert_eq!(view.segments()[0].bytes, records::HEADER_LEN as u64);
    assert_eq!(view.first_dirty(), view.segments()[1].base_offset);
    assert!(seam < view.first_dirty());
    let rest = batches
        .iter()
        .filter(|bytes| BatchHeader::parse(bytes).unwrap().base_offset >= view.first_dirty());
    let rest: Vec<u8> = rest.flatten().copied().collect();
    let all = read_all(&log.reader(), 250).await;
    assert_eq!(all[records::HEADER_LEN..], rest);
    let last = BatchHeader::parse(&all).unwrap();
    assert_eq!(
        (last.record_count, last.last_offset() + 1),
        (0, view.first_dirty())
    );
}

#[tokio::test]
async fn a_first_pass_hands_out_what_lies_in_the_range_until_it_is_enough() {
    let fixture = Fixture::new().await;
    let (mut log, batches) = written(&fixture, 24).await;
    let cleaning = log.begin_cleaning().unwrap();
    let upto = cleaning.segments()[3].base_offset;
    let mut all = Collected::default();
    cleaning.read(5, upto, &Unpaced, &mut all).await.unwrap();
    let bases: Vec<i64> = all.0.iter().map(|(base, _)| *base).collect();
    assert_eq!(bases, (2..upto / 2).map(|at| at * 2).collect::<Vec<_>>());
    assert!(
        all.0
            .iter()
            .all(|(base, bytes)| *bytes == batches[(*base / 2) as usize])
    );
    let mut some = Collected(Vec::new(), 3);
    cleaning.read(0, upto, &Unpaced, &mut some).await.unwrap();
    assert_eq!(some.0.len(), 3);
    // Nothing of the segment that grows.
    let mut rest = Collected::default();
    cleaning
        .read(0, i64::MAX, &Unpaced, &mut rest)
        .await
        .unwrap();
    let active = cleaning.segments().last().unwrap().base_offset;
    assert_eq!(rest.0.len() as i64, active / 2);
}

struct Ended(std::sync::atomic::AtomicU64);

impl Pace for Ended {
    fn take(&self, bytes: u64) -> BoxFuture<'_, bool> {
        let taken = self
            .0
            .fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        Box::pin(std::future::ready(taken == 0))
    }
}

#[tokio::test]
async fn what_may_not_be_cleaned_is_refused_and_the_log_is_as_it_was() {
    let fixture = Fixture::new().await;
    let mut log = fixture.open(quick()).await.log;
    for _ in 0..20 {
        append(
            &mut log,
            BatchSpec {
                payload: 60,
                ..BatchSpec::default()
            },
        );
    }
    let whole = read_all(&log.reader(), 300).await;
    let none = Fates::default();
    let refused = |result: Result<(), CleanError>| {
        let CleanError::Changed(why) = result.unwrap_err() else {
            panic!("refused for another reason")
        };
        why
    };
    // Its producers are not written down, then it is not settled, then it is the one that grows.
    let why = refused(clean(&mut log, 0..2, &none).await);
    assert_eq!(why, "what is known of its producers is not written down");
    let end = log.log_end();
    log.cover_start(end, Vec::new).await.unwrap();
    log.prepare_cleaning().await.unwrap();
    let cleaning = log.begin_cleaning().unwrap();
    let count = cleaning.segments().len();
    let (mut first, mut second) = (none.clone(), none.clone());
    let grows = cleaning.clean(0..count, end, &Unpaced, &mut first);
    assert!(matches!(grows.await, Err(CleanError::Changed(_))));
    let ended = Ended(0.into());
    let stopped = cleaning.clean(0..2, end, &ended, &mut second);
    assert!(matches!(stopped.await, Err(CleanError::Stopped)));
    // A copy of it is being made.
    let outline = log.outline().unwrap();
    assert_eq!(
        refused(clean(&mut log, 0..2, &none).await),
        "it is being moved"
    );
    drop(outline);
    // It was cut meanwhile.
    let cleaned = cleaning
        .clean(0..2, 0, &Unpaced, &mut none.clone())
        .await
        .unwrap();
    let plan = log
        .reader()
        .plan_truncation(end - 1)
        .await
        .unwrap()
        .unwrap();
    let work = log.begin_truncation(plan).unwrap();
    let outcome = work.run().await;
    log.finish_truncation(outcome).unwrap();
    let changed = log.begin_replacement(cleaned);
    assert!(matches!(changed, Err(CleanError::Changed(_))));
    assert!(whole.starts_with(&read_all(&log.reader(), 300).await));
}

/// Makes batches that stand for no other.
struct Wrong;

impl Filter for Wrong {
    fn batch(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Result<Kept, Uncleanable> {
        let mut moved = batch.bytes.to_vec();
        moved[7] ^= 1;
        out.extend_from_slice(&moved);
        Ok(Kept::Rewritten)
    }
}

#[tokio::test]
async fn a_batch_that_does_not_take_its_originals_place_is_refused() {
    let fixture = Fixture::new().await;
    let (mut log, _) = written(&fixture, 24).await;
    let wrong = log.begin_cleaning().unwrap();
    let wrong = wrong.clean(0..1, 0, &Unpaced, &mut Wrong).await;
    assert!(matches!(
        wrong,
        Err(CleanError::Uncleanable {
            segment: 0,
            position: 0,
            ..
        })
    ));
}

#[tokio::test]
async fn a_damaged_batch_makes_a_segment_uncleanable() {
    let fixture = Fixture::new().await;
    let (mut log, _) = written(&fixture, 24).await;
    let name = "00000000000000000000.log";
    let mut bytes = fixture.read(name);
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    fixture.write(name, &bytes);
    let refused = clean(&mut log, 0..1, &Fates::default()).await;
    let Err(CleanError::Uncleanable {
        segment: 0, what, ..
    }) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(what, "wrong checksum");
}

/// Where a replacement may end, by the names that it leaves: how many renames were made.
async fn interrupted(renames: usize) {
    let mut fixture = Fixture::new().await;
    let (mut log, batches) = written(&fixture, 24).await;
    let fates = fates(&[(0, Kept::Dropped), (4, Kept::Rewritten)]);
    let cleaning = log.begin_cleaning().unwrap();
    let upto = cleaning.segments()[2].base_offset;
    let second = cleaning.segments()[1].base_offset;
    let cleaned = cleaning
        .clean(0..2, upto, &Unpaced, &mut fates.clone())
        .await
        .unwrap();
    let replacement = log.begin_replacement(cleaned).unwrap();
    // The mark is durable, whatever happens to the names.
    log.flush.mark_now(Mark::HighWatermark(0)).await.unwrap();
    drop(replacement);
    let dir = fixture.partition_dir();
    let kinds = ["index", "timeindex", "log"];
    let mut steps = Vec::new();
    let name = |base: i64, kind: &str, end: &str| format!("{base:020}.{kind}{end}");
    for kind in kinds {
        steps.push((name(0, kind, ".cleaned"), name(0, kind, ".swap")));
    }
    for base in [0, second] {
        for kind in kinds {
            steps.push((name(base, kind, ""), name(base, kind, ".deleted")));
        }
    }
    for kind in kinds {
        steps.push((name(0, kind, ".swap"), name(0, kind, "")));
    }
    for (from, to) in steps.into_iter().take(renames) {
        std::fs::rename(dir.join(from), dir.join(to)).unwrap();
    }
    drop((log, cleaning));
    let wanted = left(&batches, &fates, &[upto]);
    for boot in 0..3 {
        fixture = if boot % 2 == 0 {
            fixture.restart().await
        } else {
            fixture.reboot().await
        };
        let opened = fixture.open(quick()).await;
        let found = read_all(&opened.log.reader(), 250).await;
        assert_eq!(found, wanted, "after {renames} renames, boot {boot}");
        assert_eq!(opened.quarantined, None);
        for end in [".cleaned", ".swap", ".deleted", ".aside"] {
            assert_eq!(files(&fixture, end).await, Vec::<String>::new());
        }
        assert!(!Path::new(&dir.join(name(second, "log", ""))).exists());
        let mut log = opened.log;
        assert_eq!(log.begin_cleaning().unwrap().first_dirty(), upto);
        // What was finished can be cleaned again.
        if boot == 2 {
            ready(&mut log).await;
            log.flush.mark_now(Mark::HighWatermark(0)).await.unwrap();
            clean(&mut log, 0..2, &fates).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_opening_finishes_a_replacement_at_whatever_name_it_ended() {
    for renames in 0..=12 {
        interrupted(renames).await;
    }
}

#[tokio::test]
async fn what_no_mark_tells_of_goes_at_the_next_opening() {
    let mut fixture = Fixture::new().await;
    let (mut log, batches) = written(&fixture, 24).await;
    let cleaning = log.begin_cleaning().unwrap();
    let dropped = fates(&[(0, Kept::Dropped)]);
    let cleaned = cleaning
        .clean(0..2, 4, &Unpaced, &mut dropped.clone())
        .await;
    drop((cleaned, cleaning));
    assert_eq!(files(&fixture, ".cleaned").await.len(), 3);
    // A second try writes over the first.
    let cleaning = log.begin_cleaning().unwrap();
    drop(
        cleaning
            .clean(0..1, 4, &Unpaced, &mut Fates::default())
            .await
            .unwrap(),
    );
    drop((log, cleaning));
    fixture = fixture.restart().await;
    let log = fixture.open(quick()).await.log;
    assert_eq!(files(&fixture, ".cleaned").await, Vec::<String>::new());
    assert_eq!(read_all(&log.reader(), 250).await, batches.concat());
}

#[tokio::test]
async fn retention_over_a_replacement_takes_what_comes_of_it() {
    let mut fixture = Fixture::new().await;
    let (mut log, batches) = written(&fixture, 24).await;
    let cleaning = log.begin_cleaning().unwrap();
    let upto = cleaning.segments()[2].base_offset;
    let (third, dropped) = (
        cleaning.segments()[3].base_offset,
        fates(&[(2, Kept::Dropped)]),
    );
    let cleaned = cleaning
        .clean(0..2, upto, &Unpaced, &mut dropped.clone())
        .await
        .unwrap();
    let replacement = log.begin_replacement(cleaned).unwrap();
    // DeleteRecords into the segment behind, while names change.
    log.advance_log_start(third).unwrap().await.unwrap();
    let removal = log.finish_log_start(third);
    assert_eq!(
        removal.segments(),
        0,
        "those that are replaced stay until then"
    );
    removal.run().await.unwrap();
    let outcome = replacement.run().await;
    drop(cleaning);
    let removal = log.finish_replacement(outcome).unwrap();
    assert_eq!(removal.segments(), 2);
    removal.run().await.unwrap();
    let rest = batches.concat();
    let wanted = &rest[rest.len() - log.size_bytes() as usize..];
    for _ in 0..2 {
        assert_eq!(log.log_start(), third);
        assert_eq!(read_all(&log.reader(), 250).await, wanted);
        assert_eq!(files(&fixture, ".deleted").await, Vec::<String>::new());
        let first = files(&fixture, ".log").await[0].clone();
        assert_eq!(first, format!("{third:020}.log"));
        drop(log);
        fixture = fixture.restart().await;
        log = fixture.open(quick()).await.log;
    }
}

#[tokio::test]
async fn a_topic_that_is_removed_takes_a_replacement_along() {
    for is_before in [true, false] {
        let fixture = Fixture::new().await;
        let (mut log, _) = written(&fixture, 24).await;
        let cleaning = log.begin_cleaning().unwrap();
        let cleaned = cleaning
            .clean(0..2, 4, &Unpaced, &mut Fates::default())
            .await
            .unwrap();
        let replacement = log.begin_replacement(cleaned).unwrap();
        let removal = log.remove();
        let outcome = if is_before {
            removal.await.unwrap();
            replacement.run().await
        } else {
            let (removed, outcome) = tokio::join!(removal, replacement.run());
            removed.unwrap();
            outcome
        };
        let finished = log.finish_replacement(outcome);
        assert!(!is_before || finished.is_err());
        assert_eq!(fixture.dir.offline(), None);
        assert!(!fixture.partition_dir().exists());
        assert!(fixture.dir.entry(&INCARNATION).is_none());
        let again = cleaning
            .clean(2..3, 4, &Unpaced, &mut Fates::default())
            .await;
        assert!(matches!(
            again,
            Err(CleanError::Changed(_) | CleanError::Stopped)
        ));
        assert!(!fixture.partition_dir().exists());
    }
}

/// Segments of drawn batches, cleaned by drawn fates, several times over.
async fn rounds(sizes: Vec<usize>, drawn: Vec<Vec<u8>>) {
    let mut fixture = Fixture::new().await;
    let mut log = fixture.open(quick()).await.log;
    let mut model: Vec<Vec<u8>> = sizes
        .iter()
        .map(|payload| {
            let spec = BatchSpec {
                payload: *payload,
                records: 2,
                ..BatchSpec::default()
            };
            append(&mut log, spec)
        })
        .collect();
    for (round, bytes) in drawn.iter().enumerate() {
        ready(&mut log).await;
        let view = log.begin_cleaning().unwrap();
        let sealed = view.segments().len() - 1;
        if sealed == 0 {
            return;
        }
        let draw = |at: usize| usize::from(bytes[at % bytes.len()]);
        let from = draw(0) % sealed;
        let to = from + 1 + draw(1) % (sealed - from);
        let range = (
            view.segments()[from].base_offset,
            view.segments()[to].base_offset,
        );
        let kinds = [Kept::Whole, Kept::Rewritten, Kept::Dropped, Kept::Dropped];
        drop(view);
        let header = |bytes: &Vec<u8>| BatchHeader::parse(bytes).unwrap();
        let fates = model.iter().enumerate();
        let fates = fates.map(|(at, bytes)| (header(bytes).base_offset, kinds[draw(at + 2) % 4]));
        let fates = Fates(fates.collect());
        clean(&mut log, from..to, &fates).await.unwrap();
        model = model
            .iter()
            .filter_map(|bytes| {
                let header = header(bytes);
                let inside = header.base_offset >= range.0 && header.base_offset < range.1;
                if !inside {
                    return Some(bytes.clone());
                }
                fates.apply(bytes, header.last_offset() + 1 == range.1)
            })
            .collect();
        assert_eq!(read_all(&log.reader(), 200 + draw(3)).await, model.concat());
        for bytes in &model {
            let header = header(bytes);
            for offset in [header.base_offset, header.last_offset()] {
                let read = log.reader().read(offset, i64::MAX, 1, true).await.unwrap();
                assert_eq!(&bytes_of(&read).await, bytes, "offset {offset}");
            }
        }
        if round % 2 == 1 {
            drop(log);
            fixture = fixture.reboot().await;
            log = fixture.open(quick()).await.log;
            assert_eq!(read_all(&log.reader(), 333).await, model.concat());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_batch_that_is_left_reads_back_at_its_offset(
        sizes in prop::collection::vec(1..300_usize, 8..40),
        drawn in prop::collection::vec(prop::collection::vec(any::<u8>(), 4..40), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(rounds(sizes, drawn));
    }
}

#[test]
fn a_batch_of_these_tests_is_what_the_log_stores() {
    let bytes = batch(&BatchSpec::default());
    assert!(records::verify_crc(&bytes));
}
