//! The bytes of a partition that is not open.

use super::{Partitions, partition_path};
use crate::error::Error;
use crate::ledger::LedgerEntry;
use crate::mark::Incarnation;
use crate::segment::names;

impl Partitions {
    /// Bytes of the segments of a partition that nobody has opened: by its close mark where there is
    /// one, else by one look at the names in its directory. One that was never written has none;
    /// `None` of one that can't be opened. What a kill left behind a close mark, before any of it was
    /// durable, counts once somebody opens the partition.
    pub async fn closed_size_bytes(&self, incarnation: Incarnation) -> Result<Option<u64>, Error> {
        let Some(entry) = self.dir.entry(&incarnation) else {
            return Ok(Some(0));
        };
        if entry.damaged || entry.deleting {
            return Ok(None);
        }
        if let Some(bytes) = marked(&entry) {
            return Ok(Some(bytes));
        }
        let path = partition_path(self.dir.path(), &entry.topic, incarnation.partition)?;
        let listed = self.host.disk.list(&path).await;
        let listed = listed.map_err(Error::io("list", &path))?;
        let logs = listed.iter().filter(|file| {
            names::parse(&file.name).is_some_and(|(_, suffix)| suffix == names::LOG)
        });
        Ok(Some(logs.map(|file| file.len).sum()))
    }
}

/// What the marks say of a closed partition.
fn marked(entry: &LedgerEntry) -> Option<u64> {
    let (close, (_, sealed)) = entry.close.zip(entry.segments.split_last())?;
    let mut bytes = close.bytes;
    for segment in sealed {
        bytes += segment.sealed?.bytes;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, INCARNATION};
    use crate::partition::LogSettings;
    use crate::partition::log_tests::{append, settle};
    use crate::testing::BatchSpec;

    #[tokio::test]
    async fn a_closed_log_is_measured_unopened_and_closed_again_by_nothing() {
        let mut fixture = Fixture::new().await;
        let mut log = fixture.open(LogSettings::default()).await.log;
        append(&mut log, BatchSpec::default());
        let bytes = log.size_bytes();
        assert!(bytes > 0 && !log.is_closed());
        log.close().await.unwrap();
        drop(log);
        for _ in 0..2 {
            fixture = fixture.restart().await;
            let size = fixture.partitions.closed_size_bytes(INCARNATION).await;
            assert_eq!(size.unwrap(), Some(bytes));
            let mut log = fixture.open(LogSettings::default()).await.log;
            assert!(log.is_closed());
            log.close().await.unwrap();
        }
        let fixture = fixture.restart().await;
        let mut log = fixture.open(LogSettings::default()).await.log;
        append(&mut log, BatchSpec::default());
        assert!(!log.is_closed());
        let bytes = log.size_bytes();
        settle(&log).await;
        drop(log);
        // Killed: by the names.
        let fixture = fixture.restart().await;
        let size = fixture.partitions.closed_size_bytes(INCARNATION).await;
        assert_eq!(size.unwrap(), Some(bytes));
    }
}
