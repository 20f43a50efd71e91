//! The lightest client there is: a blocking socket and one buffer that is filled again and again. For
//! figures in which an executor of our own would be as large as what is measured.
//!
//! What always holds: answers are taken in the order in which requests were sent, and an answer with
//! another correlation id is an error.

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use millrace_client::Call;
use millrace_protocol::header::{RequestHeader, encode_request};
use millrace_protocol::responses::{self, ProduceResponse};

use crate::text;

/// A broker that says nothing for so long never will.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Length and correlation id, before every answer's body.
const LENGTH_BYTES: usize = 4;
const ID_BYTES: usize = 4;

/// The end that requests leave from.
#[derive(Debug)]
pub(crate) struct Sender {
    stream: TcpStream,
    head: BytesMut,
    next_id: i32,
}

/// The end that answers come to.
#[derive(Debug)]
pub(crate) struct Receiver {
    stream: TcpStream,
    buf: Vec<u8>,
    next_id: i32,
}

/// Connects to a broker.
pub(crate) fn connect(address: SocketAddr) -> Result<(Sender, Receiver), String> {
    let connected = || -> io::Result<_> {
        let stream = TcpStream::connect_timeout(&address, SILENCE_MAX)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let sender = Sender {
            stream: stream.try_clone()?,
            head: BytesMut::new(),
            next_id: 0,
        };
        let receiver = Receiver {
            stream,
            buf: Vec::new(),
            next_id: 0,
        };
        Ok((sender, receiver))
    };
    connected().map_err(|error| format!("{address}: {error}"))
}

impl Sender {
    /// Sends a request whose body is encoded.
    pub(crate) fn send(&mut self, call: Call, body: &[u8]) -> Result<(), String> {
        let header = RequestHeader {
            api_key: call.api_key,
            api_version: call.api_version,
            correlation_id: self.next_id,
            client_id: None,
        };
        self.next_id = self.next_id.wrapping_add(1);
        self.head.clear();
        self.head.put_i32(0);
        encode_request(&header, call.flexible, &mut self.head);
        let frame = self.head.len() - LENGTH_BYTES + body.len();
        let frame = i32::try_from(frame).map_err(text)?;
        self.head[..LENGTH_BYTES].copy_from_slice(&frame.to_be_bytes());
        let mut parts = [IoSlice::new(&self.head), IoSlice::new(body)];
        let mut parts = &mut parts[..];
        while !parts.is_empty() {
            match self.stream.write_vectored(parts) {
                Ok(0) => return Err("the broker takes nothing more".to_owned()),
                Ok(written) => IoSlice::advance_slices(&mut parts, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("sending: {error}")),
            }
        }
        Ok(())
    }
}

impl Receiver {
    /// Waits for the answer to the oldest request without one; its body, until the next is asked for.
    pub(crate) fn receive(&mut self, call: Call) -> Result<&[u8], String> {
        let failed = |error: io::Error| format!("an answer: {error}");
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length).map_err(failed)?;
        let frame = usize::try_from(i32::from_be_bytes(length)).map_err(text)?;
        let head = ID_BYTES + usize::from(call.flexible);
        if !(head..=ANSWER_BYTES_MAX).contains(&frame) {
            return Err(format!("an answer of {frame} bytes"));
        }
        if self.buf.len() < frame {
            self.buf.resize(frame, 0);
        }
        let answer = &mut self.buf[..frame];
        self.stream.read_exact(answer).map_err(failed)?;
        let wanted = self.next_id.to_be_bytes();
        self.next_id = self.next_id.wrapping_add(1);
        let (header, body) = answer.split_at(head);
        // No tag of an answer's header is known, so there is none.
        if header[..ID_BYTES] != wanted || header[ID_BYTES..].iter().any(|tags| *tags != 0) {
            return Err(format!("an answer begins with {header:?}"));
        }
        Ok(body)
    }
}

/// An error when the answer to a Produce refuses a batch.
pub(crate) fn accepted(call: Call, answer: &[u8]) -> Result<(), String> {
    let answer: ProduceResponse<'_> = responses::read(call.api_version, answer).map_err(text)?;
    let topics = answer.responses.into_iter();
    let mut rows = topics.flat_map(|topic| topic.partition_responses);
    rows.find(|row| row.error_code != 0).map_or(Ok(()), |row| {
        let (code, reason) = (row.error_code, row.error_message.unwrap_or_default());
        Err(format!("a batch was refused: {code} {reason}"))
    })
}
