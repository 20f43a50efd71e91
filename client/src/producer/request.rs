//! Batches of several partitions as one request, and its answer as a verdict on each.
//!
//! What always holds: every batch that went in comes out once, with its bytes; a batch that an answer
//! does not name has an unknown fate.

use bytes::Bytes;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::ProduceRequest;
use millrace_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millrace_protocol::responses::ProduceResponse;
use millrace_protocol::responses::produce::PartitionProduceResponse;

use super::batch::{Content, Stamp};
use super::core::Planned;
use super::lane::Verdict;
use super::verdict;
use crate::{Acks, Answer, Error};

/// A request on its way.
#[derive(Debug)]
pub(super) struct Outgoing(Vec<Part>);

#[derive(Debug)]
struct Part {
    lane: usize,
    ticket: u64,
    topic: std::sync::Arc<str>,
    topic_id: TopicId,
    partition: i32,
    batch: Bytes,
    stamp: Option<Stamp>,
    verdict: Option<Verdict>,
}

/// What became of one batch.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) lane: usize,
    pub(super) ticket: u64,
    pub(super) content: Content,
    pub(super) verdict: Verdict,
}

impl Outgoing {
    /// Encodes what was planned; compresses what wasn't sent before.
    pub(super) fn of(planned: Vec<Planned>) -> Self {
        let part = |planned: Planned| Part {
            lane: planned.lane,
            ticket: planned.sending.ticket,
            topic: std::sync::Arc::clone(&planned.about.name),
            topic_id: planned.about.id,
            partition: planned.partition,
            batch: planned.sending.content.encoded(planned.sending.stamp),
            stamp: planned.sending.stamp,
            verdict: None,
        };
        let mut parts: Vec<_> = planned.into_iter().map(part).collect();
        // Partitions of one topic side by side.
        parts.sort_by(|one, other| one.topic.cmp(&other.topic));
        Self(parts)
    }

    /// The request.
    pub(super) fn request(&self, acks: Acks, timeout_ms: i32) -> ProduceRequest {
        let of_partition = |part: &Part| {
            let mut data = PartitionProduceData::default();
            data.index = part.partition;
            data.records = Some(part.batch.clone());
            data
        };
        let of_topic = |parts: &[Part]| {
            let mut topic = TopicProduceData::default();
            topic.name = parts[0].topic.as_ref().into();
            topic.topic_id = parts[0].topic_id.into();
            topic.partition_data = parts.iter().map(of_partition).collect();
            topic
        };
        let mut request = ProduceRequest::default();
        request.transactional_id = None;
        request.acks = acks.wire();
        request.timeout_ms = timeout_ms;
        let topics = self.0.chunk_by(|one, other| one.topic == other.topic);
        request.topic_data = topics.map(of_topic).collect();
        request
    }

    /// What an answer says.
    pub(super) fn answered(mut self, answer: &Answer<ProduceRequest>) -> Vec<Sent> {
        match answer.read() {
            Ok(view) => {
                self.judge(&view);
                let silent = Error::Malformed {
                    address: answer.address().to_owned(),
                    reason: "it does not say what became of a batch".to_owned(),
                };
                self.unknown(&silent)
            }
            Err(error) => self.unknown(&error),
        }
    }

    fn judge(&mut self, view: &ProduceResponse<'_>) {
        for topic in view.responses {
            for outcome in topic.partition_responses {
                let named = |part: &&mut Part| {
                    let topics_match = if topic.topic_id.is_zero() {
                        *part.topic == *topic.name
                    } else {
                        part.topic_id == topic.topic_id
                    };
                    topics_match && part.partition == outcome.index
                };
                if let Some(part) = self.0.iter_mut().find(named) {
                    part.verdict = Some(verdict_of(part, &outcome));
                }
            }
        }
    }

    /// Nobody knows what became of those that nothing was said of.
    pub(super) fn unknown(self, error: &Error) -> Vec<Sent> {
        self.all(|| Verdict::Unknown(error.clone()))
    }

    /// It can't be sent.
    pub(super) fn refused(self, error: &Error) -> Vec<Sent> {
        self.all(|| Verdict::Refused(error.clone()))
    }

    /// Nobody answers: it is as good as stored once it was sent.
    pub(super) fn without_answer(self, sent: Result<(), Error>) -> Vec<Sent> {
        match sent {
            Ok(()) => self.all(|| Verdict::Stored { base_offset: None }),
            Err(error) => self.all(|| Verdict::Refused(error.clone())),
        }
    }

    fn all(self, verdict: impl Fn() -> Verdict) -> Vec<Sent> {
        let told = |part: Part| Sent {
            lane: part.lane,
            ticket: part.ticket,
            content: Content::Encoded {
                batch: part.batch,
                stamp: part.stamp,
            },
            verdict: part.verdict.unwrap_or_else(&verdict),
        };
        self.0.into_iter().map(told).collect()
    }
}

fn verdict_of(part: &Part, outcome: &PartitionProduceResponse<'_>) -> Verdict {
    let code = ErrorCode::from_code(outcome.error_code);
    if code == Some(ErrorCode::None) {
        let base_offset = (outcome.base_offset >= 0).then_some(outcome.base_offset);
        return Verdict::Stored { base_offset };
    }
    let code = code.unwrap_or(ErrorCode::UnknownServerError);
    let reason = outcome.error_message.map(|reason| format!(" ({reason})"));
    let first = outcome.record_errors.into_iter().next();
    let first = first.map(|record| {
        let reason = record
            .batch_index_error_message
            .unwrap_or("no reason given");
        format!(" (record {} of the batch: {reason})", record.batch_index)
    });
    let what = format!(
        "a batch for {}-{}{}{}",
        part.topic,
        part.partition,
        reason.unwrap_or_default(),
        first.unwrap_or_default()
    );
    verdict::of_code(code, Error::Broker { what, code })
}
