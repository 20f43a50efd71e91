//! What each lie is caught by.

use super::Bug;

/// Each bug, and the rules of which one must catch it; which of several does depends on what comes
/// first in the seed.
pub const TABLE: [(Bug, &[&str]); 26] = [
    (Bug::SyncsLie, &["lost", "other value"]),
    (Bug::SyncErrorsAreHidden, &["after sync error"]),
    (Bug::ReadsAlter, &["altered"]),
    (Bug::KillTakesThePageCache, &["lost", "other value"]),
    (Bug::AcknowledgesBeforeTheSync, &["lost", "other value"]),
    (Bug::RetainsTooShortly, &["start too far"]),
    (Bug::RetainsTooLittle, &["start too far"]),
    (Bug::RetainsUnasked, &["start too far"]),
    (Bug::AnswersWhatItDropped, &["lost", "other value"]),
    (Bug::ForgetsProducers, &["doubled"]),
    (Bug::AltersRecords, &["altered"]),
    (Bug::ReversesBatches, &["reordered"]),
    (Bug::AnswersTheNextOffset, &["other value"]),
    (Bug::ShowsTheNextOffset, &["other value"]),
    (Bug::MixesPartitions, &["altered"]),
    (Bug::KeepsTheOldTopic, &["old topic"]),
    (Bug::ForgetsTheLogStart, &["start moved back"]),
    (Bug::ForgetsTheEnd, &["end moved back"]),
    (Bug::SkipsABatch, &["skipped"]),
    (Bug::ShowsNothing, &["starved"]),
    (Bug::RefusesWhatIsThere, &["refused"]),
    (Bug::AnswersALaterTime, &["time"]),
    (Bug::EndsAnEpochEarly, &["epoch"]),
    (Bug::ChangesTheEpoch, &["other bytes"]),
    (Bug::AnswersNoOffset, &["no offset"]),
    (Bug::LosesATopic, &["topic"]),
];
