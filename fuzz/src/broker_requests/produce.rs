//! Produce requests: right batches of every codec, known producers in and out of sequence, and
//! batches with one thing wrong.

use bytes::Bytes;
use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millrace_protocol::messages::produce_response::PartitionProduceResponse;
use millrace_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, ProduceRequest, ProduceResponse, Uuid,
};
use millrace_protocol::records::{BatchBuilder, Codec, Options};

use super::flaw::{FLAWS, Flaw};
use super::model::{Judged, Producer, Seen};
use super::{Kind, Run, no_id, place, text, version};
use crate::input::Input;

/// First version that names topics by id; that knows zstd; that says the log start.
const IDS_FROM: i16 = 13;
const ZSTD_FROM: i16 = 7;
const LOG_START_FROM: i16 = 5;

/// One partition's part of a request.
struct Part {
    name: &'static str,
    id: Uuid,
    partition: i32,
    bytes: Option<Vec<u8>>,
    size: usize,
    flaw: Flaw,
    producer: Option<Producer>,
    records: Vec<Seen>,
    zstd: bool,
}

/// What the answer to a part must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Fresh(i64),
    Again(i64, i64),
    Refused(ErrorCode),
}

impl Run<'_> {
    /// One or two batches.
    pub(super) async fn produce(&mut self, input: &mut Input<'_>) {
        let api = (Api::Produce, version(Api::Produce, input));
        let flags = input.byte();
        let mut acks = [-1, -1, 1, 1, 0, -1, 1, 2][usize::from(flags % 8)];
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..=(flags >> 7) {
            let part = self.part(api.1, input);
            let same = |other: &Part| (other.id, other.partition) == (part.id, part.partition);
            if api.1 >= IDS_FROM && parts.iter().any(same)
                || parts.iter().any(|other| other.name == part.name)
            {
                break;
            }
            parts.push(part);
        }
        let timed = |part: &Part| {
            self.model
                .topics
                .get(part.name)
                .is_some_and(|t| t.kind.log_append_time)
        };
        if acks == 0 && parts.iter().any(timed) {
            acks = 1;
        }
        let mut request = ProduceRequest::default();
        // An id that no batch uses changes nothing.
        let has_id = flags / 8 % 16 == 15;
        request.transactional_id = has_id.then(|| text("t"));
        let whole = if parts.iter().any(|part| part.flaw == Flaw::Transactional) {
            Some(ErrorCode::TransactionalIdAuthorizationFailed)
        } else {
            (acks == 2).then_some(ErrorCode::InvalidRequiredAcks)
        };
        request.acks = acks;
        request.timeout_ms = 10_000;
        request.topic_data = parts.iter().map(|part| part.data(api.1)).collect();
        let expected: Vec<Expected> = parts
            .iter()
            .map(|part| match whole {
                Some(code) => Expected::Refused(code),
                None => self.expect(api.1, part),
            })
            .collect();
        let sent_ms = self.now_ms();
        if acks == 0 {
            self.wire.tell(api, &request).await;
            self.apply_unanswered(parts, &expected).await;
            return;
        }
        let answer: Option<ProduceResponse> = self.wire.ask(api, &request).await;
        let answer = answer.expect("it is answered");
        assert_eq!(answer.responses.len(), parts.len());
        for ((topic, part), expected) in answer.responses.iter().zip(parts).zip(expected) {
            let [row] = &topic.partition_responses[..] else {
                panic!("one partition was asked for: {topic:?}");
            };
            self.apply(api.1, row, (part, expected), (acks == -1, sent_ms));
        }
    }

    /// No answer comes; an error ends the connection.
    async fn apply_unanswered(&mut self, parts: Vec<Part>, expected: &[Expected]) {
        let barrier = ApiVersionsRequest::default();
        let answer = self.wire.ask((Api::ApiVersions, 0), &barrier).await;
        let answer: Option<ApiVersionsResponse> = answer;
        let refused = |expected: &Expected| matches!(expected, Expected::Refused(_));
        assert_eq!(
            answer.is_none(),
            expected.iter().any(refused),
            "{expected:?}"
        );
        for (part, expected) in parts.into_iter().zip(expected) {
            if let Expected::Fresh(_) = expected {
                let log = self.model.log(part.name, part.partition);
                log.expect("it is there")
                    .append(part.producer, part.records);
            }
        }
        if answer.is_none() {
            self.reconnect().await;
        }
    }

    fn apply(
        &mut self,
        version: i16,
        row: &PartitionProduceResponse,
        (mut part, expected): (Part, Expected),
        (all, sent_ms): (bool, i64),
    ) {
        let name = part.name;
        assert_eq!(row.index, part.partition);
        let code = match expected {
            Expected::Fresh(_) | Expected::Again(..) => 0,
            Expected::Refused(code) => code.code(),
        };
        assert_eq!(row.error_code, code, "{name} {:?} {row:?}", part.flaw);
        if code != 0 {
            assert_eq!(row.base_offset, -1);
            return;
        }
        let now_ms = self.now_ms();
        let timed = self.topic(name).expect("it is there").kind.log_append_time;
        let log = self.model.log(name, part.partition).expect("it is there");
        if version >= LOG_START_FROM {
            assert_eq!(row.log_start_offset, log.start);
        }
        let (base, time_ms) = match expected {
            Expected::Fresh(base) => (base, None),
            Expected::Again(base, time_ms) => (base, Some(time_ms)),
            Expected::Refused(_) => return,
        };
        assert_eq!(row.base_offset, base, "{name}: {expected:?}");
        let told = row.log_append_time_ms;
        match time_ms {
            // What was stored before tells its time on every topic.
            Some(at) => assert_eq!(told, at, "{name}: {expected:?}"),
            None if timed => {
                assert!((sent_ms..=now_ms).contains(&told));
                let records = part.records.iter_mut();
                records.for_each(|record| record.time_ms = told);
            }
            None => assert_eq!(told, -1),
        }
        let last = base + part.records.len() as i64;
        if time_ms.is_none() {
            log.append(part.producer, part.records);
        }
        if all {
            let readable = *log.high_watermark().start();
            log.shown(last.max(readable));
        }
    }

    /// What must become of a part, if the request as a whole is not refused.
    fn expect(&mut self, version: i16, part: &Part) -> Expected {
        let refused = |code| Expected::Refused(code);
        let Some(topic) = self.topic(part.name) else {
            return refused(if version >= IDS_FROM {
                ErrorCode::UnknownTopicId
            } else {
                ErrorCode::UnknownTopicOrPartition
            });
        };
        let kind = topic.kind;
        let Some(log) = topic.log(part.partition) else {
            return refused(ErrorCode::UnknownTopicOrPartition);
        };
        if let Some(code) = part.refusal(version, kind) {
            return refused(code);
        }
        match log.judge(part.producer, part.records.len()) {
            Judged::Fresh(base) => Expected::Fresh(base),
            Judged::Again(base, time_ms) => Expected::Again(base, time_ms),
            Judged::Refused(code) => refused(code),
        }
    }

    fn part(&mut self, version: i16, input: &mut Input<'_>) -> Part {
        let (name, partition) = place(input);
        let shape = input.byte();
        let mut count = usize::from(shape % 4) + 1;
        let codec = Codec::ALL[usize::from(shape / 4 % 8) % Codec::ALL.len()];
        let null_key = shape & 0x80 != 0;
        let who = input.byte();
        let flaw = match input.byte() {
            flaw @ 0..=35 => FLAWS[usize::from(flaw) % FLAWS.len()],
            _ => Flaw::Nothing,
        };
        let producer = self.producer(name, partition, who, &mut count);
        let needed = (flaw == Flaw::Transactional).then_some((77, 0, 0));
        let producer = producer.or(needed);
        let size = usize::from(input.byte());
        let mut time_ms = self.now_ms() - 1000 * i64::from(input.byte());
        if flaw == Flaw::Future {
            time_ms += 7_200_000;
        }
        let records = (0..count).map(|at| Seen {
            time_ms: time_ms + (at as i64 % 3) * 10,
            key: (!null_key).then(|| Bytes::from(vec![b'k', at as u8])),
            value: (size != 1).then(|| Bytes::from(vec![who; size])),
        });
        let records: Vec<Seen> = records.collect();
        let mut builder = BatchBuilder::new(Options {
            codec,
            producer,
            transactional: flaw == Flaw::Transactional,
            ..Options::default()
        });
        for Seen {
            time_ms,
            key,
            value,
        } in &records
        {
            builder
                .push(*time_ms, key.as_deref(), value.as_deref(), &[])
                .expect("it is far below a batch's limits");
        }
        let bytes = builder.build().to_vec();
        Part {
            name,
            id: if version >= IDS_FROM {
                self.id_of(name)
            } else {
                no_id()
            },
            partition,
            size: bytes.len(),
            bytes: flaw.put(bytes),
            flaw,
            producer,
            records,
            zstd: codec == Codec::Zstd,
        }
    }

    /// A producer of this partition, by one byte: which of four, in which epoch, at which sequence.
    fn producer(
        &mut self,
        name: &str,
        partition: i32,
        who: u8,
        count: &mut usize,
    ) -> Option<Producer> {
        if who < 64 {
            return None;
        }
        let id = 1000 + i64::from(who % 4);
        let Some(log) = self.model.log(name, partition) else {
            return Some((id, 0, 0));
        };
        if log.is_unsure_of(id) {
            return None;
        }
        let Some((known, recent)) = log.remembered(id) else {
            let sequence = [0, 0, 5, i32::MAX - 1][usize::from(who / 4 % 4)];
            return Some((id, 3, sequence));
        };
        let epoch = match who / 4 % 8 {
            0 => known + 1,
            1 => known - 1,
            _ => known,
        };
        let next = log.next_sequence(id, epoch).unwrap_or(0);
        let sequence = match who / 32 {
            2..=4 => next,
            5 => super::model::sequence_after(next, 1),
            6 => 0,
            _ => {
                let again = recent[usize::from(who) % recent.len().max(1)..].first();
                again.map_or(next, |(first, length)| {
                    *count = (*length).min(64);
                    *first
                })
            }
        };
        Some((id, epoch, sequence))
    }
}

