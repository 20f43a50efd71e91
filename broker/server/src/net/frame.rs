//! The length in front of every request, and what of it is believed.

use crate::outcome::{Close, CloseReason};

/// Bytes of a frame's length field.
pub(crate) const LEN_BYTES: usize = 4;

/// API key, version, correlation id and client id: the shortest header there is.
const HEADER_BYTES_MIN: u32 = 10;

/// The length of the frame that starts `buf`, its length field not counted; `None` until that field
/// is there. Never more than `bytes_max`.
pub(crate) fn frame_len(buf: &[u8], bytes_max: u32) -> Result<Option<usize>, Close> {
    let Some(field) = buf.first_chunk::<LEN_BYTES>() else {
        return Ok(None);
    };
    let len = i32::from_be_bytes(*field);
    match u32::try_from(len) {
        Ok(fits) if (HEADER_BYTES_MIN..=bytes_max).contains(&fits) => Ok(Some(fits as usize)),
        _ => {
            let detail = format!(
                "a frame of {len} bytes; a request has {HEADER_BYTES_MIN} to {bytes_max} \
                 (socket.request.max.bytes). Is this a Kafka client?"
            );
            Err(Close::new(CloseReason::FrameLength, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_length_out_of_bounds_is_refused_before_anything_is_read() {
        let len = |len: i32| frame_len(&len.to_be_bytes(), 1000).map_err(|close| close.reason);
        for bad in [
            i32::MIN,
            -1,
            0,
            9,
            1001,
            i32::MAX,
            i32::from_be_bytes(*b"GET "),
        ] {
            assert_eq!(len(bad), Err(CloseReason::FrameLength), "{bad}");
        }
        assert_eq!(len(10), Ok(Some(10)));
        assert_eq!(len(1000), Ok(Some(1000)));
        assert_eq!(frame_len(&[0, 0, 0], 1000), Ok(None));
    }
}
