//! What must not be: one variant for each rule that a run may break, with the row of the catalogue
//! of anomalies that it is (A: the log's safety, T: producers, L: liveness, R: resources).

use crate::seen::Shown;
use crate::times::{TimeAnswer, Timed};
use crate::value::Value;

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// A1: claimed, and not in the log, though nothing allowed to lose it happened.
    Lost {
        /// Where it was claimed.
        offset: i64,
        /// What was claimed.
        value: Value,
    },
    /// A1: a lossy end took `offset` and left a later one that was there before it.
    Hole {
        /// What is gone.
        offset: i64,
        /// What lay behind it and is still there.
        survivor: i64,
        /// The value there.
        value: Value,
    },
    /// A3: one value at two offsets.
    Doubled {
        /// The value.
        value: Value,
        /// Where it stands first.
        first: i64,
        /// Where it stands again.
        second: i64,
    },
    /// A4, A11: claimed at an offset that holds another value.
    OtherValue {
        /// The offset.
        offset: i64,
        /// What was claimed there.
        claimed: Value,
        /// What was seen there too, and nothing between the two made room for it.
        found: Value,
    },
    /// A11: acknowledged at an offset that can't be.
    NoOffset {
        /// What was acknowledged.
        value: Value,
        /// Where.
        offset: i64,
    },
    /// A9: a later value of one producer before an earlier one.
    Reordered {
        /// What stands first.
        before: Value,
        /// What stands after it.
        after: Value,
    },
    /// A12: bytes that nobody made, or made for another partition.
    Altered {
        /// Where they were found.
        partition: i32,
        /// At which offset.
        offset: i64,
    },
    /// A15: a value of another incarnation of the topic.
    OldTopic {
        /// At which offset.
        offset: i64,
        /// The value.
        value: Value,
        /// The incarnation in which it turned up.
        incarnation: u32,
    },
    /// A14: a log start that was seen moved back.
    StartMovedBack {
        /// The partition.
        partition: i32,
        /// Where it was seen.
        seen: i64,
        /// Where it is.
        found: i64,
    },
    /// A14: a log start over records that retention keeps.
    StartTooFar {
        /// The partition.
        partition: i32,
        /// The log start.
        start: i64,
        /// Why it may not be there.
        why: String,
    },
    /// R15: acknowledged by a directory of which a sync had failed, or that was gone.
    AfterSyncError {
        /// What was acknowledged.
        value: Value,
    },
    /// T10: an idempotent producer's sequences are not known, though nothing allowed to lose them.
    Forgotten {
        /// What was refused as out of order.
        value: Value,
    },
    /// A16: a topic, or the cluster, is not what the last answer about it said.
    Topic(String),
    /// A6: an end that was seen shrank.
    EndMovedBack {
        /// The partition.
        partition: i32,
        /// Where it was seen.
        seen: i64,
        /// Where it is.
        found: i64,
    },
    /// A7: a batch was shown that lies behind the end that came with it.
    AboveEnd {
        /// The partition.
        partition: i32,
        /// Its last offset.
        offset: i64,
        /// The end.
        end: i64,
    },
    /// A14: a batch from before the log start was shown.
    Returned {
        /// The partition.
        partition: i32,
        /// Its last offset.
        offset: i64,
        /// The log start that was seen before it was asked for.
        start: i64,
    },
    /// A5: a batch does not have the bytes that it had.
    OtherBytes {
        /// The partition.
        partition: i32,
        /// Its first offset.
        base_offset: i64,
        /// What it was.
        seen: Shown,
        /// What it is.
        found: Shown,
    },
    /// A5: leader epochs that fall, or an answer about them that does not fit the batches.
    Epoch {
        /// The partition.
        partition: i32,
        /// The offset of a batch that it does not fit.
        offset: i64,
        /// Why.
        why: String,
    },
    /// A10: a poll, or the log as a whole, goes on behind records that are there.
    Skipped {
        /// The partition.
        partition: i32,
        /// Where it should have gone on.
        expected: i64,
        /// Where it did.
        found: i64,
    },
    /// A10: a poll goes on before the offset that was asked for.
    WentBack {
        /// The partition.
        partition: i32,
        /// What was asked for.
        asked: i64,
        /// The last offset of the batch that came.
        found: i64,
    },
    /// A2: a poll that brings nothing though something was there before it was asked.
    Starved {
        /// The partition.
        partition: i32,
        /// What was asked for.
        asked: i64,
        /// The end that was known before.
        end: i64,
    },
    /// A7: an offset that is there was refused as out of range.
    Refused {
        /// The partition.
        partition: i32,
        /// What was asked for.
        offset: i64,
        /// What was known to be there before, and is after.
        there: (i64, i64),
    },
    /// A13: an offset that is not that of the time asked for.
    Time {
        /// What was asked and answered.
        asked: TimeAnswer,
        /// Why not.
        why: String,
    },
    /// A13: an answer named a record of another time.
    OtherTime {
        /// The partition.
        partition: i32,
        /// What was answered.
        answer: Timed,
        /// What is there.
        found: Timed,
    },
    /// L2, L3: somebody makes no progress although nothing is wrong any more.
    Stalled(String),
    /// G1–G7: an answer about a consumer group that can't be.
    Group {
        /// The rule, by the names in [`crate::groups::book`].
        rule: &'static str,
        /// What was answered, and why not.
        why: String,
    },
    /// C1–C8: a compacted topic does not hold what it has to.
    Table {
        /// The rule.
        rule: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// L7: more memory, or more of a queue, than its limit.
    OverLimit(String),
}

impl Anomaly {
    /// The rule's name, for tables.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Hole { .. } => "hole",
            Self::Doubled { .. } => "doubled",
            Self::OtherValue { .. } => "other value",
            Self::NoOffset { .. } => "no offset",
            Self::Reordered { .. } => "reordered",
            Self::Altered { .. } => "altered",
            Self::OldTopic { .. } => "old topic",
            Self::StartMovedBack { .. } => "start moved back",
            Self::StartTooFar { .. } => "start too far",
            Self::AfterSyncError { .. } => "after sync error",
            Self::Forgotten { .. } => "forgotten",
            Self::Topic(_) => "topic",
            Self::EndMovedBack { .. } => "end moved back",
            Self::AboveEnd { .. } => "above end",
            Self::Returned { .. } => "returned",
            Self::OtherBytes { .. } => "other bytes",
            Self::Epoch { .. } => "epoch",
            Self::Skipped { .. } => "skipped",
            Self::WentBack { .. } => "went back",
            Self::Starved { .. } => "starved",
            Self::Refused { .. } => "refused",
            Self::Time { .. } | Self::OtherTime { .. } => "time",
            Self::Group { rule, .. } | Self::Table { rule, .. } => rule,
            Self::Stalled(_) => "stalled",
            Self::OverLimit(_) => "over limit",
        }
    }
}
