//! A consumer that reads several partitions over one light connection, in a fetch session or without:
//! what it asks for, and what came.
//!
//! What always holds: each partition's batches follow one another without a hole; what is told of a
//! batch is what its header says, and its checksum is right where that is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{Call, Client, Topic};
use millrace_protocol::messages::FetchRequest;
use millrace_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millrace_protocol::records::{BatchHeader, RecordError, verify_crc};
use millrace_protocol::responses::{self, FetchResponse};

use crate::text;
use crate::wire::{Receiver, Sender, connect};

/// Neither a session nor the wish for one (KIP-227).
const NO_SESSION: i32 = -1;

/// How a consumer asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// How long the broker may wait for something to answer with.
    pub(crate) max_wait: Duration,
    /// Each partition, in bytes.
    pub(crate) partition_bytes_max: i32,
    /// All together, in bytes.
    pub(crate) bytes_max: i32,
    /// In a session, in which only partitions whose offsets changed are named again.
    pub(crate) in_session: bool,
    /// Whether every batch's checksum is looked at.
    pub(crate) verified: bool,
}

/// One batch that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    pub(crate) partition: i32,
    pub(crate) base_offset: i64,
    pub(crate) records: u64,
    pub(crate) crc: u32,
}

/// A consumer of all partitions of a topic.
pub(crate) struct Fetching {
    client: Client,
    topic: Topic,
    asking: Asking,
    sender: Sender,
    receiver: Receiver,
    call: Call,
    /// Where each partition goes on.
    next: BTreeMap<i32, i64>,
    /// Partitions that must be named in the next request of a session.
    changed: BTreeMap<i32, i64>,
    session: (i32, i32),
}

impl Fetching {
    /// A consumer that begins at these offsets.
    pub(crate) fn new(
        client: &Client,
        topic: &Topic,
        asking: Asking,
        from: BTreeMap<i32, i64>,
    ) -> Result<Self, String> {
        let address = client.connection().address();
        let (sender, receiver) = connect(address.parse().map_err(text)?)?;
        Ok(Self {
            call: client.call_of::<FetchRequest>().map_err(text)?,
            client: client.clone(),
            topic: topic.clone(),
            asking,
            sender,
            receiver,
            changed: from.clone(),
            next: from,
            session: (0, if asking.in_session { 0 } else { NO_SESSION }),
        })
    }

    /// Where each partition goes on.
    pub(crate) fn next(&self) -> &BTreeMap<i32, i64> {
        &self.next
    }

    /// Asks once; `came` hears of each whole batch. Gives the bytes of these.
    pub(crate) fn fetch(
        &mut self,
        came: &mut dyn FnMut(Came) -> Result<(), String>,
    ) -> Result<u64, String> {
        let request = self.request();
        let (call, body) = self.client.encode(&request).map_err(text)?;
        self.sender.send(call, &body)?;
        let body = self.receiver.receive(self.call)?;
        let answer: FetchResponse<'_> = responses::read(call.api_version, body).map_err(text)?;
        if answer.error_code != 0 {
            return Err(format!("a fetch was refused: error {}", answer.error_code));
        }
        if self.asking.in_session && answer.session_id != 0 {
            self.session = (answer.session_id, self.session.1.saturating_add(1).max(1));
            self.changed.clear();
        }
        let mut bytes = 0;
        for part in answer
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let partition = part.partition_index;
            if part.error_code != 0 {
                return Err(format!("partition {partition}: error {}", part.error_code));
            }
            let next = self
                .next
                .get_mut(&partition)
                .ok_or_else(|| format!("partition {partition} was not asked for"))?;
            let whole = walk(
                part.records.unwrap_or_default(),
                self.asking.verified,
                |batch| {
                    let base_offset = batch.base_offset;
                    // A fetch begins with the batch that holds the offset.
                    if base_offset > *next || batch.last_offset() < *next {
                        return Err(format!(
                            "partition {partition}: offset {base_offset} came in place of {next}"
                        ));
                    }
                    *next = batch.last_offset() + 1;
                    came(Came {
                        partition,
                        base_offset,
                        records: u64::try_from(batch.record_count).map_err(text)?,
                        crc: batch.crc,
                    })
                },
            )?;
            if whole > 0 {
                self.changed.insert(partition, *next);
            }
            bytes += whole;
        }
        Ok(bytes)
    }

    fn request(&self) -> FetchRequest {
        let full = self.session.0 == 0;
        let asked = if full { &self.next } else { &self.changed };
        let partition = |(partition, offset): (&i32, &i64)| {
            let mut asked = FetchPartition::default();
            asked.partition = *partition;
            asked.current_leader_epoch = -1;
            asked.fetch_offset = *offset;
            asked.partition_max_bytes = self.asking.partition_bytes_max;
            asked
        };
        let mut topic = FetchTopic::default();
        topic.topic = self.topic.name.as_str().into();
        topic.topic_id = self.topic.id.into();
        topic.partitions = asked.iter().map(partition).collect();
        let mut request = FetchRequest::default();
        request.max_wait_ms = i32::try_from(self.asking.max_wait.as_millis()).unwrap_or(i32::MAX);
        request.min_bytes = 1;
        request.max_bytes = self.asking.bytes_max;
        (request.session_id, request.session_epoch) = self.session;
        if !topic.partitions.is_empty() {
            request.topics = vec![topic];
        }
        request
    }
}

/// Visits each whole batch; gives how many bytes they are. A cut one at the end is none.
fn walk(
    records: &[u8],
    verified: bool,
    mut visit: impl FnMut(&BatchHeader) -> Result<(), String>,
) -> Result<u64, String> {
    let mut rest = records;
    loop {
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(RecordError::Truncated { .. }) => break,
            Err(error) => return Err(error.to_string()),
        };
        let Some((batch, behind)) = rest.split_at_checked(header.size()) else {
            break;
        };
        if verified && !verify_crc(batch) {
            return Err(format!("the batch at {} is altered", header.base_offset));
        }
        visit(&header)?;
        rest = behind;
    }
    Ok((records.len() - rest.len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_protocol::records::{BatchBuilder, Options};

    fn batch(base_offset: i64) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Options::default());
        builder.push(0, None, Some(b"value"), &[]).unwrap();
        let mut batch = builder.build().to_vec();
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        batch
    }

    #[test]
    fn whole_batches_are_visited_and_a_cut_one_is_left() {
        let (one, two) = (batch(5), batch(6));
        let mut seen = Vec::new();
        let cut = [&one[..], &two[..two.len() - 1]].concat();
        let whole = walk(&cut, true, |header| {
            seen.push(header.base_offset);
            Ok(())
        });
        assert_eq!((whole, seen), (Ok(one.len() as u64), vec![5]));
    }

    #[test]
    fn an_altered_batch_is_found_where_checksums_are_looked_at() {
        let mut one = batch(5);
        *one.last_mut().unwrap() ^= 1;
        assert!(walk(&one, true, |_| Ok(())).is_err());
        assert_eq!(walk(&one, false, |_| Ok(())), Ok(one.len() as u64));
    }
}
