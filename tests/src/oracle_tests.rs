//! Each rule of the oracle, shown to hold and shown to be broken.

use super::*;

fn value(sequence: u64) -> Value {
    Value {
        producer: 1,
        incarnation: 0,
        partition: 0,
        sequence,
        made_ms: 1000,
    }
}

fn found(offset: i64, sequence: u64) -> Found {
    Found::new(offset, &value(sequence).encode(64), 1000)
}

/// The first `count` values, claimed at their offsets in life 0.
fn claimed(count: u64, strength: Strength) -> Promises {
    let mut promises = Promises::default();
    for sequence in 0..count {
        promises.acknowledge(sequence as i64, value(sequence), strength, 0);
    }
    promises
}

fn promised(count: u64) -> Promises {
    claimed(count, Strength::Durable)
}

/// Lives that ended so.
fn lives(lossy: &[bool]) -> Lives {
    Lives {
        lossy: lossy.to_vec(),
    }
}

fn rules(anomalies: &[Anomaly]) -> Vec<&'static str> {
    anomalies.iter().map(Anomaly::rule).collect()
}

#[test]
fn a_log_that_keeps_its_promises_has_no_anomaly() {
    let log = [found(0, 0), found(1, 1), found(2, 2)];
    assert_eq!(
        promised(2)
            .check(0, 0, &log, &lives(&[true, false]))
            .anomalies,
        []
    );
}

#[test]
fn a_lost_record_is_found_unless_the_log_start_passed_it() {
    let log = [found(1, 1)];
    let lost = Anomaly::Lost {
        offset: 0,
        value: value(0),
    };
    assert_eq!(
        promised(2).check(0, 0, &log, &lives(&[true])).anomalies,
        [lost]
    );
    assert_eq!(promised(2).check(0, 1, &log, &lives(&[true])).anomalies, []);
}

#[test]
fn a_doubled_record_is_found() {
    let log = [found(0, 0), found(1, 1), found(2, 1)];
    let doubled = promised(2).check(0, 0, &log, &lives(&[])).anomalies;
    assert!(doubled.contains(&Anomaly::Doubled {
        value: value(1),
        first: 1,
        second: 2,
    }));
    // Acknowledged twice, at two offsets, and one of them is right.
    let mut promises = promised(2);
    promises.claim(5, value(1), Strength::Cached, 0);
    let doubled = promises.check(0, 0, &log[..2], &lives(&[true])).anomalies;
    assert!(rules(&doubled).contains(&"doubled"));
}

#[test]
fn reordered_records_are_found() {
    let log = [found(0, 1), found(1, 0)];
    let anomalies = Promises::default().check(0, 0, &log, &lives(&[])).anomalies;
    assert_eq!(
        anomalies,
        [Anomaly::Reordered {
            before: value(1),
            after: value(0)
        }]
    );
}

#[test]
fn an_altered_or_misplaced_record_is_found() {
    let altered = |partition| Anomaly::Altered {
        partition,
        offset: 0,
    };
    let mut bytes = value(0).encode(64);
    bytes[9] ^= 1;
    let rotten = Found::new(0, &bytes, 1000);
    assert_eq!(Found::new(0, &value(0).encode(64), 1001).value, None);
    let anomalies = Promises::default()
        .check(0, 0, &[rotten], &lives(&[]))
        .anomalies;
    assert_eq!(anomalies, [altered(0)]);
    let anomalies = Promises::default()
        .check(1, 0, &[found(0, 0)], &lives(&[]))
        .anomalies;
    assert_eq!(anomalies, [altered(1)]);
}

#[test]
fn a_record_of_the_topic_that_was_removed_is_found() {
    let anomalies = Promises::new(1)
        .check(0, 0, &[found(0, 0)], &lives(&[]))
        .anomalies;
    assert_eq!(rules(&anomalies), ["old topic"]);
}

#[test]
fn another_value_at_a_durable_offset_is_found() {
    let log = [found(0, 5)];
    let anomalies = promised(1).check(0, 0, &log, &lives(&[true])).anomalies;
    assert_eq!(rules(&anomalies), ["other value"]);
    let mut twice = claimed(1, Strength::Cached);
    twice.claim(0, value(7), Strength::Cached, 0);
    let anomalies = twice.check(0, 0, &[found(0, 7)], &lives(&[true])).anomalies;
    assert_eq!(rules(&anomalies), ["other value"], "in one life");
}

#[test]
fn a_lossy_end_takes_a_suffix_of_what_was_cached() {
    let promises = claimed(4, Strength::Cached);
    let kept = [found(0, 0), found(1, 1)];
    assert_eq!(promises.check(0, 0, &kept, &lives(&[true])).anomalies, []);
    assert_eq!(
        rules(&promises.check(0, 0, &kept, &lives(&[false])).anomalies),
        ["lost", "lost"],
        "a kill takes nothing"
    );
    let holed = [found(0, 0), found(2, 2), found(3, 3)];
    let hole = Anomaly::Hole {
        offset: 1,
        survivor: 3,
        value: value(3),
    };
    assert_eq!(
        promises.check(0, 0, &holed, &lives(&[true])).anomalies,
        [hole]
    );
}

