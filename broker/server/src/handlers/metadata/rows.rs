//! The rows of all topics in a Metadata answer, encoded: the same bytes for every client that asks
//! the same at the same time.
//!
//! An answer is put together of three parts: what stands in front of the topics (brokers, of the
//! client's own listener) and behind them is encoded for each answer; the rows between are shared.
//! What always holds: the bytes are those of the whole message encoded at once, at every version (a
//! test holds them against that); memory goes by the rows' bytes, since no more than one partition's
//! row is ever there unencoded; others run after every thousand partitions.

use bytes::{BufMut, Bytes, BytesMut};
use millrace_core::cluster::{Image, Topic};
use millrace_host::Piece;
use millrace_protocol::messages::{self, EncodeError, MetadataResponse};

use super::{Pace, elements, partition_row, topic_row};
use crate::outcome::Reply;

/// First version whose arrays have compact lengths, and whose structures end in tags.
const FLEXIBLE_FROM: i16 = 9;
/// First version that tells what the client may do to a topic.
const TOPIC_OPERATIONS_FROM: i16 = 8;
/// The versions that tell what it may do to the cluster.
const CLUSTER_OPERATIONS_IN: std::ops::RangeInclusive<i16> = 8..=10;
/// First version with an error code of the whole answer.
const ERROR_CODE_FROM: i16 = 13;

/// Rows are encoded into pieces of about this many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// Most bytes behind an array in its structure: an operations field, an error code, a tag section.
const BEHIND_BYTES_MAX: usize = 8;

/// What is told of a topic to whoever asks: nothing at all, or its row with what may be done to it.
pub(super) trait Seen {
    /// Whether its row is there.
    fn is_told(&self, topic: &Topic) -> bool;
    /// A bit for each operation; the smallest number where nobody asked.
    fn operations(&self, topic: &Topic) -> i32;
}

/// Encoded rows of all topics that a client may see. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    count: usize,
    pieces: std::sync::Arc<[Bytes]>,
    bytes: u64,
}

impl Rows {
    /// Encodes the topics of `image` in the order of their names.
    pub(super) async fn encode(
        image: &Image,
        version: i16,
        seen: &impl Seen,
    ) -> Result<Self, EncodeError> {
        let mut writing = Writing {
            version,
            open: BytesMut::new(),
            pieces: Vec::new(),
            bytes: 0,
        };
        let mut pace = Pace::default();
        let mut count = 0;
        for topic in image.topics_by_name() {
            if seen.is_told(topic) {
                count += 1;
                writing
                    .topic(image, topic, seen.operations(topic), &mut pace)
                    .await?;
            }
            pace.steps(elements(None)).await;
        }
        Ok(writing.finish(count))
    }

    /// How many bytes they are.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The answer that has these rows and, of everything else, what `around` says, whose topics are
    /// left out.
    pub(super) fn reply(
        &self,
        around: &MetadataResponse,
        version: i16,
    ) -> Result<Reply, EncodeError> {
        let mut front = BytesMut::new();
        messages::encode_into(around, version, &mut front)?;
        let behind = Behind::cut(&mut front, version, behind_topics(version));
        put_count(&mut front, version, self.count);
        let mut reply = Reply::bytes(front.freeze());
        let pieces = self.pieces.iter().cloned().map(Piece::Bytes);
        reply.body.extend(pieces);
        let behind = Bytes::copy_from_slice(behind.as_slice());
        reply.body.push(Piece::Bytes(behind));
        Ok(reply)
    }
}

/// Bytes behind the topics in an answer.
fn behind_topics(version: i16) -> usize {
    let operations = usize::from(CLUSTER_OPERATIONS_IN.contains(&version)) * size_of::<i32>();
    let error_code = usize::from(version >= ERROR_CODE_FROM) * size_of::<i16>();
    operations + error_code + usize::from(version >= FLEXIBLE_FROM)
}

/// Bytes behind the partitions in a topic's row.
fn behind_partitions(version: i16) -> usize {
    let operations = usize::from(version >= TOPIC_OPERATIONS_FROM) * size_of::<i32>();
    operations + usize::from(version >= FLEXIBLE_FROM)
}

/// The end of a structure that was encoded with an empty array, from behind that array on.
struct Behind {
    bytes: [u8; BEHIND_BYTES_MAX],
    len: usize,
}

