//! The decisions of one partition, step by step: leaders that change, logs that were truncated, brokers
//! that are better read from.

use std::time::Duration;

use millrace_protocol::records::{BatchBuilder, Options};

use super::*;
use crate::consumer::records::Raw;

const NOW: Mono = Mono(0);

fn later(seconds: u64) -> Mono {
    NOW + Duration::from_secs(seconds)
}

fn at(offset: i64, leader_epoch: i32) -> Position {
    Position {
        offset,
        leader_epoch,
    }
}

/// Ten records from an offset on, of an epoch.
fn records(from: i64, leader_epoch: i32) -> Outcome {
    let mut builder = BatchBuilder::new(Options {
        base_offset: from,
        leader_epoch,
        ..Options::default()
    });
    for _ in 0..10 {
        builder.push(0, None, None, &[]).unwrap();
    }
    let raw = Raw {
        topic: "t".into(),
        partition: 0,
        from,
        high_watermark: 100,
        records: builder.build(),
        aborted: None,
        check_crcs: true,
    };
    Outcome::Fetched(Records::read(raw).unwrap().unwrap())
}

fn ends(end: Option<Position>) -> Outcome {
    let of = TopicPartition::new("t", 0);
    Outcome::Ends { of, end }
}

fn refused(code: millrace_protocol::error_code::ErrorCode) -> Error {
    let what = "a test".to_owned();
    Error::Broker { what, code }
}

/// Is read from the first offset on, by broker 1 in epoch 0.
fn reading(reset: Reset) -> Reading {
    let mut reading = Reading::new(OffsetOrFind::Offset(0), 1, reset);
    reading.led_by(Some((1, 0)));
    reading
}

/// Asks a broker what is wanted and hears this.
fn step(reading: &mut Reading, broker: i32, want: Want, outcome: Outcome) {
    assert_eq!(reading.wants(later(1000)), Ok(want));
    reading.asked(broker);
    reading.answered(1, outcome, later(1));
}

/// Has read the first ten records, of epoch 0, and given them out.
fn ten_read(reset: Reset) -> Reading {
    let mut reading = reading(reset);
    step(&mut reading, 1, Want::Records(0), records(0, 0));
    reading.take().unwrap().unwrap();
    reading
}

#[test]
fn under_a_new_epoch_the_log_is_checked_before_it_is_read_on() {
    let mut reading = ten_read(Reset::Fail);
    assert_eq!(reading.wants(NOW), Ok(Want::Records(10)));
    reading.led_by(Some((2, 1)));
    step(&mut reading, 2, Want::End(0), ends(Some(at(10, 0))));
    step(&mut reading, 2, Want::Records(10), Outcome::Nothing(None));
    // Another one while it is asked: the answer was of the one before.
    reading.led_by(Some((1, 2)));
    reading.asked(1);
    reading.led_by(Some((2, 3)));
    reading.answered(1, ends(Some(at(12, 0))), NOW);
    step(&mut reading, 2, Want::End(0), ends(Some(at(12, 0))));
    // Nothing to check without epochs.
    reading.led_by(Some((3, -1)));
    assert_eq!(reading.wants(NOW), Ok(Want::Records(10)));
}

#[test]
fn what_was_fetched_under_an_epoch_needs_no_check_under_it() {
    let mut reading = ten_read(Reset::Fail);
    reading.led_by(Some((2, 4)));
    step(&mut reading, 2, Want::End(0), ends(Some(at(20, 0))));
    step(&mut reading, 2, Want::Records(10), records(10, 3));
    reading.take().unwrap().unwrap();
    assert_eq!(reading.wants(NOW), Ok(Want::Records(20)));
    reading.led_by(Some((2, 5)));
    assert_eq!(reading.wants(NOW), Ok(Want::End(3)));
}

#[test]
fn a_truncated_log_is_reset_to_where_it_parts() {
    for reset in [Reset::Earliest, Reset::Latest] {
        let mut reading = ten_read(reset);
        reading.process();
        reading.led_by(Some((2, 1)));
        step(&mut reading, 2, Want::End(0), ends(Some(at(7, 0))));
        assert_eq!(reading.position(), Some(7));
        assert_eq!(reading.uncommitted(), Some(at(7, 0)));
        assert_eq!(reading.wants(NOW), Ok(Want::Records(7)));
    }
}

#[test]
fn where_the_leader_knows_no_epoch_the_policy_decides() {
    for (reset, of) in [
        (Reset::Earliest, OffsetOf::Start),
        (Reset::Latest, OffsetOf::End),
    ] {
        let mut reading = ten_read(reset);
        reading.led_by(Some((2, 1)));
        step(&mut reading, 2, Want::End(0), ends(None));
        assert_eq!(reading.wants(NOW), Ok(Want::Offset(of)));
    }
}

