//! Requests and answers of a broker that follows a script.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millrace_host::{Connection, Piece};
use millrace_protocol::api::Api;
use millrace_protocol::header::{RequestHeader, decode_request, encode_response, peek_api};

/// The next request; `None` once the client has hung up.
pub(crate) async fn next_request(
    connection: &mut Connection,
    buf: &mut BytesMut,
) -> Option<(RequestHeader, Bytes)> {
    loop {
        if let Some(length) = buf.first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap();
            if buf.len() >= 4 + length {
                buf.advance(4);
                let mut frame = buf.split_to(length).freeze();
                let (key, version) = peek_api(&frame).unwrap();
                let flexible = Api::from_key(key).unwrap().row().is_flexible(version);
                let header = decode_request(&mut frame, flexible).unwrap();
                return Some((header, frame));
            }
        }
        if connection.read.read(buf, 4096).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// The answer to a request, as it goes over the wire.
pub(crate) fn framed(header: &RequestHeader, body: Bytes) -> Vec<Piece> {
    let api = Api::from_key(header.api_key).unwrap().row();
    let has_tags = api.response_header_version(header.api_version) == 1;
    let mut head = BytesMut::new();
    encode_response(header.correlation_id, has_tags, &mut head);
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(head.len() + body.len()).unwrap());
    frame.put_slice(&head);
    vec![Piece::Bytes(frame.freeze()), Piece::Bytes(body)]
}
