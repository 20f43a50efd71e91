//! Kafka's `partition.metadata`: the topic id that says whose directory this is.
//!
//! Text, version 0: `version: 0`, `topic_id: <base64, URL alphabet, no padding>`. The name of a
//! directory may be used again by another topic; this id is the identity, and is checked at open.

use crate::error::Error;

/// The file's name in a partition's directory.
pub const FILE_NAME: &str = "partition.metadata";

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The file's text for a topic id.
pub fn encode(topic_id: [u8; 16]) -> String {
    format!("version: 0\ntopic_id: {}\n", base64(topic_id))
}

/// Reads the topic id back.
pub fn parse(text: &str) -> Result<[u8; 16], Error> {
    let bad = |what: &str| Error::BadFile {
        what: format!("{FILE_NAME}: {what}"),
    };
    let mut version = None;
    let mut id = None;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (key, value) = line
            .split_once(':')
            .ok_or_else(|| bad("a line is not `key: value`"))?;
        match key.trim() {
            "version" => version = Some(value.trim()),
            "topic_id" => id = Some(value.trim()),
            _ => return Err(bad("an unknown key")),
        }
    }
    if version != Some("0") {
        return Err(bad("the version is not 0"));
    }
    id.and_then(from_base64).ok_or_else(|| bad("no topic id"))
}

/// Kafka's text form of an id: 22 characters.
pub(crate) fn base64(id: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(id);
    (0..22)
        .map(|at| {
            // The last character carries two bits and four zeros.
            let six = if at < 21 {
                bits >> (122 - 6 * at)
            } else {
                bits << 4
            };
            char::from(ALPHABET[(six & 63) as usize])
        })
        .collect()
}

fn from_base64(text: &str) -> Option<[u8; 16]> {
    if text.len() != 22 {
        return None;
    }
    let mut bits: u128 = 0;
    for (at, byte) in text.bytes().enumerate() {
        let six = ALPHABET.iter().position(|letter| *letter == byte)? as u128;
        bits = if at < 21 {
            bits << 6 | six
        } else if six.trailing_zeros() >= 4 {
            bits << 2 | six >> 4
        } else {
            return None;
        };
    }
    Some(bits.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_kafkas() {
        // Kafka's own: Uuid(0, 1) prints as AAAAAAAAAAAAAAAAAAAAAQ.
        let mut one = [0; 16];
        one[15] = 1;
        assert_eq!(
            encode(one),
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n"
        );
        assert_eq!(
            encode([0xff; 16]),
            "version: 0\ntopic_id: _____________________w\n"
        );
    }

    #[test]
    fn ids_come_back() {
        for seed in 0..64_u8 {
            let id: [u8; 16] =
                std::array::from_fn(|at| seed.wrapping_mul(37) ^ (at as u8).wrapping_mul(29));
            assert_eq!(parse(&encode(id)).unwrap(), id);
        }
    }

    #[test]
    fn a_damaged_text_is_refused() {
        for bad in [
            "",
            "version: 0\n",
            "version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAA\n",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAR\n",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAA!Q\n",
            "nonsense",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