#[test]
fn without_a_policy_a_truncation_is_told_once() {
    for (end, tells) in [(Some(at(7, 0)), Some(7)), (None, None)] {
        let mut reading = ten_read(Reset::Fail);
        reading.led_by(Some((2, 1)));
        step(&mut reading, 2, Want::End(0), ends(end));
        assert!(reading.has_news());
        let error = reading.take().unwrap().unwrap_err();
        let told = matches!(error, Error::Truncated { offset: 10, diverges_at, .. } if diverges_at == tells);
        assert!(told, "{error:?}");
        assert!(reading.take().is_none() && reading.wants(NOW) == Err(None));
        reading.seek(OffsetOrFind::Offset(3), 2);
        assert_eq!(
            reading.wants(NOW),
            Ok(Want::Records(3)),
            "a seek says where"
        );
    }
}

#[test]
fn a_fenced_epoch_is_asked_again_under_the_new_one() {
    use millrace_protocol::error_code::ErrorCode;
    for code in [ErrorCode::FencedLeaderEpoch, ErrorCode::UnknownLeaderEpoch] {
        let mut reading = ten_read(Reset::Fail);
        reading.led_by(Some((2, 1)));
        assert_eq!(reading.wants(NOW), Ok(Want::End(0)));
        reading.asked(2);
        reading.answered(1, Outcome::Again(refused(code)), later(1));
        assert_eq!(reading.wants(NOW), Err(Some(later(1))));
        reading.led_by(Some((2, 2)));
        assert_eq!(reading.wants(later(1)), Ok(Want::End(0)));
    }
}

#[test]
fn a_broker_that_can_not_say_is_read_on_from() {
    let mut reading = ten_read(Reset::Fail);
    reading.led_by(Some((2, 1)));
    step(&mut reading, 2, Want::End(0), Outcome::Unchecked);
    assert_eq!(reading.wants(NOW), Ok(Want::Records(10)));
}

#[test]
fn the_offset_of_a_group_is_checked_by_its_epoch() {
    let mut reading = reading(Reset::Fail);
    reading.begin_at(at(40, 0));
    assert_eq!(reading.wants(NOW), Ok(Want::End(0)));
    reading.begin_at(at(40, -1));
    assert_eq!(reading.wants(NOW), Ok(Want::Records(40)));
}

#[test]
fn a_preferred_broker_is_read_from_until_its_time_is_over() {
    let mut reading = ten_read(Reset::Fail);
    assert!(!reading.is_asked_of(5));
    step(
        &mut reading,
        1,
        Want::Records(10),
        Outcome::Prefers(5, later(300)),
    );
    assert_eq!(reading.source(later(299)), Some(5));
    assert!(reading.is_asked_of(5) && reading.is_asked_of(1));
    assert_eq!(reading.source(later(300)), Some(1));
    // Not so when another leads.
    reading.led_by(Some((2, 1)));
    assert_eq!(reading.source(NOW), Some(2));
}

#[test]
fn a_preferred_broker_is_left_when_it_fails() {
    use millrace_protocol::error_code::ErrorCode;
    let prefers = || {
        let mut reading = ten_read(Reset::Earliest);
        step(
            &mut reading,
            1,
            Want::Records(10),
            Outcome::Prefers(5, later(300)),
        );
        reading
    };
    let out_of_range = Outcome::OutOfRange(refused(ErrorCode::OffsetOutOfRange));
    let again = Outcome::Again(refused(ErrorCode::NotLeaderOrFollower));
    for outcome in [out_of_range, again] {
        let mut reading = prefers();
        step(&mut reading, 5, Want::Records(10), outcome);
        assert_eq!(reading.source(NOW), Some(1));
        assert_eq!(reading.wants(NOW), Err(Some(later(1))), "not at once");
        assert_eq!(reading.wants(later(1)), Ok(Want::Records(10)), "no reset");
        assert_eq!(reading.failures(), 1);
        // Being sent there again is no success.
        step(
            &mut reading,
            1,
            Want::Records(10),
            Outcome::Prefers(5, later(300)),
        );
        assert_eq!(reading.failures(), 1);
    }
    let mut reading = prefers();
    reading.not_reached(4);
    assert_eq!(reading.source(NOW), Some(5));
    reading.not_reached(5);
    assert_eq!(reading.source(NOW), Some(1));
    // Out of the leader's range it is reset.
    let out_of_range = Outcome::OutOfRange(refused(ErrorCode::OffsetOutOfRange));
    step(&mut reading, 1, Want::Records(10), out_of_range);
    assert_eq!(reading.wants(NOW), Ok(Want::Offset(OffsetOf::Start)));
}

#[test]
fn a_broker_that_prefers_itself_is_not_asked_in_a_hurry() {
    let mut reading = ten_read(Reset::Fail);
    step(
        &mut reading,
        1,
        Want::Records(10),
        Outcome::Prefers(1, later(300)),
    );
    assert_eq!(reading.wants(NOW), Err(Some(later(1))));
}
