//! Request and response headers.
//!
//! What always holds: API key and version are read before anything that depends on them; the
//! client id keeps the old string form even in the flexible header; unknown tags are skipped, never
//! kept.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Tags that a header may carry; none is known today.
const TAGS_MAX: u32 = 64;

/// The header of a request, version 1 or 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Kafka's API key, known or not.
    pub api_key: i16,
    /// The version that the request speaks, served or not.
    pub api_version: i16,
    /// Repeated in the answer.
    pub correlation_id: i32,
    /// What the client calls itself, if it does; a slice of the request's bytes, UTF-8.
    pub client_id: Option<Bytes>,
}

impl RequestHeader {
    /// The client id as text; empty for null.
    pub fn client_id(&self) -> &str {
        let client_id = self.client_id.as_deref().unwrap_or_default();
        std::str::from_utf8(client_id).unwrap_or_default()
    }
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The request ends within its header.
    #[error("the request ends within its header")]
    Short,
    /// The client id isn't UTF-8.
    #[error("the client id isn't UTF-8")]
    ClientId,
    /// The tag section is malformed, or larger than any client sends.
    #[error("the header's tag section can't be read")]
    Tags,
}

/// The four numbers at the start of every request, without taking them: API key and version.
pub fn peek_api(frame: &[u8]) -> Option<(i16, i16)> {
    let [key_high, key_low, version_high, version_low] = *frame.first_chunk::<4>()?;
    Some((
        i16::from_be_bytes([key_high, key_low]),
        i16::from_be_bytes([version_high, version_low]),
    ))
}

/// Takes the header from the front of `frame`, leaving the body. `flexible` says whether the
/// header ends in a tag section (version 2).
pub fn decode_request(frame: &mut Bytes, flexible: bool) -> Result<RequestHeader, HeaderError> {
    if frame.len() < 10 {
        return Err(HeaderError::Short);
    }
    let api_key = frame.get_i16();
    let api_version = frame.get_i16();
    let correlation_id = frame.get_i32();
    let client_id_bytes = frame.get_i16();
    let client_id = match usize::try_from(client_id_bytes) {
        Ok(len) if len <= frame.len() => Some(frame.split_to(len)),
        Ok(_) => return Err(HeaderError::Short),
        Err(_) if client_id_bytes == -1 => None,
        Err(_) => return Err(HeaderError::ClientId),
    };
    let text = client_id.as_deref().unwrap_or_default();
    if std::str::from_utf8(text).is_err() {
        return Err(HeaderError::ClientId);
    }
    if flexible {
        skip_tags(frame)?;
    }
    Ok(RequestHeader {
        api_key,
        api_version,
        correlation_id,
        client_id,
    })
}

/// Appends a request header.
pub fn encode_request(header: &RequestHeader, flexible: bool, out: &mut BytesMut) {
    out.put_i16(header.api_key);
    out.put_i16(header.api_version);
    out.put_i32(header.correlation_id);
    match &header.client_id {
        Some(client_id) => {
            let client_id = &client_id[..client_id.len().min(i16::MAX as usize)];
            out.put_i16(client_id.len() as i16);
            out.put_slice(client_id);
        }
        None => out.put_i16(-1),
    }
    if flexible {
        out.put_u8(0);
    }
}

/// Takes a response header from the front of `frame`; gives the correlation id.
pub fn decode_response(frame: &mut Bytes, has_tags: bool) -> Result<i32, HeaderError> {
    if frame.len() < 4 {
        return Err(HeaderError::Short);
    }
    let correlation_id = frame.get_i32();
    if has_tags {
        skip_tags(frame)?;
    }
    Ok(correlation_id)
}

/// Appends a response header.
pub fn encode_response(correlation_id: i32, has_tags: bool, out: &mut BytesMut) {
    out.put_i32(correlation_id);
    if has_tags {
        out.put_u8(0);
    }
}

fn skip_tags(frame: &mut Bytes) -> Result<(), HeaderError> {
    let count = uvarint(frame)?;
    if count > TAGS_MAX {
        return Err(HeaderError::Tags);
    }
    for _ in 0..count {
        uvarint(frame)?;
        let len = uvarint(frame)? as usize;
        if len > frame.len() {
            return Err(HeaderError::Tags);
        }
        frame.advance(len);
    }
    Ok(())
}

fn uvarint(frame: &mut Bytes) -> Result<u32, HeaderError> {
    let mut value = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        if frame.is_empty() {
            return Err(HeaderError::Tags);
        }
        let byte = frame.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| HeaderError::Tags);
        }
    }
    Err(HeaderError::Tags)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(client_id: &'static str) -> RequestHeader {
        RequestHeader {
            api_key: 3,
            api_version: 9,
            correlation_id: 77,
            client_id: Some(Bytes::from_static(client_id.as_bytes())),
        }
    }

    #[test]
    fn a_header_reads_back_and_leaves_the_body() {
        for flexible in [false, true] {
            let mut out = BytesMut::new();
            encode_request(&header("kcat"), flexible, &mut out);
            out.put_slice(b"body");
            let mut frame = out.freeze();
            assert_eq!(peek_api(&frame), Some((3, 9)));
            assert_eq!(decode_request(&mut frame, flexible), Ok(header("kcat")));
            assert_eq!(&frame[..], b"body");
        }
    }

    #[test]
    fn a_null_client_id_stays_null_and_any_other_negative_length_is_refused() {
        let null = Bytes::from_static(&[0, 3, 0, 9, 0, 0, 0, 77, 0xff, 0xff]);
        let decoded = decode_request(&mut null.clone(), false).unwrap();
        assert_eq!((decoded.client_id(), &decoded.client_id), ("", &None));
        let mut out = BytesMut::new();
        encode_request(&decoded, false, &mut out);
        assert_eq!(out, null);
        let mut worse = Bytes::from_static(&[0, 3, 0, 9, 0, 0, 0, 77, 0xff, 0xfe]);
        assert_eq!(
            decode_request(&mut worse, false),
            Err(HeaderError::ClientId)
        );
    }

    #[test]
    fn unknown_tags_are_skipped_and_too_many_refused() {
        let mut out = BytesMut::new();
        encode_request(&header("c"), false, &mut out);
        out.put_slice(&[1, 99, 2, 0xaa, 0xbb, b'!']);
        let mut frame = out.freeze();
        assert_eq!(decode_request(&mut frame, true), Ok(header("c")));
        assert_eq!(&frame[..], b"!");

        let mut out = BytesMut::new();
        encode_request(&header("c"), false, &mut out);
        out.put_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(
            decode_request(&mut out.freeze(), true),
            Err(HeaderError::Tags)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, flexible: bool) {
            let mut frame = Bytes::from(bytes);
            drop(decode_request(&mut frame, flexible));
        }
    }
}
