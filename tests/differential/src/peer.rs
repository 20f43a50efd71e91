//! One connection to a broker: frames out, frames in.
//!
//! What always holds: waiting for an answer has a deadline; an answer of another request than the one
//! that was sent first is an error.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use millrace_protocol::api::Api;

/// Bytes of one answer, so that a broken length doesn't take the machine's memory.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How a connection that is closed shows.
const CLOSED: [ErrorKind; 4] = [
    ErrorKind::UnexpectedEof,
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::BrokenPipe,
];
/// How a deadline that has passed shows.
const LATE: [ErrorKind; 2] = [ErrorKind::WouldBlock, ErrorKind::TimedOut];

/// What came instead of what was waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The broker closed the connection.
    Closed,
    /// Nothing came, or something that can't be.
    Broken(String),
}

/// A connection with the requests that are under way on it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// For how long an answer is waited for.
    limit: Duration,
    next: i32,
    /// Correlation id and version of the answer's header.
    under_way: VecDeque<(i32, i16)>,
}

impl Connection {
    /// A fresh connection, on which an answer is waited for so long.
    pub fn open(address: SocketAddr, limit: Duration) -> Result<Self, Failure> {
        let broken = |error: std::io::Error| Failure::Broken(format!("{address}: {error}"));
        let stream = TcpStream::connect(address).map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        stream.set_read_timeout(Some(limit)).map_err(broken)?;
        Ok(Self {
            stream,
            limit,
            next: 0,
            under_way: VecDeque::new(),
        })
    }

    /// Sends a request; its answer is awaited unless there is none.
    pub fn send(
        &mut self,
        key: i16,
        version: i16,
        client: Option<&str>,
        body: &[u8],
        is_answered: bool,
    ) -> Result<(), Failure> {
        let row = Api::from_key(key).map(Api::row);
        let is_flexible = row.is_some_and(|row| row.is_flexible(version));
        let mut frame = vec![0; 4];
        frame.extend(key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(self.next.to_be_bytes());
        match client {
            None => frame.extend((-1i16).to_be_bytes()),
            Some(id) => {
                frame.extend(u16::try_from(id.len()).unwrap_or(u16::MAX).to_be_bytes());
                frame.extend(id.as_bytes());
            }
        }
        if is_flexible {
            frame.push(0);
        }
        frame.extend(body);
        let len = u32::try_from(frame.len() - 4).expect("requests of cases are small");
        frame[..4].copy_from_slice(&len.to_be_bytes());
        if is_answered {
            let header = row.map_or(0, |row| row.response_header_version(version));
            self.under_way.push_back((self.next, header));
        }
        self.next += 1;
        // A connection that is closed shows when the answer is read.
        match self.stream.write_all(&frame) {
            Ok(()) => Ok(()),
            Err(_) if is_answered => Ok(()),
            Err(_) => Err(Failure::Closed),
        }
    }

    /// The body of the answer to the first request under way.
    pub fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let (id, header) = self
            .under_way
            .pop_front()
            .ok_or(Failure::Broken("nothing is under way".into()))?;
        let len = self.take(4)?;
        let len = u32::from_be_bytes([len[0], len[1], len[2], len[3]]);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if !(4..=ANSWER_BYTES_MAX).contains(&len) {
            return Err(Failure::Broken(format!("an answer of {len} bytes")));
        }
        let frame = self.take(len)?;
        if frame[..4] != id.to_be_bytes() {
            return Err(Failure::Broken("the answer is another request's".into()));
        }
        if header == 0 {
            return Ok(frame[4..].to_vec());
        }
        match frame.get(4) {
            Some(0) => Ok(frame[5..].to_vec()),
            _ => Err(Failure::Broken("the header has tags".into())),
        }
    }

    /// Waits for so long, or until something comes or the broker closes; what is wrong shows when the
    /// next answer is read.
    pub fn listen(&self, limit: Duration) {
        drop(self.stream.set_read_timeout(Some(limit)));
        drop(self.stream.peek(&mut [0]));
        drop(self.stream.set_read_timeout(Some(self.limit)));
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; len];
        match self.stream.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if CLOSED.contains(&error.kind()) => Err(Failure::Closed),
            Err(error) if LATE.contains(&error.kind()) => Err(Failure::Broken(format!(
                "no answer within {:?}",
                self.limit
            ))),
            Err(error) => Err(Failure::Broken(error.to_string())),
        }
    }
}
