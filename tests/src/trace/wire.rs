//! What clients asked and were answered, from the bytes of their connections.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use millrace_protocol::api::Api;
use millrace_protocol::header::{decode_request, decode_response, peek_api};
use millrace_protocol::requests::{self, ProduceRequest};
use millrace_protocol::responses::{self, ProduceResponse};

use super::calls::{Call, TraceError};

/// One produce request that has an answer.
#[derive(Clone, Debug)]
pub(super) struct Produced {
    /// The connection and the request's number on it, for messages.
    pub(super) name: String,
    /// What was asked.
    pub(super) acks: i16,
    /// The line at which the sending of its answer began.
    pub(super) answered: usize,
    /// Partition, error code and batches.
    pub(super) parts: Vec<(i32, i16, Vec<u8>)>,
}

/// One direction of a connection: bytes, and at which line each came.
#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    /// How many bytes there were once the chunk of this line was there.
    chunks: VecDeque<(usize, usize)>,
    /// Bytes that were sent from a file, which the trace doesn't show.
    gaps: Vec<(usize, usize)>,
    /// Bytes taken from the front.
    taken: usize,
}

impl Stream {
    fn push(&mut self, bytes: &[u8], line: usize) {
        self.bytes.extend_from_slice(bytes);
        self.chunks.push_back((self.bytes.len(), line));
    }

    fn push_unseen(&mut self, len: usize, line: usize) {
        let from = self.bytes.len();
        self.bytes.resize(from + len, 0);
        self.gaps.push((from, from + len));
        self.chunks.push_back((self.bytes.len(), line));
    }

    /// The next whole frame, the line of its first byte, and whether all of it is known.
    fn frame(&mut self) -> Option<(usize, Bytes, bool)> {
        let rest = &self.bytes[self.taken..];
        let len = rest
            .first_chunk::<4>()
            .map(|len| u32::from_be_bytes(*len))?;
        let frame = rest.get(4..4 + usize::try_from(len).ok()?)?;
        let (from, to) = (self.taken, self.taken + 4 + frame.len());
        let frame = Bytes::copy_from_slice(frame);
        self.taken = to;
        while self.chunks.front().is_some_and(|(end, _)| *end <= from) {
            self.chunks.pop_front();
        }
        let known = !self.gaps.iter().any(|gap| gap.0 < to && gap.1 > from);
        let (_, line) = *self.chunks.front()?;
        Some((line, frame, known))
    }
}

/// A request: its version, acks, and the batches for each partition.
#[derive(Debug)]
struct Asked {
    version: i16,
    acks: i16,
    parts: Vec<(i32, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct Connection {
    received: Stream,
    sent: Stream,
    /// Produce requests without an answer yet, by their numbers.
    waiting: BTreeMap<i32, Asked>,
}

/// All produce requests that were answered, in the order of their answers.
pub(super) fn produced(calls: &[Call]) -> Result<Vec<Produced>, TraceError> {
    let mut connections: BTreeMap<&str, Connection> = BTreeMap::new();
    let mut done = Vec::new();
    for call in calls {
        if call.name == "accept4" && call.succeeded() {
            connections.insert(&call.opened, Connection::default());
        }
        if !call.is_tcp() {
            continue;
        }
        let Some(connection) = connections.get_mut(call.file.as_str()) else {
            continue;
        };
        // What was under way when the trace ended may have been sent whole.
        let moved = match call.ended {
            Some(_) => usize::try_from(call.result).unwrap_or(0),
            None => call.bytes.len(),
        };
        let seen = &call.bytes[..moved.min(call.bytes.len())];
        match call.name.as_str() {
            "recvfrom" | "recvmsg" | "read" | "readv" => {
                connection.received.push(seen, call.began);
                connection.take_requests()?;
            }
            "sendmsg" | "sendto" | "write" | "writev" => {
                connection.sent.push(seen, call.began);
                connection.take_answers(&call.file, &mut done)?;
            }
            "sendfile" => {
                connection.sent.push_unseen(moved, call.began);
                connection.take_answers(&call.file, &mut done)?;
            }
            _ => {}
        }
    }
    Ok(done)
}

impl Connection {
    fn take_requests(&mut self) -> Result<(), TraceError> {
        while let Some((line, mut frame, _)) = self.received.frame() {
            let Some((key, version)) = peek_api(&frame) else {
                continue;
            };
            if key != Api::Produce.key() {
                continue;
            }
            let unreadable = TraceError::Content {
                line,
                what: "a produce request",
            };
            let flexible = Api::Produce.row().is_flexible(version);
            let header = decode_request(&mut frame, flexible).map_err(|_| unreadable.clone())?;
            let request =
                requests::read::<ProduceRequest<'_>>(version, &frame).map_err(|_| unreadable)?;
            let parts = request.topic_data.into_iter().flat_map(|topic| {
                let parts = topic.partition_data.into_iter();
                parts.map(|part| (part.index, part.records.unwrap_or_default().to_vec()))
            });
            if request.acks != 0 {
                let asked = Asked {
                    version,
                    acks: request.acks,
                    parts: parts.collect(),
                };
                self.waiting.insert(header.correlation_id, asked);
            }
        }
        Ok(())
    }

    fn take_answers(&mut self, name: &str, done: &mut Vec<Produced>) -> Result<(), TraceError> {
        while let Some((line, mut frame, known)) = self.sent.frame() {
            let Some(number) = frame.first_chunk::<4>().map(|id| i32::from_be_bytes(*id)) else {
                continue;
            };
            let Some(asked) = self.waiting.remove(&number) else {
                continue;
            };
            let unreadable = TraceError::Content {
                line,
                what: "the answer to a produce request",
            };
            if !known {
                return Err(unreadable);
            }
            let flexible = Api::Produce.row().is_flexible(asked.version);
            decode_response(&mut frame, flexible).map_err(|_| unreadable.clone())?;
            let answer = responses::read::<ProduceResponse<'_>>(asked.version, &frame)
                .map_err(|_| unreadable)?;
            let outcomes = answer
                .responses
                .into_iter()
                .flat_map(|topic| topic.partition_responses.into_iter());
            let parts = asked
                .parts
                .into_iter()
                .zip(outcomes)
                .map(|((partition, records), outcome)| (partition, outcome.error_code, records));
            done.push(Produced {
                name: format!("request {number} of {name}"),
                acks: asked.acks,
                answered: line,
                parts: parts.collect(),
            });
        }
        Ok(())
    }
}
