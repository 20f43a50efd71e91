//! The first bytes of every request: frame length, API key, version, correlation id, client id.
//!
//! Nothing here is allocated by what a length field says; whatever does not fit is an error that
//! ends the connection.

use bytes::{Buf, Bytes};

use crate::outcome::{Close, CloseReason};

/// Bytes of a frame's length field.
pub(crate) const LEN_BYTES: usize = 4;

/// API key, version and correlation id: the shortest header there is.
const FIXED_BYTES: usize = 8;

/// The part of a request header that stands at the same place in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FixedHeader {
    /// Which API.
    pub(crate) api_key: i16,
    /// In which version.
    pub(crate) api_version: i16,
    /// Stands in the response too.
    pub(crate) correlation_id: i32,
}

/// The length of the frame that starts `buf`, its length field not counted; `None` until that field
/// is there. Never more than `bytes_max`.
pub(crate) fn frame_len(buf: &[u8], bytes_max: u32) -> Result<Option<usize>, Close> {
    let Some(field) = buf.first_chunk::<LEN_BYTES>() else { return Ok(None) };
    let len = i32::from_be_bytes(*field);
    match u32::try_from(len) {
        Ok(fits) if fits as usize >= FIXED_BYTES && fits <= bytes_max => Ok(Some(fits as usize)),
        _ => {
            let detail = format!(
                "a frame of {len} bytes; a request has {FIXED_BYTES} to {bytes_max} \
                 (socket.request.max.bytes). Is this a Kafka client?"
            );
            Err(Close::new(CloseReason::FrameLength, detail))
        }
    }
}

/// Takes the fixed part off a frame, which [`frame_len`] has found long enough.
pub(crate) fn take_fixed(frame: &mut Bytes) -> Result<FixedHeader, Close> {
    if frame.len() < FIXED_BYTES {
        return Err(Close::new(CloseReason::Unparsable, "a request shorter than its header"));
    }
    Ok(FixedHeader {
        api_key: frame.get_i16(),
        api_version: frame.get_i16(),
        correlation_id: frame.get_i32(),
    })
}

/// Takes the client id and, of a flexible version, the tags off a frame; what is left is the body.
/// A null client id is an empty one. Unknown tags are skipped.
pub(crate) fn take_client_id(frame: &mut Bytes, flexible: bool) -> Result<Bytes, Close> {
    let unparsable = |what| Close::new(CloseReason::Unparsable, what);
    let len = frame.try_get_i16().map_err(|_| unparsable("no client id in the request header"))?;
    let client_id = match usize::try_from(len) {
        Ok(len) if len <= frame.len() => frame.split_to(len),
        Err(_) if len == -1 => Bytes::new(),
        _ => return Err(unparsable("a client id longer than its request")),
    };
    if flexible {
        skip_tags(frame).ok_or_else(|| unparsable("bad tags in the request header"))?;
    }
    Ok(client_id)
}

/// Each tag takes at least two bytes, so the loop is bounded by the bytes there are.
fn skip_tags(frame: &mut Bytes) -> Option<()> {
    let count = take_uvarint(frame)?;
    for _ in 0..count {
        let _tag = take_uvarint(frame)?;
        let size = usize::try_from(take_uvarint(frame)?).ok()?;
        if size > frame.len() {
            return None;
        }
        frame.advance(size);
    }
    Some(())
}

fn take_uvarint(frame: &mut Bytes) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let byte = frame.try_get_u8().ok()?;
        let bits = u32::from(byte & 0x7f);
        if shift == 28 && bits > 0x0f {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_length_out_of_bounds_is_refused_before_anything_is_read() {
        let len = |len: i32| frame_len(&len.to_be_bytes(), 1000).map_err(|close| close.reason);
        for bad in [i32::MIN, -1, 0, 7, 1001, i32::MAX, i32::from_be_bytes(*b"GET ")] {
            assert_eq!(len(bad), Err(CloseReason::FrameLength), "{bad}");
        }
        assert_eq!(len(8), Ok(Some(8)));
        assert_eq!(len(1000), Ok(Some(1000)));
        assert_eq!(frame_len(&[0, 0, 0], 1000), Ok(None));
    }

    fn client_id(bytes: &[u8], flexible: bool) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut frame = Bytes::copy_from_slice(bytes);
        let id = take_client_id(&mut frame, flexible).ok()?;
        Some((id.to_vec(), frame.to_vec()))
    }

    #[test]
    fn client_ids_and_tags_are_taken_off_and_bad_ones_refused() {
        let some = |id: &[u8], body: &[u8]| Some((id.to_vec(), body.to_vec()));
        assert_eq!(client_id(b"\x00\x02abBODY", false), some(b"ab", b"BODY"));
        assert_eq!(client_id(b"\xff\xffBODY", false), some(b"", b"BODY"));
        assert_eq!(client_id(b"\x00\x00\x00BODY", true), some(b"", b"BODY"));
        let two_tags = b"\x00\x01x\x02\x00\x03abc\xff\xff\xff\xff\x0f\x00BODY";
        assert_eq!(client_id(two_tags, true), some(b"x", b"BODY"));
        for bad in [
            &b"\x00"[..],
            b"\x00\x05abc",
            b"\xff\xfeabc",
            b"\x00\x00",
            b"\x00\x00\x01\x00\x09a",
            b"\x00\x00\xff\xff\xff\xff\x0f",
            b"\x00\x00\xff\xff\xff\xff\x1f\x00",
            b"\x00\x00\x80\x80\x80\x80\x80\x00",
        ] {
            assert_eq!(client_id(bad, true), None, "{bad:?}");
        }
    }
}