impl Part {
    fn data(&self, version: i16) -> TopicProduceData {
        let mut data = PartitionProduceData::default();
        data.index = self.partition;
        data.records = self.bytes.clone().map(Bytes::from);
        let mut topic = TopicProduceData::default();
        if version >= IDS_FROM {
            topic.topic_id = self.id;
        } else {
            topic.name = text(self.name);
        }
        topic.partition_data = vec![data];
        topic
    }

    /// Why the batch itself is refused, cheap checks before dear ones.
    fn refusal(&self, version: i16, kind: Kind) -> Option<ErrorCode> {
        if self.flaw.is_of_shape() {
            return self.flaw.code();
        }
        if kind.batch_bytes_max.is_some_and(|max| self.size > max) {
            return Some(ErrorCode::MessageTooLarge);
        }
        if let Some(code) = self.flaw.code() {
            return Some(code);
        }
        if self.zstd && version < ZSTD_FROM {
            return Some(ErrorCode::UnsupportedCompressionType);
        }
        if matches!(self.flaw, Flaw::TypeBit | Flaw::Future) && !kind.log_append_time {
            return Some(ErrorCode::InvalidTimestamp);
        }
        let keyless = self.records.iter().any(|record| record.key.is_none());
        (kind.compacted && keyless).then_some(ErrorCode::InvalidRecord)
    }
}