impl Behind {
    /// Cuts the last `len` bytes off `out`, and the empty array in front of them.
    fn cut(out: &mut BytesMut, version: i16, len: usize) -> Self {
        let at = out.len() - len;
        let mut bytes = [0; BEHIND_BYTES_MAX];
        bytes[..len].copy_from_slice(&out[at..]);
        let empty: &[u8] = if version < FLEXIBLE_FROM {
            &[0; 4]
        } else {
            &[1]
        };
        debug_assert!(out[..at].ends_with(empty), "an empty array stands there");
        out.truncate(at - empty.len());
        Self { bytes, len }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The length of an array, as the version writes it.
fn put_count(out: &mut BytesMut, version: i16, count: usize) {
    let count = u32::try_from(count).expect("partitions and topics are numbered by i32");
    if version < FLEXIBLE_FROM {
        out.put_u32(count);
        return;
    }
    // KIP-482: one more than the length, seven bits at a time.
    let mut left = count + 1;
    while left >= 0x80 {
        out.put_u8((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    out.put_u8(left as u8);
}

/// Rows on their way into pieces.
struct Writing {
    version: i16,
    /// The piece that is being filled.
    open: BytesMut,
    pieces: Vec<Bytes>,
    bytes: u64,
}

impl Writing {
    async fn topic(
        &mut self,
        image: &Image,
        topic: &Topic,
        operations: i32,
        pace: &mut Pace,
    ) -> Result<(), EncodeError> {
        let row = topic_row(topic, operations);
        messages::encode_part_into::<MetadataResponse>(&row, self.version, &mut self.open)?;
        let behind = Behind::cut(
            &mut self.open,
            self.version,
            behind_partitions(self.version),
        );
        put_count(&mut self.open, self.version, topic.partitions.size());
        for (index, partition) in &topic.partitions {
            let row = partition_row(image, self.version, *index, partition);
            messages::encode_part_into::<MetadataResponse>(&row, self.version, &mut self.open)?;
            self.close_full();
            pace.step().await;
        }
        self.open.put_slice(behind.as_slice());
        self.close_full();
        Ok(())
    }

    /// Begins another piece when this one is full.
    fn close_full(&mut self) {
        if self.open.len() >= PIECE_BYTES {
            self.close();
            self.open.reserve(PIECE_BYTES + PIECE_BYTES / 16);
        }
    }

    fn close(&mut self) {
        let piece = std::mem::take(&mut self.open).freeze();
        self.bytes += piece.len() as u64;
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
    }

    fn finish(mut self, count: usize) -> Rows {
        self.close();
        Rows {
            count,
            pieces: self.pieces.into(),
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_core::cluster::Partition;
    use millrace_protocol::ids::TopicId;
    use millrace_protocol::messages::metadata_response::MetadataResponseBroker;
    use millrace_protocol::messages::{DecodeLimits, StrBytes};
    use millrace_protocol::metadata::{
        BrokerRegistrationChangeRecord, ConfigRecord, MetadataRecord, PartitionChangeRecord,
        PartitionRecord, RegisterBrokerRecord, TopicRecord,
    };
    use millrace_sim::Sim;

    use super::super::kept::{KeptRows, Key};
    use super::*;
    use crate::metrics::Metrics;

    const VERSIONS: std::ops::RangeInclusive<i16> = 0..=13;

    /// Sees all but one topic.
    struct Everyone {
        operations: i32,
        but: &'static str,
    }

    impl Seen for Everyone {
        fn is_told(&self, topic: &Topic) -> bool {
            &*topic.name != self.but
        }

        fn operations(&self, _: &Topic) -> i32 {
            self.operations
        }
    }

    fn id(at: u8) -> TopicId {
        TopicId::from_bytes([at; 16])
    }

    fn topic(at: u8, name: &str) -> MetadataRecord {
        MetadataRecord::Topic(TopicRecord {
            name: name.to_owned(),
            topic_id: id(at),
        })
    }

    fn partition(topic: u8, partition_id: i32) -> MetadataRecord {
        MetadataRecord::Partition(PartitionRecord {
            partition_id,
            topic_id: id(topic),
            replicas: vec![1, 2],
            isr: vec![1],
            removing_replicas: Vec::new(),
            adding_replicas: Vec::new(),
            leader: 1,
            leader_recovery_state: 0,
            leader_epoch: partition_id,
            partition_epoch: 0,
            directories: vec![id(200), id(201)],
        })
    }

    fn broker(log_dirs: Vec<TopicId>) -> MetadataRecord {
        MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: 1,
            incarnation_id: id(1),
            broker_epoch: 0,
            end_points: Vec::new(),
            features: Vec::new(),
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs,
            generations: Vec::new(),
        })
    }

    /// One image after each kind of change, from none to a large one.
    fn images() -> Vec<Image> {
        let leader = PartitionChangeRecord {
            partition_id: 1,
            topic_id: id(1),
            leader: Some(-1),
            ..PartitionChangeRecord::default()
        };
        let fenced = BrokerRegistrationChangeRecord {
            broker_id: 1,
            broker_epoch: 0,
            fenced: 1,
            in_controlled_shutdown: 0,
            log_dirs: Vec::new(),
        };
        let many = |from: i32, to: i32| (from..to).map(|at| partition(1, at)).collect();
        let topics = (10..=190).map(|at| topic(at, &format!("many-{at}")));
        let changes: [Vec<MetadataRecord>; 12] = [
            Vec::new(),
            vec![broker(vec![id(200)])],
            vec![topic(1, "a"), partition(1, 0), partition(1, 1)],
            vec![topic(2, "__consumer_offsets"), partition(2, 0)],
            // One and two bytes of a compact length.
            many(2, 126),
            many(126, 127),
            // More than a piece.
            many(127, 2500),
            vec![MetadataRecord::PartitionChange(leader)],
            vec![MetadataRecord::RemoveTopic(id(1))],
            vec![MetadataRecord::BrokerRegistrationChange(fenced)],
            topics.collect(),
            vec![broker(Vec::new())],
        ];
        let mut images = vec![Image::default()];
        for records in changes {
            let last = images.last().unwrap();
            let next = last.replay_all(last.offset() + 1, &records).unwrap();
            images.push(next);
        }
        images
    }

    fn around(version: i16) -> MetadataResponse {
        let mut broker = MetadataResponseBroker::default();
        broker.host = StrBytes::from("host");
        broker.port = 9092;
        let mut around = MetadataResponse::default();
        around.brokers = vec![broker];
        around.cluster_id = Some(StrBytes::from("cluster"));
        around.controller_id = 1;
        if CLUSTER_OPERATIONS_IN.contains(&version) {
            around.cluster_authorized_operations = 0x0102_0304;
        }
        around
    }

    /// The whole message, encoded at once.
    fn whole(image: &Image, version: i16, seen: &Everyone) -> Bytes {
        let mut response = around(version);
        let told = image.topics_by_name().filter(|topic| seen.is_told(topic));
        response.topics = told
            .map(|topic| {
                let mut row = topic_row(topic, seen.operations);
                let partitions = topic.partitions.iter();
                row.partitions = partitions
                    .map(|(index, at): (_, &Partition)| partition_row(image, version, *index, at))
                    .collect();
                row
            })
            .collect();
        messages::encode(&response, version).unwrap()
    }

    fn bytes(reply: &Reply) -> Vec<u8> {
        let piece = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => bytes.to_vec(),
            Piece::File(_) => panic!("all of it is in memory"),
        };
        reply.body.iter().flat_map(piece).collect()
    }

    fn askers(version: i16) -> Vec<Everyone> {
        let mut askers = vec![
            Everyone {
                operations: i32::MIN,
                but: "",
            },
            Everyone {
                operations: i32::MIN,
                but: "a",
            },
        ];
        if version >= TOPIC_OPERATIONS_FROM {
            askers.push(Everyone {
                operations: 0x0a0b_0c0d,
                but: "",
            });
        }
        askers
    }

    #[test]
    fn parts_put_together_are_the_message_encoded_at_once_at_every_version() {
        Sim::new(1).block_on(async {
            for (image, version) in images()
                .iter()
                .flat_map(|image| VERSIONS.map(move |v| (image, v)))
            {
                for seen in askers(version) {
                    let rows = Rows::encode(image, version, &seen).await.unwrap();
                    let reply = rows.reply(&around(version), version).unwrap();
                    let expected = whole(image, version, &seen);
                    let offset = image.offset();
                    assert_eq!(
                        bytes(&reply),
                        expected,
                        "version {version}, offset {offset}"
                    );
                    let limits = DecodeLimits::default();
                    let read: MetadataResponse =
                        messages::decode(version, expected, &limits).unwrap();
                    assert_eq!(read.topics.len(), rows.count);
                    let pieces: u64 = rows.pieces.iter().map(|piece| piece.len() as u64).sum();
                    assert_eq!(pieces, rows.bytes());
                }
            }
        });
    }

    /// Rows of `image` by way of what is kept.
    async fn kept(kept: &KeptRows, image: &Image, version: i16) -> Rows {
        let seen = Everyone {
            operations: i32::MIN,
            but: "",
        };
        let key = Key {
            version,
            with_operations: false,
            principal: "User:A".into(),
        };
        let encode = Rows::encode(image, version, &seen);
        kept.get(key, image.topology_offset(), encode)
            .await
            .unwrap()
    }

    #[test]
    fn what_is_kept_is_what_its_image_says_after_every_kind_of_change() {
        let metrics = Metrics::new().metadata_rows;
        let cache = KeptRows::new(u64::MAX, metrics.clone());
        let everyone = Everyone {
            operations: i32::MIN,
            but: "",
        };
        Sim::new(1).block_on(async {
            let mut before = Image::default();
            for image in images() {
                let config = MetadataRecord::Config(ConfigRecord {
                    resource_type: 2,
                    resource_name: "a".to_owned(),
                    name: "retention.ms".to_owned(),
                    value: Some("1".to_owned()),
                });
                for version in VERSIONS {
                    for _ in 0..2 {
                        let rows = kept(&cache, &image, version).await;
                        let reply = rows.reply(&around(version), version).unwrap();
                        assert_eq!(bytes(&reply), whole(&image, version, &everyone));
                    }
                    // Of a request that began before the change.
                    let rows = kept(&cache, &before, version).await;
                    let reply = rows.reply(&around(version), version).unwrap();
                    assert_eq!(bytes(&reply), whole(&before, version, &everyone));
                }
                let hits = metrics.hits.get();
                let configured = image.replay(image.offset() + 1, &config).unwrap();
                kept(&cache, &configured, 13).await;
                assert_eq!(
                    metrics.hits.get(),
                    hits + 1,
                    "nothing that is told has changed"
                );
                before = image;
            }
        });
    }
}
