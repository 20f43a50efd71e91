//! Input, cut into records.
//!
//! What always holds: a record takes at most [`RECORD_BYTES_MAX`], whatever the input is.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read as _};
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{Bytes, ProduceOptions};
use crate::remote::encoding;

/// The largest record that is read; JSON takes more bytes than what it says.
const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A header's name and value.
type OwnHeader = (Vec<u8>, Option<Vec<u8>>);

/// One record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<OwnHeader>,
    pub(super) timestamp_ms: Option<i64>,
}

impl Read {
    /// Bytes of its key and value.
    pub(super) fn bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Why there is no next record.
#[derive(Debug)]
pub(super) enum Refused {
    /// It can't be read; the file, if it is one.
    Io(Option<PathBuf>, io::Error),
    /// That record of the input is none, for this reason.
    Line(u64, String),
}

/// How input is cut.
enum Cut {
    Whole,
    Delimited(Bytes),
    Json,
}

/// The input.
pub(super) struct Input {
    /// Files that come later, the next one last.
    later: Vec<PathBuf>,
    now: Option<(Option<PathBuf>, Box<dyn BufRead>)>,
    cut: Cut,
    separator: Option<Bytes>,
    null: bool,
    records: u64,
    total: Option<u64>,
    is_long: bool,
}

impl Input {
    pub(super) fn open(options: &ProduceOptions) -> Result<Self, Refused> {
        let cut = if options.json {
            Cut::Json
        } else if options.whole {
            Cut::Whole
        } else {
            let line: Bytes = b"\n"[..].into();
            Cut::Delimited(options.delimiter.clone().unwrap_or(line))
        };
        let mut total = Some(0);
        for file in &options.files {
            let about = std::fs::metadata(file);
            let about = about.map_err(|error| Refused::Io(Some(file.clone()), error))?;
            total = total.map(|total| total + about.len());
        }
        let is_stdin = options.files.is_empty();
        let stdin: Option<(_, Box<dyn BufRead>)> = is_stdin.then(|| {
            (
                None,
                Box::new(BufReader::new(io::stdin())) as Box<dyn BufRead>,
            )
        });
        Ok(Self {
            later: options.files.iter().rev().cloned().collect(),
            now: stdin,
            cut,
            separator: options.key_separator.clone(),
            null: options.null,
            records: 0,
            total: total.filter(|_| !is_stdin),
            // Who types sees what was typed.
            is_long: !(is_stdin && io::stdin().is_terminal()),
        })
    }

