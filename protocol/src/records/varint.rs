//! Zig-zag variable-length integers as records use them (Protocol Buffers' `sint32`, `sint64`).
//!
//! Reading accepts at most 5 bytes for 32 bits and 10 for 64, like Kafka; a longer run is an error.

/// Most bytes a 64-bit varint takes.
pub(super) const VARLONG_LEN_MAX: usize = 10;
/// Most bytes a 32-bit varint takes.
pub(super) const VARINT_LEN_MAX: usize = 5;

/// Bytes `value` takes as a varint.
pub(super) fn varlong_len(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value`.
pub(super) fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends `value`; the same bytes as [`write_varlong`] of it.
pub(super) fn write_varint(out: &mut Vec<u8>, value: i32) {
    write_varlong(out, i64::from(value));
}

/// Reads a 32-bit varint from the bytes `next` gives; `None` when they end or run too long.
#[inline]
pub(super) fn read_varint(next: impl FnMut() -> Option<u8>) -> Option<i32> {
    let raw = read_unsigned(next, VARINT_LEN_MAX)?;
    // As in Kafka, bits above the 32nd of a fifth byte fall away.
    let raw = raw as u32;
    Some((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// Reads a 64-bit varint from the bytes `next` gives; `None` when they end or run too long.
#[inline]
pub(super) fn read_varlong(next: impl FnMut() -> Option<u8>) -> Option<i64> {
    let raw = read_unsigned(next, VARLONG_LEN_MAX)?;
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[inline]
fn read_unsigned(mut next: impl FnMut() -> Option<u8>, len_max: usize) -> Option<u64> {
    // Most lengths and deltas take one byte.
    let first = next()?;
    if first < 0x80 {
        return Some(u64::from(first));
    }
    let mut value = u64::from(first & 0x7f);
    for at in 1..len_max {
        let byte = next()?;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(long in any::<i64>(), int in any::<i32>()) {
            let mut out = Vec::new();
            write_varlong(&mut out, long);
            prop_assert_eq!(out.len(), varlong_len(long));
            let mut bytes = out.iter().copied();
            prop_assert_eq!(read_varlong(|| bytes.next()), Some(long));

            out.clear();
            write_varint(&mut out, int);
            let mut bytes = out.iter().copied();
            prop_assert_eq!(read_varint(|| bytes.next()), Some(int));
        }
    }

    #[test]
    fn a_varint_that_runs_too_long_or_ends_early_is_refused() {
        assert_eq!(read_varint(|| Some(0x80)), None);
        assert_eq!(read_varlong(|| Some(0xff)), None);
        let mut short = [0x80_u8, 0x80].into_iter();
        assert_eq!(read_varint(|| short.next()), None);
    }
}
