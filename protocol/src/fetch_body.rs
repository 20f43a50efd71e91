//! The body of a Fetch response (versions 4 to 18), written by hand: chunks of header bytes with
//! places between them that the server fills from files.
//!
//! Always: with the records put in their places it is byte for byte what the codec would encode
//! (a property test holds it); its length is exact before a byte is written; the header bytes take
//! one allocation, whatever the number of partitions; records are empty, never null (librdkafka,
//! KAFKA-18646); a field that a version does not have is left out.

use bytes::{BufMut, Bytes, BytesMut};

use crate::ids::TopicId;

/// Versions that are written.
const FIRST_VERSION: i16 = 4;
const LAST_VERSION: i16 = 18;

/// What a Fetch response says, but for the records themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchParts<'a> {
    /// How long the client is asked to wait, milliseconds.
    pub throttle_time_ms: i32,
    /// Error of the whole request; versions from 7.
    pub error_code: i16,
    /// The fetch session, 0 for none (KIP-227); versions from 7.
    pub session_id: i32,
    /// The topics, in order.
    pub topics: Vec<FetchTopicPart<'a>>,
    /// Where the leaders named in `current_leader` listen (KIP-951); versions from 16.
    pub node_endpoints: Vec<NodeEndpointPart<'a>>,
}

/// One topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchTopicPart<'a> {
    /// Its name; versions up to 12.
    pub name: &'a str,
    /// Its id; versions from 13.
    pub id: TopicId,
    /// Its partitions, in order.
    pub partitions: Vec<FetchPartitionPart>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartitionPart {
    /// Its index.
    pub partition_index: i32,
    /// 0, or why there are no records.
    pub error_code: i16,
    /// The high watermark.
    pub high_watermark: i64,
    /// The last stable offset.
    pub last_stable_offset: i64,
    /// Where the log starts; versions from 5.
    pub log_start_offset: i64,
    /// The largest epoch that agrees, and its end, when the fetcher's log diverges (KIP-595);
    /// versions from 12.
    pub diverging_epoch: Option<EpochEnd>,
    /// The leader, told to a client that asked the wrong broker (KIP-951); versions from 12.
    pub current_leader: Option<LeaderAndEpoch>,
    /// The snapshot to fetch instead (KIP-630); versions from 12.
    pub snapshot_id: Option<EpochEnd>,
    /// Aborted transactions within the records; `None` when the reader sees uncommitted records.
    pub aborted_transactions: Option<Vec<AbortedTransactionPart>>,
    /// The replica to read from instead (KIP-392), -1 for none; versions from 11.
    pub preferred_read_replica: i32,
    /// Bytes of records that the server will put in this partition's place.
    pub records_len: u32,
}

impl Default for FetchPartitionPart {
    /// A partition without records, error or any of what is rarely said.
    fn default() -> Self {
        Self {
            partition_index: 0,
            error_code: 0,
            high_watermark: 0,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records_len: 0,
        }
    }
}

/// A leader epoch and the offset at which it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: i32,
    /// One past its last offset.
    pub end_offset: i64,
}

/// A partition's leader and its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderAndEpoch {
    /// The leader's broker id, -1 when not known.
    pub leader_id: i32,
    /// The leader's epoch.
    pub leader_epoch: i32,
}

/// A transaction whose records a reader of committed records must skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransactionPart {
    /// Its producer.
    pub producer_id: i64,
    /// Its first offset.
    pub first_offset: i64,
}

/// Where a broker listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeEndpointPart<'a> {
    /// The broker's id.
    pub node_id: i32,
    /// Its host, as clients are to reach it.
    pub host: &'a str,
    /// Its port.
    pub port: i32,
    /// Its rack, if it has one.
    pub rack: Option<&'a str>,
}

/// A piece of the body, in the order of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes to send as they are.
    Bytes(Bytes),
    /// The place of a partition's records. Never empty.
    Records {
        /// Which partition: its place when the partitions of all topics are counted from 0.
        partition_slot: usize,
        /// Exactly as many bytes go here: the partition's `records_len`.
        len: u32,
    },
}

/// A Fetch response's body, ready but for its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchBody {
    /// The pieces, in the order of the wire.
    pub chunks: Vec<Chunk>,
    /// Length of the whole body with its records, bytes; at most 2147483647.
    pub len: usize,
}

/// Why a Fetch response cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchBodyError {
    /// A version other than 4 to 18.
    #[error("Fetch has no version {0}, only 4 to 18")]
    Version(i16),
    /// A length that its field cannot hold; fewer bytes must be promised.
    #[error("a Fetch response's {what} of {len} does not fit its field")]
    TooLong {
        /// Which.
        what: &'static str,
        /// How long it is, bytes or elements.
        len: usize,
    },
}

