//! Frames: an int32 length, then as many bytes. Cut from a read buffer without copying.
//!
//! Always: a length outside the limits is refused as soon as its four bytes are there, before
//! anything is reserved for it; the buffer is never grown here, so it holds no more than was
//! received; a frame's bytes are the buffer's own, split off.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of the length field.
pub const LEN_BYTES: usize = 4;

/// Longest frame of a client that has not authenticated on a listener that asks for it (Kafka's
/// `sasl.server.max.receive.size`, CVE-2022-34917).
pub const PRE_AUTHENTICATION_BYTES_MAX: u32 = 512 * 1024;

/// Longest frame otherwise, unless configured (`socket.request.max.bytes`).
pub const REQUEST_BYTES_MAX: u32 = 100 * 1024 * 1024;

/// Shortest request: key, version, correlation id, and a client id of no bytes.
pub const REQUEST_BYTES_MIN: u32 = 10;

/// Shortest response: a correlation id.
pub const RESPONSE_BYTES_MIN: u32 = 4;

/// What lengths are believed. The length field itself is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Shortest, bytes.
    pub bytes_min: u32,
    /// Longest, bytes; at most 2147483647.
    pub bytes_max: u32,
}

impl FrameLimits {
    /// Of a client that has authenticated, or need not.
    pub const REQUEST: Self = Self {
        bytes_min: REQUEST_BYTES_MIN,
        bytes_max: REQUEST_BYTES_MAX,
    };
    /// Of a client that has yet to authenticate.
    pub const PRE_AUTHENTICATION: Self = Self {
        bytes_min: REQUEST_BYTES_MIN,
        bytes_max: PRE_AUTHENTICATION_BYTES_MAX,
    };
}

/// A length that is not believed. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes, when {} to {} are allowed", .limits.bytes_min, .limits.bytes_max)]
pub struct FrameError {
    /// The length as it was sent.
    pub len: i32,
    /// What would have been believed.
    pub limits: FrameLimits,
}

/// Length of the frame at the start of `buf`, its length field not counted; `None` until the four
/// bytes are there. A caller that budgets memory reserves by this before it reads on.
pub fn announced_len(buf: &[u8], limits: FrameLimits) -> Result<Option<u32>, FrameError> {
    let Some(field) = buf.first_chunk::<LEN_BYTES>() else {
        return Ok(None);
    };
    let len = i32::from_be_bytes(*field);
    match u32::try_from(len) {
        Ok(fits) if (limits.bytes_min..=limits.bytes_max).contains(&fits) => Ok(Some(fits)),
        _ => Err(FrameError { len, limits }),
    }
}

/// Splits the first frame off `buf`, without its length field; `None` until it is there whole. After
/// an error `buf` is as it was.
pub fn decode(buf: &mut BytesMut, limits: FrameLimits) -> Result<Option<Bytes>, FrameError> {
    let Some(len) = announced_len(buf, limits)? else {
        return Ok(None);
    };
    if buf.len() - LEN_BYTES < len as usize {
        return Ok(None);
    }
    buf.advance(LEN_BYTES);
    Ok(Some(buf.split_to(len as usize).freeze()))
}

/// Appends the length field of a frame of `len` bytes, which the caller sends next; `None`, and
/// nothing appended, when no frame can be so long.
pub fn encode_len(len: usize, out: &mut BytesMut) -> Option<()> {
    out.put_i32(i32::try_from(len).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SMALL: FrameLimits = FrameLimits {
        bytes_min: 4,
        bytes_max: 1000,
    };

    #[test]
    fn a_length_that_is_not_believed_is_refused_at_its_fourth_byte() {
        let http = i32::from_be_bytes(*b"GET ");
        for len in [i32::MIN, -1, 0, 3, 1001, http, i32::MAX] {
            let mut buf = BytesMut::from(&len.to_be_bytes()[..]);
            let capacity = buf.capacity();
            assert_eq!(
                decode(&mut buf, SMALL),
                Err(FrameError { len, limits: SMALL })
            );
            assert_eq!(
                (buf.len(), buf.capacity()),
                (4, capacity),
                "nothing taken or reserved"
            );
        }
        let too_long = 512 * 1024_i32 + 1;
        let limits = FrameLimits::PRE_AUTHENTICATION;
        assert!(announced_len(&too_long.to_be_bytes(), limits).is_err());
        assert!(announced_len(&(too_long - 1).to_be_bytes(), limits).is_ok());
    }

    #[test]
    fn a_frame_is_the_buffers_own_bytes() {
        let mut buf = BytesMut::new();
        encode_len(6, &mut buf).unwrap();
        buf.put_slice(b"abcdef");
        let at = buf[LEN_BYTES..].as_ptr();
        let frame = decode(&mut buf, SMALL).unwrap().unwrap();
        assert_eq!((&frame[..], frame.as_ptr()), (&b"abcdef"[..], at));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 4..40), 0..6),
            cuts in prop::collection::vec(1..9_usize, 1..50),
        ) {
            let mut stream = BytesMut::new();
            for frame in &frames {
                encode_len(frame.len(), &mut stream).unwrap();
                stream.put_slice(frame);
            }
            let (mut buf, mut out) = (BytesMut::new(), Vec::new());
            for cut in cuts.into_iter().chain(std::iter::repeat(7)) {
                let cut = cut.min(stream.len());
                buf.extend_from_slice(&stream.split_to(cut));
                while let Some(frame) = decode(&mut buf, SMALL).unwrap() {
                    out.push(frame.to_vec());
                }
                if stream.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(out, frames);
            prop_assert!(buf.is_empty());
        }
    }
}