    /// Bytes in all, if that is known.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Whether somebody may wait for its end.
    pub(super) fn is_long(&self) -> bool {
        self.is_long
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Result<Option<Read>, Refused> {
        loop {
            if self.now.is_none() {
                let Some(path) = self.later.pop() else {
                    return Ok(None);
                };
                let file = File::open(&path);
                let file = file.map_err(|error| Refused::Io(Some(path.clone()), error))?;
                self.now = Some((Some(path), Box::new(BufReader::new(file))));
            }
            let Some((path, reader)) = &mut self.now else {
                continue;
            };
            let read = match &self.cut {
                Cut::Whole => whole(&mut **reader),
                Cut::Delimited(delimiter) => delimited(&mut **reader, delimiter),
                Cut::Json => delimited(&mut **reader, b"\n"),
            };
            let read = read.map_err(|error| Refused::Io(path.clone(), error))?;
            let is_whole = matches!(self.cut, Cut::Whole);
            if read.is_none() || is_whole {
                self.now = None;
            }
            let Some(bytes) = read else { continue };
            self.records += 1;
            if matches!(self.cut, Cut::Json) && bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return match self.record(bytes) {
                Ok(record) => Ok(Some(record)),
                Err(reason) => Err(Refused::Line(self.records, reason)),
            };
        }
    }

    fn record(&self, bytes: Vec<u8>) -> Result<Read, String> {
        let mut record = if matches!(self.cut, Cut::Json) {
            of_json(&bytes)?
        } else {
            let split = self.separator.as_deref().and_then(|separator| {
                let at = find(&bytes, separator)?;
                Some((bytes[..at].to_vec(), bytes[at + separator.len()..].to_vec()))
            });
            let (key, value) = match split {
                Some((key, value)) => (Some(key), value),
                None => (None, bytes),
            };
            Read {
                key,
                value: Some(value),
                ..Read::default()
            }
        };
        if self.null {
            record.value.take_if(|value| value.is_empty());
        }
        Ok(record)
    }
}

fn too_large() -> io::Error {
    io::Error::other(format!("a record of more than {RECORD_BYTES_MAX} bytes"))
}

fn whole(reader: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = RECORD_BYTES_MAX as u64 + 1;
    reader.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(too_large());
    }
    Ok(Some(bytes))
}

/// Up to the delimiter, or to the end if something stands there.
fn delimited(reader: &mut dyn BufRead, delimiter: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let Some(last) = delimiter.last() else {
        return whole(reader).map(|bytes| bytes.filter(|bytes| !bytes.is_empty()));
    };
    let mut bytes = Vec::new();
    loop {
        let limit = (RECORD_BYTES_MAX + delimiter.len() + 1).saturating_sub(bytes.len()) as u64;
        let read = (&mut *reader).take(limit).read_until(*last, &mut bytes)?;
        if bytes.len() > RECORD_BYTES_MAX + delimiter.len() {
            return Err(too_large());
        }
        if bytes.ends_with(delimiter) {
            bytes.truncate(bytes.len() - delimiter.len());
            return Ok(Some(bytes));
        }
        if read == 0 {
            return Ok((!bytes.is_empty()).then_some(bytes));
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return None;
    }
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn of_json(line: &[u8]) -> Result<Read, String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let Value::Object(object) = value else {
        return Err("it is no JSON object".to_owned());
    };
    let headers = match object.get("headers") {
        None | Some(Value::Null) => Vec::new(),
        Some(headers) => headers_of(headers)?,
    };
    let timestamp_ms = match object.get("timestamp_ms") {
        None | Some(Value::Null) => None,
        Some(ms) => Some(ms.as_i64().ok_or("timestamp_ms is no whole number")?),
    };
    Ok(Read {
        key: encoding::take(&object, "key")?,
        value: encoding::take(&object, "value")?,
        headers,
        timestamp_ms,
    })
}

/// A list of objects with key and value, or an object.
fn headers_of(headers: &Value) -> Result<Vec<OwnHeader>, String> {
    if let Some(object) = headers.as_object() {
        let named = object.keys().map(|name| {
            let value = encoding::take(object, name)?;
            Ok((name.clone().into_bytes(), value))
        });
        return named.collect();
    }
    let list = headers
        .as_array()
        .ok_or("headers is neither a list nor an object")?;
    let one = |header: &Value| {
        let header: &Map<String, Value> = header.as_object().ok_or("a header is no object")?;
        let name = encoding::take(header, "key")?.ok_or("a header has no key")?;
        Ok((name, encoding::take(header, "value")?))
    };
    list.iter().map(one).collect()
}

/// Text with `\n`, `\t`, `\r`, `\0`, `\\` and `\xNN` read.
pub(crate) fn unescape(text: &str) -> Result<Bytes, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match left.next() {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [left.next(), left.next()];
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let value = digit(digits[0]).zip(digit(digits[1]));
                let (high, low) = value.ok_or("\\x takes two hexadecimal digits")?;
                (high << 4 | low) as u8
            }
            _ => return Err("\\ is followed by n, t, r, 0, \\ or x and two digits".to_owned()),
        });
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(mut text: &[u8], delimiter: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(bytes) = delimited(&mut text, delimiter).unwrap() {
            all.push(bytes);
        }
        all
    }

    #[test]
    fn records_end_at_the_delimiter_and_at_the_end() {
        let texts = |all: &[&str]| {
            all.iter()
                .map(|text| text.as_bytes().to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(b"a\n\nb", b"\n"), texts(&["a", "", "b"]));
        assert_eq!(cut(b"a\n", b"\n"), texts(&["a"]));
        assert_eq!(cut(b"", b"\n"), texts(&[]));
        assert_eq!(cut(b"a-b--c---d", b"--"), texts(&["a-b", "c", "-d"]));
        assert_eq!(cut(b"a\nb", b""), texts(&["a\nb"]));
    }

    #[test]
    fn json_says_key_value_headers_and_time() {
        let read = of_json(
            br#"{"key":"k","value":{"a":1},"headers":[{"key":"h","value_base64":"/w=="}],
               "timestamp_ms":5,"offset":9}"#,
        );
        let expected = Read {
            key: Some(b"k".to_vec()),
            value: Some(br#"{"a":1}"#.to_vec()),
            headers: vec![(b"h".to_vec(), Some(vec![255]))],
            timestamp_ms: Some(5),
        };
        assert_eq!(read, Ok(expected));
        for line in [
            "",
            "[]",
            r#"{"headers":1}"#,
            r#"{"timestamp_ms":"x"}"#,
            r#"{"value_base64":"?"}"#,
        ] {
            assert!(of_json(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(&*unescape(r"a\t\x1f\\").unwrap(), b"a\t\x1f\\");
        for text in [r"\", r"\q", r"\x1"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }
}