impl FetchBody {
    /// Lays out the body of `version`. A field that the version does not have is left out; the
    /// caller chooses errors that the version's clients know.
    pub fn write(version: i16, parts: &FetchParts<'_>) -> Result<Self, FetchBodyError> {
        let mut size = Size::default();
        Layout::new(version, &mut size)?.body(parts)?;
        let len = size.bytes.checked_add(size.records);
        let len = len.filter(|len| i32::try_from(*len).is_ok());
        let len = len.ok_or(FetchBodyError::TooLong {
            what: "body",
            len: size.bytes,
        })?;

        let mut pieces = Pieces {
            bytes: BytesMut::with_capacity(size.bytes),
            cuts: Vec::with_capacity(size.cuts),
        };
        Layout::new(version, &mut pieces)?.body(parts)?;
        debug_assert_eq!(pieces.bytes.len(), size.bytes, "both passes write the same");
        Ok(Self {
            chunks: pieces.into_chunks(),
            len,
        })
    }
}

/// Where a layout goes: counted, or written.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
    fn records(&mut self, partition_slot: usize, len: u32);
}

#[derive(Debug, Default)]
struct Size {
    bytes: usize,
    records: usize,
    cuts: usize,
}

impl Sink for Size {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }

    fn records(&mut self, _partition_slot: usize, len: u32) {
        self.records = self.records.saturating_add(len as usize);
        self.cuts += 1;
    }
}

#[derive(Debug)]
struct Pieces {
    bytes: BytesMut,
    /// Where in `bytes` records go, for which partition, how many.
    cuts: Vec<(usize, usize, u32)>,
}

impl Sink for Pieces {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.put_slice(bytes);
    }

    fn records(&mut self, partition_slot: usize, len: u32) {
        self.cuts.push((self.bytes.len(), partition_slot, len));
    }
}

impl Pieces {
    fn into_chunks(self) -> Vec<Chunk> {
        let mut rest = self.bytes.freeze();
        let mut taken = 0;
        let mut chunks = Vec::with_capacity(2 * self.cuts.len() + 1);
        for (at, partition_slot, len) in self.cuts {
            chunks.push(Chunk::Bytes(rest.split_to(at - taken)));
            chunks.push(Chunk::Records {
                partition_slot,
                len,
            });
            taken = at;
        }
        chunks.push(Chunk::Bytes(rest));
        chunks
    }
}

/// One pass over the parts.
struct Layout<'s, S> {
    version: i16,
    flexible: bool,
    slot: usize,
    sink: &'s mut S,
}

impl<'s, S: Sink> Layout<'s, S> {
    fn new(version: i16, sink: &'s mut S) -> Result<Self, FetchBodyError> {
        if !(FIRST_VERSION..=LAST_VERSION).contains(&version) {
            return Err(FetchBodyError::Version(version));
        }
        Ok(Self {
            version,
            flexible: version >= 12,
            slot: 0,
            sink,
        })
    }

    fn body(&mut self, parts: &FetchParts<'_>) -> Result<(), FetchBodyError> {
        self.i32(parts.throttle_time_ms);
        if self.version >= 7 {
            self.i16(parts.error_code);
            self.i32(parts.session_id);
        }
        self.count(Some(parts.topics.len()), "topics")?;
        for topic in &parts.topics {
            self.topic(topic)?;
        }
        if self.flexible {
            self.node_endpoints(&parts.node_endpoints)?;
        }
        Ok(())
    }

    fn topic(&mut self, topic: &FetchTopicPart<'_>) -> Result<(), FetchBodyError> {
        if self.version >= 13 {
            self.sink.put(&topic.id.to_bytes());
        } else {
            self.string(Some(topic.name), "topic name")?;
        }
        self.count(Some(topic.partitions.len()), "partitions")?;
        for partition in &topic.partitions {
            self.partition(partition)?;
        }
        self.no_tags();
        Ok(())
    }

