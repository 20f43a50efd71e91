//! Inflating gzip (RFC 1952), one member after the other, with each member's checksum and length.
//!
//! The members are parsed here and not by a reader type, so that one inflate state (32 KiB window)
//! serves every batch. Bytes after the last member that aren't another member are refused.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::stream::Inflate;
use super::{Codec, CompressionError};

const TRUNCATED: CompressionError = CompressionError::Truncated(Codec::Gzip);
/// Bytes of the fixed part of a member's header.
const HEADER_LEN: usize = 10;
/// Bytes of CRC-32 and length after a member.
const TRAILER_LEN: usize = 8;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// A reusable inflate state; `begin` before each stream.
#[derive(Debug)]
pub(super) struct Inflater {
    inflate: Decompress,
    crc: Crc,
    in_member: bool,
    members: usize,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self {
            inflate: Decompress::new(false),
            crc: Crc::new(),
            in_member: false,
            members: 0,
        }
    }

    pub(super) fn begin(&mut self) {
        self.in_member = false;
        self.members = 0;
    }

    fn end_member(&mut self, rest: &mut &[u8]) -> Result<(), CompressionError> {
        let (trailer, after) = rest.split_first_chunk::<TRAILER_LEN>().ok_or(TRUNCATED)?;
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc.sum() {
            return Err(malformed("member checksum differs"));
        }
        if u32::from_le_bytes([l0, l1, l2, l3]) != self.crc.amount() {
            return Err(malformed("member length differs"));
        }
        *rest = after;
        self.in_member = false;
        Ok(())
    }
}

impl Inflate for Inflater {
    fn read(&mut self, rest: &mut &[u8], out: &mut [u8]) -> Result<usize, CompressionError> {
        loop {
            if !self.in_member {
                if rest.is_empty() && self.members > 0 {
                    return Ok(0);
                }
                *rest = skip_header(rest)?;
                self.inflate.reset(false);
                self.crc.reset();
                self.in_member = true;
                self.members += 1;
            }
            let (in_before, out_before) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(rest, out, FlushDecompress::None)
                .map_err(|_| malformed("broken deflate data"))?;
            let taken = (self.inflate.total_in() - in_before) as usize;
            let given = (self.inflate.total_out() - out_before) as usize;
            *rest = rest.get(taken..).unwrap_or_default();
            self.crc.update(&out[..given]);
            if status == Status::StreamEnd {
                self.end_member(rest)?;
            } else if taken == 0 && given == 0 {
                return Err(TRUNCATED);
            }
            if given > 0 {
                return Ok(given);
            }
        }
    }
}

fn malformed(what: &'static str) -> CompressionError {
    CompressionError::Malformed {
        codec: Codec::Gzip,
        what,
    }
}

/// What follows the member header at the front of `bytes`.
fn skip_header(bytes: &[u8]) -> Result<&[u8], CompressionError> {
    let (head, mut rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(TRUNCATED)?;
    let [0x1f, 0x8b, method, flags, ..] = *head else {
        return Err(malformed("no member where one must begin"));
    };
    if method != 8 || flags & FLAGS_RESERVED != 0 {
        return Err(malformed("unknown method or flags"));
    }
    if flags & FLAG_EXTRA != 0 {
        let (len, after) = rest.split_first_chunk::<2>().ok_or(TRUNCATED)?;
        rest = after
            .get(usize::from(u16::from_le_bytes(*len))..)
            .ok_or(TRUNCATED)?;
    }
    for text in [FLAG_NAME, FLAG_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0).ok_or(TRUNCATED)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        rest = rest.get(2..).ok_or(TRUNCATED)?;
    }
    Ok(rest)
}
