//! Bugs planted around a sound broker, to show that the oracle finds what it was not written for:
//! a disk that lies to it, a wire that lies to its clients, a configuration other than the one
//! that the oracle believes. Nothing in the product knows of them.

mod answers;
mod batch;
mod disk;
mod table;
mod wire;

use std::sync::Arc;

use millrace_host::Host;

use crate::shape::Row;

pub use table::TABLE;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Every other sync of the journal does nothing and says it did.
    SyncsLie,
    /// A sync that failed says it did not.
    SyncErrorsAreHidden,
    /// Some records of a segment are read back altered, with a checksum that fits.
    ReadsAlter,
    /// A kill takes the page cache with it.
    KillTakesThePageCache,
    /// A durable topic is only in the page cache.
    AcknowledgesBeforeTheSync,
    /// Retention by time is shorter than was asked for.
    RetainsTooShortly,
    /// Retention by size is smaller than was asked for.
    RetainsTooLittle,
    /// Retention where none was asked for.
    RetainsUnasked,
    /// Some batches are dropped and answered with success.
    AnswersWhatItDropped,
    /// Producers are not told apart, so a retry is stored again.
    ForgetsProducers,
    /// Some batches are stored altered, with a checksum that fits.
    AltersRecords,
    /// Some batches are stored in reverse.
    ReversesBatches,
    /// Some acknowledgements name the next offset.
    AnswersTheNextOffset,
    /// Some batches are shown one offset further.
    ShowsTheNextOffset,
    /// Some fetches show one partition's records as another's.
    MixesPartitions,
    /// A batch of the topic that was removed is stored in the one made after it.
    KeepsTheOldTopic,
    /// Some answers say that the log begins at 0 again.
    ForgetsTheLogStart,
    /// Some answers say that a partition ends at 0.
    ForgetsTheEnd,
    /// Some answers leave their first batch out.
    SkipsABatch,
    /// Some fetches bring nothing of what is there.
    ShowsNothing,
    /// Some fetches are refused although the offset is there.
    RefusesWhatIsThere,
    /// Some offsets by time are one too far.
    AnswersALaterTime,
    /// Some leader epochs end where they began.
    EndsAnEpochEarly,
    /// Some batches are shown with another leader epoch.
    ChangesTheEpoch,
    /// Some acknowledgements name no offset.
    AnswersNoOffset,
    /// Some topics beside are not there when they are looked for.
    LosesATopic,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::SyncsLie,
        Self::SyncErrorsAreHidden,
        Self::ReadsAlter,
        Self::KillTakesThePageCache,
        Self::AcknowledgesBeforeTheSync,
        Self::RetainsTooShortly,
        Self::RetainsTooLittle,
        Self::RetainsUnasked,
        Self::AnswersWhatItDropped,
        Self::ForgetsProducers,
        Self::AltersRecords,
        Self::ReversesBatches,
        Self::AnswersTheNextOffset,
        Self::ShowsTheNextOffset,
        Self::MixesPartitions,
        Self::KeepsTheOldTopic,
        Self::ForgetsTheLogStart,
        Self::ForgetsTheEnd,
        Self::SkipsABatch,
        Self::ShowsNothing,
        Self::RefusesWhatIsThere,
        Self::AnswersALaterTime,
        Self::EndsAnEpochEarly,
        Self::ChangesTheEpoch,
        Self::AnswersNoOffset,
        Self::LosesATopic,
    ];

    /// The rules of which one must catch it.
    pub fn rules(self) -> &'static [&'static str] {
        let own = TABLE.iter().find(|(bug, _)| *bug == self);
        own.map_or(&[], |(_, rules)| rules)
    }

    /// The promises that it breaks.
    pub fn row(self) -> Row {
        let rows = [
            (Self::SyncErrorsAreHidden, Row::SyncError),
            (Self::KillTakesThePageCache, Row::PageCache),
            (Self::RetainsTooShortly, Row::RetentionMs),
            (Self::ForgetsTheLogStart, Row::RetentionMs),
            (Self::RetainsTooLittle, Row::RetentionBytes),
            (Self::KeepsTheOldTopic, Row::Churn),
        ];
        let own = rows.into_iter().find(|(bug, _)| *bug == self);
        own.map_or(Row::AcksAll, |(_, row)| row)
    }

    /// What the broker is told in place of what the oracle believes: the topic's configuration.
    pub(crate) fn told(self) -> &'static [(&'static str, &'static str)] {
        const TOLD: [(Bug, &[(&str, &str)]); 4] = [
            (
                Bug::AcknowledgesBeforeTheSync,
                &[("durability", "page-cache")],
            ),
            (Bug::RetainsTooShortly, &[("retention.ms", "20")]),
            (Bug::RetainsTooLittle, &[("retention.bytes", "10")]),
            (
                Bug::RetainsUnasked,
                &[
                    ("retention.ms", "100"),
                    ("index.interval.bytes", "500"),
                    ("segment.index.bytes", "60"),
                ],
            ),
        ];
        let told = TOLD.iter().find(|(bug, _)| *bug == self);
        told.map_or(&[], |(_, told)| told)
    }

    /// The clients' machine with the bug in it.
    pub(crate) fn on_clients(self, host: Host) -> Host {
        let lies = [
            Self::AnswersWhatItDropped,
            Self::ForgetsProducers,
            Self::AltersRecords,
            Self::ReversesBatches,
            Self::AnswersTheNextOffset,
            Self::ShowsTheNextOffset,
            Self::MixesPartitions,
            Self::KeepsTheOldTopic,
            Self::ForgetsTheLogStart,
            Self::ForgetsTheEnd,
            Self::SkipsABatch,
            Self::ShowsNothing,
            Self::RefusesWhatIsThere,
            Self::AnswersALaterTime,
            Self::EndsAnEpochEarly,
            Self::ChangesTheEpoch,
            Self::AnswersNoOffset,
            Self::LosesATopic,
        ];
        if !lies.contains(&self) {
            return host;
        }
        let net = Arc::new(wire::LyingNet::new(Arc::clone(&host.net), self));
        Host { net, ..host }
    }

    /// The broker's machine with the bug in it.
    pub(crate) fn on_broker(self, host: Host) -> Host {
        let lies = [Self::SyncsLie, Self::SyncErrorsAreHidden, Self::ReadsAlter];
        if !lies.contains(&self) {
            return host;
        }
        let disk = Arc::new(disk::LyingDisk::new(Arc::clone(&host.disk), self));
        Host { disk, ..host }
    }
}
