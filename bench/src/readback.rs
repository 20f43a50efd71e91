//! The check after each run, outside the clock: every batch is there as often as it was sent, with
//! its right checksum, and nothing else is.
//!
//! What `acks=0` and `acks=1` sent is shown to consumers only once it is durable, so the check waits
//! until everything is visible, at most [`VISIBLE_TIMEOUT`].

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{Client, PartitionReader, Topic};
use millrace_host::Host;

use crate::text;

/// How long what was sent may stay invisible.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Holds what the partitions hold from `from` on against what was sent: per partition, how often
/// each batch by its checksum. Gives the number of records read.
pub(crate) async fn check(
    host: &Host,
    client: &Client,
    topic: &Topic,
    from: &BTreeMap<i32, i64>,
    mut expected: BTreeMap<i32, BTreeMap<u32, u64>>,
) -> Result<u64, String> {
    let mut records = 0;
    let deadline = host.clock.now().mono + VISIBLE_TIMEOUT;
    for (partition, offset) in from {
        let expected = expected.remove(partition).unwrap_or_default();
        let mut reader = PartitionReader::new(client, topic, *partition)
            .await
            .map_err(text)?
            .skip_to(*offset);
        let mut left = expected;
        let mut next = *offset;
        loop {
            let batches = reader.next().await.map_err(text)?;
            if batches.is_empty() {
                let all_there = left.values().all(|times| *times == 0);
                if all_there || host.clock.now().mono >= deadline {
                    break;
                }
                reader = PartitionReader::new(client, topic, *partition)
                    .await
                    .map_err(text)?
                    .skip_to(next);
            }
            for batch in batches {
                if batch.header.base_offset != next {
                    let found = batch.header.base_offset;
                    return Err(format!(
                        "partition {partition}: offset {next} became {found}"
                    ));
                }
                next = batch.header.last_offset() + 1;
                records += u64::try_from(batch.header.record_count).map_err(text)?;
                take(&mut left, batch.header.crc).ok_or_else(|| {
                    let at = batch.header.base_offset;
                    format!(
                        "partition {partition}, offset {at}: a batch that was not sent, or twice"
                    )
                })?;
            }
        }
        let missing: u64 = left.values().sum();
        if missing > 0 {
            return Err(format!(
                "partition {partition}: {missing} batches are missing"
            ));
        }
    }
    if expected.is_empty() {
        Ok(records)
    } else {
        Err("a partition was not read".to_owned())
    }
}

fn take(left: &mut BTreeMap<u32, u64>, crc: u32) -> Option<()> {
    let times = left.get_mut(&crc)?;
    *times = times.checked_sub(1)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_taken_as_often_as_it_was_sent_and_no_more() {
        let mut left = BTreeMap::from([(7, 2), (9, 1)]);
        assert_eq!(take(&mut left, 7), Some(()));
        assert_eq!(take(&mut left, 7), Some(()));
        assert_eq!(take(&mut left, 7), None);
        assert_eq!(take(&mut left, 8), None);
        assert_eq!(left.values().sum::<u64>(), 1);
    }
}