    fn partition(&mut self, partition: &FetchPartitionPart) -> Result<(), FetchBodyError> {
        self.i32(partition.partition_index);
        self.i16(partition.error_code);
        self.i64(partition.high_watermark);
        self.i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.i64(partition.log_start_offset);
        }
        let aborted = partition.aborted_transactions.as_deref();
        self.count(aborted.map(<[_]>::len), "aborted transactions")?;
        for transaction in aborted.unwrap_or_default() {
            self.i64(transaction.producer_id);
            self.i64(transaction.first_offset);
            self.no_tags();
        }
        if self.version >= 11 {
            self.i32(partition.preferred_read_replica);
        }
        self.count(Some(partition.records_len as usize), "records")?;
        if partition.records_len > 0 {
            self.sink.records(self.slot, partition.records_len);
        }
        self.slot += 1;
        if self.flexible {
            self.partition_tags(partition);
        }
        Ok(())
    }

    /// Tags 0, 1 and 2; a value equal to the schema's default is not written, as everywhere.
    fn partition_tags(&mut self, partition: &FetchPartitionPart) {
        let none = EpochEnd {
            epoch: -1,
            end_offset: -1,
        };
        let no_leader = LeaderAndEpoch {
            leader_id: -1,
            leader_epoch: -1,
        };
        let diverging = partition.diverging_epoch.filter(|epoch| *epoch != none);
        let leader = partition
            .current_leader
            .filter(|leader| *leader != no_leader);
        let snapshot = partition.snapshot_id.filter(|snapshot| *snapshot != none);
        let tags = [diverging.is_some(), leader.is_some(), snapshot.is_some()];
        self.sink.put(&[tags.into_iter().map(u8::from).sum()]);
        // Each value: tag, size, fields, an empty tag section of its own.
        if let Some(EpochEnd { epoch, end_offset }) = diverging {
            self.sink.put(&[0, 13]);
            self.i32(epoch);
            self.i64(end_offset);
            self.no_tags();
        }
        if let Some(LeaderAndEpoch {
            leader_id,
            leader_epoch,
        }) = leader
        {
            self.sink.put(&[1, 9]);
            self.i32(leader_id);
            self.i32(leader_epoch);
            self.no_tags();
        }
        if let Some(EpochEnd { epoch, end_offset }) = snapshot {
            self.sink.put(&[2, 13]);
            self.i64(end_offset);
            self.i32(epoch);
            self.no_tags();
        }
    }

    /// The body's own tag section.
    fn node_endpoints(&mut self, nodes: &[NodeEndpointPart<'_>]) -> Result<(), FetchBodyError> {
        if self.version < 16 || nodes.is_empty() {
            self.no_tags();
            return Ok(());
        }
        let mut size = Size::default();
        Layout::new(self.version, &mut size)?.node_endpoint_list(nodes)?;
        self.sink.put(&[1, 0]);
        self.uvarint(u32_of(size.bytes, "node endpoints")?);
        self.node_endpoint_list(nodes)
    }

    fn node_endpoint_list(&mut self, nodes: &[NodeEndpointPart<'_>]) -> Result<(), FetchBodyError> {
        self.count(Some(nodes.len()), "node endpoints")?;
        for node in nodes {
            self.i32(node.node_id);
            self.string(Some(node.host), "host")?;
            self.i32(node.port);
            self.string(node.rack, "rack")?;
            self.no_tags();
        }
        Ok(())
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.sink.put(&[0]);
        }
    }

    /// Length of an array or of bytes; `None` is null.
    fn count(&mut self, len: Option<usize>, what: &'static str) -> Result<(), FetchBodyError> {
        let wide = len.map_or(Ok(None), |len| u32_of(len, what).map(Some))?;
        if self.flexible {
            self.uvarint(wide.map_or(0, |len| len + 1));
        } else {
            self.i32(wide.map_or(-1, |len| len as i32));
        }
        Ok(())
    }

    fn string(&mut self, text: Option<&str>, what: &'static str) -> Result<(), FetchBodyError> {
        let len = text.map(str::len);
        let short = len.map(i16::try_from).transpose();
        let short = short.map_err(|_| FetchBodyError::TooLong {
            what,
            len: len.unwrap_or_default(),
        })?;
        if self.flexible {
            self.uvarint(short.map_or(0, |len| len as u32 + 1));
        } else {
            self.i16(short.unwrap_or(-1));
        }
        self.sink.put(text.unwrap_or_default().as_bytes());
        Ok(())
    }

    fn i16(&mut self, value: i16) {
        self.sink.put(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.sink.put(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.sink.put(&value.to_be_bytes());
    }

    fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.sink.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.sink.put(&[value as u8]);
    }
}

/// A length as the wire can hold it: 0 to 2147483647.
fn u32_of(len: usize, what: &'static str) -> Result<u32, FetchBodyError> {
    match i32::try_from(len) {
        Ok(fits) => Ok(fits.unsigned_abs()),
        Err(_) => Err(FetchBodyError::TooLong { what, len }),
    }
}
