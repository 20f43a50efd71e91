//! A client that speaks byte by byte, for the tests of a whole node.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use millrace_host::{Connection, Host, Piece};
use millrace_protocol::api::Api;
use millrace_protocol::header::{self, RequestHeader};
use millrace_protocol::messages::{
    self, ApiVersionsRequest, ApiVersionsResponse, DecodeLimits, Message,
};

/// How long a reply or the end of the connection may take.
const PATIENCE: Duration = Duration::from_mins(20);

/// One connection of a client.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    /// What it calls itself.
    pub(crate) name: &'static str,
    host: Host,
    buf: BytesMut,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(host: &Host, address: SocketAddr) -> Self {
        let connection = host.net.connect(address).await.unwrap();
        Self {
            connection,
            name: "test",
            host: host.clone(),
            buf: BytesMut::new(),
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl Into<Bytes>) {
        self.connection
            .write
            .send(vec![Piece::Bytes(bytes.into())])
            .await
            .unwrap();
    }

    /// Sends a request with correlation id 7.
    pub(crate) async fn send_request(
        &mut self,
        key: i16,
        version: i16,
        flexible: bool,
        body: &[u8],
    ) {
        let header = RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id: 7,
            client_id: Some(Bytes::from_static(self.name.as_bytes())),
        };
        let mut frame = BytesMut::new();
        header::encode_request(&header, flexible, &mut frame);
        frame.extend_from_slice(body);
        let mut bytes = BytesMut::from(&u32::try_from(frame.len()).unwrap().to_be_bytes()[..]);
        bytes.extend_from_slice(&frame);
        self.send(bytes.freeze()).await;
    }

    /// The next reply, after its length; `None` when the node closes instead.
    pub(crate) async fn reply(&mut self) -> Option<Bytes> {
        let deadline = self.host.clock.now().mono + PATIENCE;
        let mut late = self.host.clock.sleep_until(deadline);
        loop {
            if let Some(len) = self.buf.first_chunk::<4>() {
                let len = u32::from_be_bytes(*len) as usize;
                if self.buf.len() >= 4 + len {
                    self.buf.advance(4);
                    return Some(self.buf.split_to(len).freeze());
                }
            }
            tokio::select! {
                biased;
                read = self.connection.read.read(&mut self.buf, 65536) => {
                    if read.unwrap_or(0) == 0 {
                        return None;
                    }
                }
                () = &mut late => panic!("neither a reply nor the end of the connection"),
            }
        }
    }

    /// Sends a request and decodes its reply.
    pub(crate) async fn ask<Q: Message, A: Message>(
        &mut self,
        api: Api,
        version: i16,
        request: &Q,
    ) -> A {
        let body = messages::encode(request, version).unwrap();
        let row = api.row();
        self.send_request(api.key(), version, row.is_flexible(version), &body)
            .await;
        let mut reply = self.reply().await.expect("a reply");
        let tags = row.response_header_version(version) == 1;
        assert_eq!(header::decode_response(&mut reply, tags), Ok(7));
        messages::decode(version, reply, &DecodeLimits::default()).unwrap()
    }

    /// Asks for the versions, and says whether there was an answer.
    pub(crate) async fn is_served(&mut self) -> bool {
        let request = ApiVersionsRequest::default();
        let response: ApiVersionsResponse = self.ask(Api::ApiVersions, 0, &request).await;
        response.error_code == 0 && !response.api_keys.is_empty()
    }
}
