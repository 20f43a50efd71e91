//! Target: frames written from Kafka's schemas, whole or with one thing broken.
//!
//! Held: a message that the schema allows is read, whatever stands in its fields; one that is broken
//! anywhere is read or refused by both codecs alike, without memory; header and frame come apart
//! again as they were put together.

mod table;
mod write;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_protocol::api::Api;
use millrace_protocol::frame::{self, FrameLimits};
use millrace_protocol::header;

use crate::input::Input;
use crate::messages::{name, named};
use crate::{progress, requests, responses};
use write::Writer;

/// One input: request or answer, which at which version, what is broken, then choices and values.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let flags = input.byte();
    let is_request = flags & 1 == 0;
    let (api, version) = named(&mut input);
    // One field in so many is the broken one; none in half of all inputs.
    let broken = (flags & 2 != 0).then(|| usize::from(input.byte() % 48));
    let header_tags = flags & 4 != 0;
    let mut writer = Writer::new(version, api.row().is_flexible(version), broken);
    writer.message(table::fields(api, is_request), &mut input);
    let is_whole = !writer.is_broken();
    let body = Bytes::from(writer.out);
    if is_request {
        header_and_body(api, version, &body, header_tags);
    }
    let which = name(api, version).expect("it is served");
    let judged = [&which[..], &body].concat();
    let is_read = if is_request {
        requests::judge(&judged)
    } else {
        responses::judge(&judged)
    };
    assert!(
        is_read || !is_whole,
        "{api:?} {version}: what Kafka's schema allows is refused"
    );
    if is_read {
        progress::past_the_header();
    }
}

/// A frame with header and body comes apart as it was put together.
fn header_and_body(api: Api, version: i16, body: &Bytes, with_tags: bool) {
    let flexible = api.row().is_flexible(version);
    let mut frame = BytesMut::new();
    frame.put_i16(api.key());
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_i16(-1);
    if flexible && with_tags {
        frame.put_slice(&[2, 3, 1, 0xff, 9, 0]);
    } else if flexible {
        frame.put_u8(0);
    }
    frame.put_slice(body);
    let mut stream = BytesMut::new();
    stream.put_u32(frame.len() as u32);
    stream.put_slice(&frame);
    let cut = frame::decode(&mut stream, FrameLimits::REQUEST);
    let mut cut = cut.expect("it is within the limits").expect("it is whole");
    assert_eq!(header::peek_api(&cut), Some((api.key(), version)));
    let read = header::decode_request(&mut cut, flexible).expect("it has a header");
    assert_eq!((read.correlation_id, read.client_id), (7, None));
    assert_eq!(cut, body, "the body is the rest");
}
