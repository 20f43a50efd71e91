//! Which offset has a time: answers of `ListOffsets` held against the records that are known.
//!
//! The rule (A13): the answer to a time is the first record that is that late, and the answer to
//! the greatest time the first record that has it; neither is a record that isn't there, nor none
//! when there is one. Records leave at the front while an answer is on its way, and come at the end:
//! what is held against it lies between the log start seen after it and the end known before it.

use crate::anomaly::Anomaly;
use crate::ledger::Place;
use crate::oracle::Found;
use crate::seen::Floors;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The first record of this time or later, in milliseconds since the Unix epoch.
    Since(i64),
    /// The first record with the greatest time.
    Greatest,
}

impl Wanted {
    /// The number on the wire.
    pub fn wire(self) -> i64 {
        match self {
            Self::Since(ms) => ms.max(0),
            Self::Greatest => -3,
        }
    }
}

/// An offset and the time of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// The offset.
    pub offset: i64,
    /// The record's timestamp, in milliseconds since the Unix epoch.
    pub ms: i64,
}

impl Timed {
    /// A record as read back; `None` when it is not what was made.
    pub fn of(found: &Found) -> Option<Self> {
        let ms = found.value?.made_ms;
        Some(Self {
            offset: found.offset,
            ms,
        })
    }
}

/// A question for a time, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeAnswer {
    /// Of which partition.
    pub place: Place,
    /// What was asked.
    pub wanted: Wanted,
    /// What was answered.
    pub answer: Option<Timed>,
    /// What was known before.
    pub floors: Floors,
    /// The log start that was seen after.
    pub start: i64,
    /// The life of the broker that answered.
    pub life: usize,
}

/// Holds an answer against records that were there when it was given, by offset.
pub fn judge(asked: &TimeAnswer, known: impl Iterator<Item = Timed>) -> Result<(), Anomaly> {
    let TimeAnswer { wanted, answer, .. } = *asked;
    let wrong = |why: String| Err(Anomaly::Time { asked: *asked, why });
    if let (Wanted::Since(ms), Some(found)) = (wanted, answer)
        && found.ms < ms
    {
        return wrong("it is too early".to_owned());
    }
    if let Some(found) = answer
        && found.offset < asked.floors.start
    {
        return wrong("it lies before the log start".to_owned());
    }
    for Timed { offset, ms } in known {
        if let Some(found) = answer
            && found.offset == offset
            && found.ms != ms
        {
            return wrong(format!("the record there has time {ms}"));
        }
        let missed = match (wanted, answer) {
            (Wanted::Since(since), None) => ms >= since,
            (Wanted::Since(since), Some(found)) => ms >= since && offset < found.offset,
            (Wanted::Greatest, None) => true,
            (Wanted::Greatest, Some(found)) => {
                ms > found.ms || (ms == found.ms && offset < found.offset)
            }
        };
        if missed {
            return wrong(format!("offset {offset} has time {ms}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times 5, 3, 9, 9 at offsets 10 to 13.
    fn known() -> impl Iterator<Item = Timed> {
        let ms = [5, 3, 9, 9].into_iter();
        (10..).zip(ms).map(|(offset, ms)| Timed { offset, ms })
    }

    fn is_right(wanted: Wanted, answer: Option<(i64, i64)>) -> bool {
        let asked = TimeAnswer {
            place: (0, 0),
            wanted,
            answer: answer.map(|(offset, ms)| Timed { offset, ms }),
            floors: Floors { start: 6, end: 14 },
            start: 10,
            life: 0,
        };
        judge(&asked, known()).is_ok()
    }

    #[test]
    fn the_first_record_that_is_late_enough_is_the_answer() {
        assert!(is_right(Wanted::Since(4), Some((10, 5))));
        assert!(is_right(Wanted::Since(6), Some((12, 9))));
        assert!(is_right(Wanted::Since(10), None));
        assert!(is_right(Wanted::Since(10), Some((20, 11))), "came later");
        assert!(is_right(Wanted::Since(4), Some((7, 4))), "retired since");
        assert!(!is_right(Wanted::Since(4), Some((5, 4))), "retired before");
        assert!(!is_right(Wanted::Since(6), Some((13, 9))), "not the first");
        assert!(!is_right(Wanted::Since(6), Some((11, 3))), "too early");
        assert!(!is_right(Wanted::Since(4), None), "there is one");
        assert!(!is_right(Wanted::Since(6), Some((12, 8))), "another time");
    }

    #[test]
    fn the_first_record_with_the_greatest_time_is_the_answer() {
        assert!(is_right(Wanted::Greatest, Some((12, 9))));
        assert!(is_right(Wanted::Greatest, Some((20, 11))), "came later");
        assert!(!is_right(Wanted::Greatest, Some((13, 9))), "not the first");
        assert!(!is_right(Wanted::Greatest, Some((10, 5))), "not greatest");
        assert!(!is_right(Wanted::Greatest, None), "there is one");
    }
}
