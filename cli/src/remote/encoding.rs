//! Bytes in JSON: as text where they are UTF-8, else base64 (RFC 4648) under another name.
//!
//! What always holds: what [`put`] wrote [`take`] reads, byte for byte.

use serde_json::{Map, Value};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `name` with text or null, or `name_base64`.
pub(crate) fn put(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => object.insert(name.to_owned(), Value::from(text)),
        Some(Err(_)) => {
            let text = base64(bytes.unwrap_or_default());
            object.insert(format!("{name}_base64"), Value::from(text))
        }
    };
}

/// The same, read. What is neither text nor null is taken as the JSON that it is.
pub(crate) fn take(object: &Map<String, Value>, name: &str) -> Result<Option<Vec<u8>>, String> {
    let encoded = format!("{name}_base64");
    match (object.get(name), object.get(&encoded)) {
        (Some(_), Some(_)) => Err(format!("both {name} and {encoded} are given")),
        (None | Some(Value::Null), None) => Ok(None),
        (Some(Value::String(text)), None) => Ok(Some(text.clone().into_bytes())),
        (Some(other), None) => Ok(Some(other.to_string().into_bytes())),
        (None, Some(Value::String(text))) => {
            let bytes = from_base64(text);
            bytes
                .map(Some)
                .ok_or_else(|| format!("{encoded} is not base64"))
        }
        (None, Some(_)) => Err(format!("{encoded} is not text")),
    }
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for group in 0..4 {
            if group <= three.len() {
                let index = (bits >> (18 - 6 * group) & 63) as usize;
                text.push(char::from(ALPHABET[index]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 255) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_rfc_4648s() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xff\xfe\xfd\xfc", "//79/A=="),
        ] {
            assert_eq!(base64(bytes), text);
            assert_eq!(from_base64(text).unwrap(), bytes);
        }
        for text in ["Zg=", "Z===", "Zg==Zg==", "Z g="] {
            assert_eq!(from_base64(text), None, "{text}");
        }
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        for bytes in [None, Some(&b"text"[..]), Some(b""), Some(b"\xff\x00")] {
            let mut object = Map::new();
            put(&mut object, "value", bytes);
            assert_eq!(take(&object, "value").unwrap().as_deref(), bytes);
        }
    }
}
