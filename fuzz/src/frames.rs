//! Target: the frame splitter, fed one stream in pieces of any size, and the headers inside.
//!
//! Held: however the stream is cut, the same frames come out, in order, then the same refusal; a
//! frame is the stream's own bytes; a header that was read is written and read the same again.

use bytes::{Bytes, BytesMut};
use millrace_protocol::api::Api;
use millrace_protocol::frame::{self, FrameError, FrameLimits, LEN_BYTES};
use millrace_protocol::header;

use crate::allocation::{Bound, within};
use crate::input::Input;
use crate::progress;

/// How many sizes of pieces an input names; they are used in turn.
const PIECES: usize = 8;

const LIMITS: [FrameLimits; 4] = [
    FrameLimits {
        bytes_min: frame::RESPONSE_BYTES_MIN,
        bytes_max: 200,
    },
    FrameLimits {
        bytes_min: 0,
        bytes_max: i32::MAX as u32,
    },
    FrameLimits::REQUEST,
    FrameLimits::PRE_AUTHENTICATION,
];

/// One input: which limits, the sizes of pieces, the stream.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let limits = *input.choice(&LIMITS);
    let pieces: [usize; PIECES] = std::array::from_fn(|_| usize::from(input.byte()) + 1);
    let stream = input.0;
    within(Bound::STRICT, stream.len(), || {
        split(stream, pieces, limits);
    });
    within(Bound::STRICT, stream.len(), || headers(stream));
}

fn split(stream: &[u8], pieces: [usize; PIECES], limits: FrameLimits) {
    let mut expected = Expected {
        rest: stream,
        limits,
    };
    let (mut buf, mut left) = (BytesMut::new(), stream);
    for piece in pieces.into_iter().cycle() {
        let (piece, rest) = left.split_at(piece.min(left.len()));
        left = rest;
        buf.extend_from_slice(piece);
        loop {
            let held = buf.len();
            match frame::decode(&mut buf, limits) {
                Ok(Some(frame)) => {
                    assert_eq!(Ok(Some(&frame[..])), expected.next(), "a frame");
                    headers(&frame);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(buf.len(), held, "a refusal takes nothing");
                    assert_eq!(Err(error), expected.next(), "a refusal");
                    return;
                }
            }
        }
        if left.is_empty() {
            break;
        }
    }
    assert_eq!(Ok(None), expected.next(), "no more than there is");
    assert_eq!(&buf[..], expected.rest, "what is left is untouched");
}

/// The frames of a whole stream, cut as plainly as can be.
struct Expected<'a> {
    rest: &'a [u8],
    limits: FrameLimits,
}

impl<'a> Expected<'a> {
    fn next(&mut self) -> Result<Option<&'a [u8]>, FrameError> {
        let Some((field, after)) = self.rest.split_first_chunk::<LEN_BYTES>() else {
            return Ok(None);
        };
        let len = i32::from_be_bytes(*field);
        if i64::from(len) < i64::from(self.limits.bytes_min)
            || i64::from(len) > i64::from(self.limits.bytes_max)
        {
            let limits = self.limits;
            return Err(FrameError { len, limits });
        }
        let Some((frame, rest)) = after.split_at_checked(len.unsigned_abs() as usize) else {
            return Ok(None);
        };
        self.rest = rest;
        Ok(Some(frame))
    }
}

fn headers(stream: &[u8]) {
    let whole = Bytes::copy_from_slice(stream);
    for flexible in [false, true] {
        let mut body = whole.clone();
        if let Ok(read) = header::decode_request(&mut body, flexible) {
            assert_eq!(
                header::peek_api(&whole),
                Some((read.api_key, read.api_version))
            );
            assert!(whole.ends_with(&body), "the body is the rest");
            let known = Api::from_key(read.api_key);
            if known.is_some_and(|api| api.row().served.contains(read.api_version)) {
                progress::past_the_header();
            }
            let mut out = BytesMut::new();
            header::encode_request(&read, flexible, &mut out);
            assert_eq!(
                header::decode_request(&mut out.freeze(), flexible),
                Ok(read)
            );
        }
        let mut body = whole.clone();
        if let Ok(correlation_id) = header::decode_response(&mut body, flexible) {
            assert!(whole.ends_with(&body), "the body is the rest");
            let mut out = BytesMut::new();
            header::encode_response(correlation_id, flexible, &mut out);
            assert_eq!(
                header::decode_response(&mut out.freeze(), flexible),
                Ok(correlation_id)
            );
        }
    }
}
