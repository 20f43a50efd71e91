//! Who may begin, who is left alone, and how fast all go.

use super::*;

fn place(topic: u8, partition: i32) -> Incarnation {
    Incarnation {
        topic_id: [topic; 16],
        partition,
    }
}

fn at(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

const RETRY: Duration = Duration::from_hours(1);

#[test]
fn so_many_rounds_run_at_once_and_one_on_a_partition() {
    let cleaner = Cleaner::new();
    assert!(cleaner.begin(place(1, 0), 0).is_none());
    assert!(cleaner.begin(place(1, 0), 2).is_some());
    assert!(cleaner.begin(place(1, 0), 2).is_none());
    assert!(!cleaner.is_full(2));
    assert!(cleaner.begin(place(1, 1), 2).is_some());
    assert!(cleaner.is_full(2) && cleaner.begin(place(1, 2), 2).is_none());
    cleaner.end(place(1, 0), None);
    assert!(cleaner.begin(place(1, 2), 2).is_some());
}

#[test]
fn what_cannot_be_compacted_is_left_alone_for_its_time_and_counted() {
    let cleaner = Cleaner::new();
    let left = |uncleanable_bytes| {
        Some(Left {
            since: at(100),
            uncleanable_bytes,
        })
    };
    cleaner.end(place(1, 0), left(Some(700)));
    cleaner.end(place(1, 1), left(None));
    let may = |partition, seconds| cleaner.may_begin(&place(1, partition), RETRY, at(seconds));
    assert_eq!((may(0, 3_699), may(0, 3_700)), (false, true));
    assert_eq!((may(1, 114), may(1, 115)), (false, true));
    let counted = cleaner.counted(at(200));
    assert_eq!((counted.uncleanable, counted.uncleanable_bytes), (1, 700));
    // It was mended.
    cleaner.end(place(1, 0), None);
    assert_eq!(cleaner.counted(at(200)).uncleanable, 0);
}

#[test]
fn a_removed_topic_ends_its_rounds_and_is_forgotten_and_a_stop_ends_all() {
    let cleaner = Cleaner::new();
    let one = cleaner.begin(place(1, 0), 9).unwrap();
    let other = cleaner.begin(place(2, 0), 9).unwrap();
    let left = Some(Left {
        since: at(0),
        uncleanable_bytes: Some(1),
    });
    cleaner.end(place(1, 1), left);
    cleaner.cancel(Some(TopicId::from_bytes([1; 16])));
    assert!(one.cancelled.is_cancelled() && !other.cancelled.is_cancelled());
    assert_eq!(cleaner.counted(at(0)).uncleanable, 0);
    cleaner.cancel(None);
    assert!(other.cancelled.is_cancelled());
    assert!(cleaner.begin(place(3, 0), 9).is_none(), "for good");
}

#[test]
fn a_limit_spreads_the_bytes_of_all_rounds_over_time() {
    let cleaner = Cleaner::new();
    assert_eq!(cleaner.pause(at(5), 100.0), Duration::ZERO);
    cleaner.moved(150);
    assert_eq!(cleaner.pause(at(5), 100.0), Duration::from_millis(1500));
    assert_eq!(cleaner.pause(at(6), 100.0), Duration::from_millis(500));
    assert_eq!(
        cleaner.pause(at(6), 50.0),
        Duration::from_secs(1),
        "it changed"
    );
    assert_eq!(cleaner.pause(at(7), 50.0), Duration::ZERO);
    cleaner.moved(1 << 50);
    assert_eq!(cleaner.pause(at(7), f64::MAX), Duration::ZERO);
    assert_eq!(cleaner.counted(at(7)).moved, (1 << 50) + 150);
}
