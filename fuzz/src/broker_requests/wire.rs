//! One client's connection, on which requests go one after the other.
//!
//! What always holds: an answer carries the number of its request and is read whole in the version
//! that was asked; no answer for a minute of virtual time is a failure, not a wait.

use std::fmt::Debug;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::Poll;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_host::{Connection, Host, Piece};
use millrace_protocol::api::Api;
use millrace_protocol::frame::{self, FrameLimits, RESPONSE_BYTES_MIN};
use millrace_protocol::header::{self, RequestHeader};
use millrace_protocol::messages::{DecodeLimits, Message, decode, encode};

/// Where the broker listens.
pub(super) const PORT: u16 = 9092;

/// A client that waits longer, in virtual time, waits for nothing.
const PATIENCE: Duration = Duration::from_mins(1);

/// Set while one input is replayed.
const SHOW_VARIABLE: &str = "MILLRACE_FUZZ_SHOW";

const ANSWERS: FrameLimits = FrameLimits {
    bytes_min: RESPONSE_BYTES_MIN,
    bytes_max: 64 << 20,
};

/// Tells a replay what happens.
pub(super) fn show(line: impl FnOnce() -> String) {
    static SHOWN: LazyLock<bool> = LazyLock::new(|| std::env::var_os(SHOW_VARIABLE).is_some());
    if *SHOWN {
        eprintln!("{}", line());
    }
}

/// An open connection.
pub(super) struct Wire {
    client: Host,
    connection: Connection,
    number: i32,
    read: BytesMut,
}

impl Wire {
    /// Connects to the broker.
    pub(super) async fn connect(client: &Host) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], PORT));
        let connected = client.net.connect(address).await;
        Self {
            client: client.clone(),
            connection: connected.expect("the broker listens"),
            number: 0,
            read: BytesMut::new(),
        }
    }

    /// Asks, and gives the answer; `None` when the broker closed the connection instead.
    pub(super) async fn ask<Q: Message + Debug, A: Message + Debug>(
        &mut self,
        (api, version): (Api, i16),
        request: &Q,
    ) -> Option<A> {
        self.tell((api, version), request).await;
        self.answer((api, version)).await
    }

    /// The answer to the last request; `None` when the broker closed the connection instead.
    pub(super) async fn answer<A: Message + Debug>(
        &mut self,
        (api, version): (Api, i16),
    ) -> Option<A> {
        let mut answer = self.receive().await?;
        let has_tags = api.row().response_header_version(version) == 1;
        let number = header::decode_response(&mut answer, has_tags);
        assert_eq!(number, Ok(self.number), "answers come in order");
        let limits = DecodeLimits::default();
        let answer = decode(version, answer, &limits);
        let answer: A = answer.expect("an answer in the version that was asked");
        show(|| format!("    {answer:?}"));
        Some(answer)
    }

    /// Sends a request that has no answer, or one that is waited for later.
    pub(super) async fn tell<Q: Message + Debug>(
        &mut self,
        (api, version): (Api, i16),
        request: &Q,
    ) {
        show(|| format!("{version}: {request:?}"));
        let body = encode(request, version).expect("the version has the fields");
        self.send(&self.framed((api, version), &body)).await;
    }

    /// A request as it is sent, with its length.
    pub(super) fn framed(&self, (api, version): (Api, i16), body: &[u8]) -> BytesMut {
        let header = RequestHeader {
            api_key: api.key(),
            api_version: version,
            correlation_id: self.number.wrapping_add(1),
            client_id: Some(Bytes::from_static(b"fuzz")),
        };
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        header::encode_request(&header, api.row().is_flexible(version), &mut frame);
        frame.put_slice(body);
        let len = (frame.len() - frame::LEN_BYTES) as u32;
        frame[..frame::LEN_BYTES].copy_from_slice(&len.to_be_bytes());
        frame
    }

    /// Sends bytes as they are.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.number = self.number.wrapping_add(1);
        let piece = Piece::Bytes(Bytes::copy_from_slice(bytes));
        // A connection that is closed already is seen when an answer is wanted.
        drop(self.connection.write.send(vec![piece]).await);
    }

    /// The next frame; `None` when the connection has ended.
    pub(super) async fn receive(&mut self) -> Option<Bytes> {
        loop {
            let whole = frame::decode(&mut self.read, ANSWERS);
            if let Some(frame) = whole.expect("the broker writes frames") {
                return Some(frame);
            }
            let Self {
                client,
                connection,
                read,
                ..
            } = self;
            let clock = &client.clock;
            let mut end = pin!(clock.sleep_until(clock.now().mono + PATIENCE));
            let mut more = pin!(connection.read.read(read, 1 << 16));
            let count = poll_fn(|cx| {
                if let Poll::Ready(count) = more.as_mut().poll(cx) {
                    return Poll::Ready(count);
                }
                assert!(end.as_mut().poll(cx).is_pending(), "no answer for a minute");
                Poll::Pending
            });
            match count.await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}