#[test]
fn an_offset_is_used_again_only_after_a_lossy_end() {
    let mut promises = claimed(2, Strength::Cached);
    promises.claim(1, value(8), Strength::Cached, 1);
    let log = [found(0, 0), found(1, 8)];
    assert_eq!(promises.check(0, 0, &log, &lives(&[true])).anomalies, []);
    assert_eq!(
        rules(&promises.check(0, 0, &log, &lives(&[false])).anomalies),
        ["other value"]
    );
    // The end of life 0 took offset 1, so it can't have left offset 2.
    promises.acknowledge(2, value(9), Strength::Cached, 0);
    let log = [found(0, 0), found(1, 8), found(2, 9)];
    assert_eq!(
        rules(&promises.check(0, 0, &log, &lives(&[true])).anomalies),
        ["hole"]
    );
}

#[test]
fn what_is_sent_again_may_come_to_stand_where_it_stood() {
    // Shown at offset 1 in life 0, taken with the rest, and sent again: nobody had been answered.
    let mut promises = claimed(1, Strength::Cached);
    promises.claim(1, value(9), Strength::Cached, 0);
    let log = [found(0, 8), found(1, 9)];
    let ends = lives(&[true]);
    assert_eq!(promises.check(0, 0, &log, &ends).anomalies, []);
    promises.acknowledge(1, value(9), Strength::Cached, 0);
    assert_eq!(
        rules(&promises.check(0, 0, &log, &ends).anomalies),
        ["hole"]
    );
}

#[test]
fn a_suffix_may_go_with_any_of_several_ends() {
    // Both outlived the first end, though only the second was seen then.
    let mut promises = claimed(2, Strength::Cached);
    promises.claim(1, value(1), Strength::Cached, 1);
    let ends = lives(&[true, true]);
    assert_eq!(promises.check(0, 0, &[], &ends).anomalies, []);
    assert_eq!(
        rules(&promises.check(0, 0, &[found(1, 1)], &ends).anomalies),
        ["hole"]
    );
}

#[test]
fn what_was_seen_after_a_lossy_end_is_not_lost_by_it() {
    let mut promises = claimed(2, Strength::Cached);
    promises.claim(1, value(1), Strength::Cached, 1);
    let log = [found(0, 0)];
    assert_eq!(
        rules(&promises.check(0, 0, &log, &lives(&[true, false])).anomalies),
        ["lost"]
    );
    assert_eq!(
        promises.check(0, 0, &log, &lives(&[true, true])).anomalies,
        []
    );
}

#[test]
fn a_value_may_come_again_when_a_lossy_end_took_it() {
    let mut promises = claimed(2, Strength::Cached);
    promises.claim(3, value(1), Strength::Cached, 1);
    let log = [found(0, 0), found(3, 1)];
    assert_eq!(promises.check(0, 0, &log, &lives(&[true])).anomalies, []);
}

#[test]
fn a_durable_record_below_a_lost_one_is_no_excuse() {
    let mut promises = claimed(3, Strength::Cached);
    promises.claim(1, value(1), Strength::Durable, 0);
    let log = [found(1, 1)];
    let anomalies = promises.check(0, 0, &log, &lives(&[true])).anomalies;
    assert_eq!(rules(&anomalies), ["hole"]);
}

#[test]
fn an_offset_without_a_record_is_found() {
    let log = [found(3, 0), found(4, 1), found(6, 2)];
    let skipped = |expected, found| Anomaly::Skipped {
        partition: 0,
        expected,
        found,
    };
    assert_eq!(gaps(0, 3, &log), [skipped(5, 6)]);
    assert_eq!(gaps(0, 2, &log[..2]), [skipped(2, 3)]);
    assert_eq!(gaps(0, 4, &log[..2]), [], "the log start moved since");
    assert_eq!(gaps(0, 9, &[]), []);
}

#[test]
fn what_was_sent_again_without_an_identity_may_be_there_twice_and_out_of_order() {
    let log = [found(0, 1), found(1, 0), found(2, 1)];
    let mut promises = Promises::default();
    promises.acknowledge(2, value(1), Strength::Durable, 0);
    let once = promises.check(0, 0, &log, &lives(&[])).anomalies;
    assert_eq!(rules(&once), ["reordered", "doubled"]);
    promises.may_repeat(1);
    assert_eq!(promises.check(0, 0, &log, &lives(&[])).anomalies, []);
    assert_eq!(
        rules(&promises.check(0, 0, &log[..2], &lives(&[true])).anomalies),
        ["lost"],
        "not where it was acknowledged"
    );
}

#[test]
fn known_times_are_those_that_certainly_are_there() {
    let mut promises = claimed(2, Strength::Cached);
    promises.claim(1, value(1), Strength::Durable, 0);
    let times = |life, lossy: &[bool]| -> Vec<i64> {
        let lives = lives(lossy);
        let there = promises.there(0, (0, 5), (life, &lives));
        there.map(|timed| timed.offset).collect()
    };
    assert_eq!(times(0, &[]), [0, 1]);
    assert_eq!(times(1, &[false]), [0, 1]);
    assert_eq!(times(1, &[true]), [1], "the first may be gone");
}
