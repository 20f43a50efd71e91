//! How a record is written.

use std::io::{self, Write};

use millrace_client::TopicPartition;
use millrace_protocol::records::Record;
use serde_json::{Map, Value};

use crate::remote::encoding;
use crate::remote::produce::unescape;
use crate::remote::times::rfc3339;

/// What a format string may hold.
pub(super) const DIRECTIVES: &str = "\
Directives of --format, as in kcat where it has them:
  %s  value             %S  its bytes, -1 for none
  %k  key               %K  its bytes, -1 for none
  %h  headers, as a=1,b=2
  %t  topic             %p  partition          %o  offset
  %T  timestamp, in milliseconds since 1970    %d  the same as RFC 3339
  %%  a percent sign    \\n \\t \\r \\0 \\\\ \\x1f";

/// A part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Value,
    ValueBytes,
    Key,
    KeyBytes,
    Headers,
    Topic,
    Partition,
    Offset,
    TimestampMs,
    Timestamp,
}

/// A format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One line of JSON.
    Json,
    /// What a string of directives says.
    Pieces(Pieces),
}

/// What a string of directives says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pieces(Vec<Piece>);

impl Format {
    /// Reads a string of directives.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut parts = text.split('%');
        if let Some(first) = parts.next() {
            pieces.push(Piece::Text(unescape(first)?.to_vec()));
        }
        while let Some(part) = parts.next() {
            let Some(directive) = part.chars().next() else {
                // Two percent signs, with the text behind them in the next part.
                let behind = parts.next().ok_or("a single % at the end: write %%")?;
                pieces.push(Piece::Text([b"%", &*unescape(behind)?].concat()));
                continue;
            };
            pieces.push(match directive {
                's' => Piece::Value,
                'S' => Piece::ValueBytes,
                'k' => Piece::Key,
                'K' => Piece::KeyBytes,
                'h' => Piece::Headers,
                't' => Piece::Topic,
                'p' => Piece::Partition,
                'o' => Piece::Offset,
                'T' => Piece::TimestampMs,
                'd' => Piece::Timestamp,
                other => return Err(format!("%{other} is no directive: --help lists them")),
            });
            pieces.push(Piece::Text(unescape(&part[1..])?.to_vec()));
        }
        pieces.retain(|piece| *piece != Piece::Text(Vec::new()));
        Ok(Self::Pieces(Pieces(pieces)))
    }

    /// The value on a line, with what is wanted in front of it.
    pub(super) fn plain(headers: bool, key_separator: Option<&[u8]>) -> Self {
        let mut pieces = Vec::new();
        if headers {
            pieces.extend([Piece::Headers, Piece::Text(b"\t".to_vec())]);
        }
        if let Some(separator) = key_separator {
            pieces.extend([Piece::Key, Piece::Text(separator.to_vec())]);
        }
        pieces.extend([Piece::Value, Piece::Text(b"\n".to_vec())]);
        Self::Pieces(Pieces(pieces))
    }

    /// Writes a record.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        of: &TopicPartition,
        record: &Record<'_>,
    ) -> io::Result<()> {
        match self {
            Self::Json => {
                serde_json::to_writer(&mut *out, &object(of, record))?;
                out.write_all(b"\n")
            }
            Self::Pieces(Pieces(pieces)) => pieces
                .iter()
                .try_for_each(|piece| write_piece(out, piece, of, record)),
        }
    }
}

fn write_piece(
    out: &mut impl Write,
    piece: &Piece,
    of: &TopicPartition,
    record: &Record<'_>,
) -> io::Result<()> {
    let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    match piece {
        Piece::Text(text) => out.write_all(text),
        Piece::Value => out.write_all(record.value.unwrap_or_default()),
        Piece::Key => out.write_all(record.key.unwrap_or_default()),
        Piece::ValueBytes => write!(out, "{}", length(record.value)),
        Piece::KeyBytes => write!(out, "{}", length(record.key)),
        Piece::Topic => out.write_all(of.topic.as_bytes()),
        Piece::Partition => write!(out, "{}", of.partition),
        Piece::Offset => write!(out, "{}", record.offset),
        Piece::TimestampMs => write!(out, "{}", record.timestamp),
        Piece::Timestamp => out.write_all(rfc3339(record.timestamp).as_bytes()),
        Piece::Headers => {
            for (at, header) in record.headers.clone().enumerate() {
                if at > 0 {
                    out.write_all(b",")?;
                }
                out.write_all(header.key)?;
                out.write_all(b"=")?;
                out.write_all(header.value.unwrap_or_default())?;
            }
            Ok(())
        }
    }
}

fn object(of: &TopicPartition, record: &Record<'_>) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), Value::from(&*of.topic));
    object.insert("partition".to_owned(), Value::from(of.partition));
    object.insert("offset".to_owned(), Value::from(record.offset));
    object.insert("timestamp_ms".to_owned(), Value::from(record.timestamp));
    encoding::put(&mut object, "key", record.key);
    encoding::put(&mut object, "value", record.value);
    let headers = record.headers.clone().map(|header| {
        let mut one = Map::new();
        encoding::put(&mut one, "key", Some(header.key));
        encoding::put(&mut one, "value", header.value);
        Value::Object(one)
    });
    object.insert("headers".to_owned(), headers.collect());
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use millrace_protocol::records::{
        BatchBuilder, Header, Options, Scratch, batches, record_iter,
    };

    use super::*;

    fn written(format: &str) -> String {
        let format = if format == "json" {
            Format::Json
        } else {
            Format::parse(format).unwrap()
        };
        let mut builder = BatchBuilder::new(Options {
            base_offset: 7,
            ..Options::default()
        });
        let headers = [
            Header {
                key: b"a",
                value: Some(b"1"),
            },
            Header {
                key: b"b",
                value: None,
            },
        ];
        builder
            .push(1000, Some(b"k"), Some(b"v\xff"), &headers)
            .unwrap();
        let batch = batches(builder.build()).next().unwrap().unwrap();
        let mut scratch = Scratch::new(1 << 20);
        let record = record_iter(&batch, &mut scratch)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let mut out = Vec::new();
        format
            .write(&mut out, &TopicPartition::new("t", 3), &record)
            .unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn every_directive_says_its_part() {
        assert_eq!(written(r"%t/%p@%o %K:%k\t%S:%s"), "t/3@7 1:k\t2:v\u{fffd}");
        assert_eq!(written("%T %d %h"), "1000 1970-01-01T00:00:01.000Z a=1,b=");
        assert_eq!(written("100%% of %%k"), "100% of %k");
    }

    #[test]
    fn json_has_every_field_and_no_bytes_that_are_no_text() {
        let expected = r#"{"headers":[{"key":"a","value":"1"},{"key":"b","value":null}],"key":"k","offset":7,"partition":3,"timestamp_ms":1000,"topic":"t","value_base64":"dv8="}"#;
        assert_eq!(written("json"), format!("{expected}\n"));
    }

    #[test]
    fn an_unknown_directive_is_refused() {
        for text in ["%q", "%", "a%", r"\q", "%é"] {
            assert!(Format::parse(text).is_err(), "{text}");
        }
    }
}
