//! Prometheus' text format, line by line, into pieces: a page of ten thousand topics is three
//! megabytes, which are written once and never copied or grown.

use std::fmt::Write;

use bytes::Bytes;
use millrace_host::{Piece, Rope};

/// Pieces are about this long.
const PIECE_BYTES: usize = 64 * 1024;

/// The longest number, with its sign.
const NUMBER_BYTES_MAX: usize = 20;

/// Gauge or counter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Gauge,
    Counter,
}

/// One family of series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

/// The labels of a series as they stand in its lines: written once for all families.
#[derive(Debug, Default)]
pub(super) struct Labels(String);

impl Labels {
    /// Names and values, in this order.
    pub(super) fn of(labels: &[(&str, &str)]) -> Self {
        let most = labels
            .iter()
            .map(|(label, text)| label.len() + text.len() + 4);
        let mut text = String::with_capacity(most.sum::<usize>() + 1);
        for (index, (label, value)) in labels.iter().enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            text += label;
            text += "=\"";
            escape(value, &mut text);
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        Self(text)
    }
}

fn escape(value: &str, into: &mut String) {
    if !value.contains(['\\', '"', '\n']) {
        *into += value;
        return;
    }
    for character in value.chars() {
        match character {
            '\n' => *into += "\\n",
            '\\' | '"' => into.extend(['\\', character]),
            other => into.push(other),
        }
    }
}

/// A page that grows.
#[derive(Debug)]
pub(super) struct Page {
    full: Rope,
    open: String,
}

impl Page {
    /// Behind what is there already.
    pub(super) fn new(text: String) -> Self {
        Self {
            full: Rope::new(),
            open: text,
        }
    }

    /// The head of a family; its lines follow.
    pub(super) fn begin(&mut self, family: Family) {
        let Family { name, help, kind } = family;
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let parts = [
            "# HELP ",
            name,
            " ",
            help,
            "\n# TYPE ",
            name,
            " ",
            kind,
            "\n",
        ];
        self.make_room(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.open += part;
        }
    }

    /// One series of a family that was begun.
    pub(super) fn line(&mut self, family: Family, labels: &Labels, value: i64) {
        self.make_room(family.name.len() + labels.0.len() + NUMBER_BYTES_MAX + 2);
        self.open += family.name;
        self.open += &labels.0;
        self.open.push(' ');
        if let Ok(digit @ 0..=9) = u8::try_from(value) {
            self.open.push(char::from(b'0' + digit));
        } else {
            write!(self.open, "{value}").expect("writing into a string doesn't fail");
        }
        self.open.push('\n');
    }

    /// A family of one series without labels.
    pub(super) fn single(&mut self, family: Family, value: i64) {
        self.begin(family);
        self.line(family, &Labels::default(), value);
    }

    /// All of it, in order.
    pub(super) fn into_rope(mut self) -> Rope {
        self.close();
        self.full
    }

    /// Begins another piece when this one has no room for so many bytes more.
    fn make_room(&mut self, bytes: usize) {
        if self.open.capacity() - self.open.len() < bytes {
            self.close();
            self.open.reserve_exact(PIECE_BYTES.max(bytes));
        }
    }

    fn close(&mut self) {
        let piece = std::mem::take(&mut self.open);
        if !piece.is_empty() {
            self.full.push(Piece::Bytes(Bytes::from(piece)));
        }
    }
}

/// The text of a page.
pub(super) fn text(page: &Rope) -> String {
    let mut text = Vec::new();
    for piece in page {
        if let Piece::Bytes(bytes) = piece {
            text.extend_from_slice(bytes);
        }
    }
    String::from_utf8(text).expect("pages are made of strings")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const FAMILY: Family = Family {
        name: "m",
        help: "What it is.",
        kind: Kind::Gauge,
    };

    #[test]
    fn lines_are_prometheus_text_whatever_a_label_holds() {
        let mut page = Page::new("before 1\n".to_owned());
        page.single(FAMILY, -3);
        let labels = Labels::of(&[("dir", "/a \"b\"\\\n"), ("x", "y")]);
        page.line(FAMILY, &labels, 4);
        let expected = "before 1\n# HELP m What it is.\n# TYPE m gauge\nm -3\n\
                        m{dir=\"/a \\\"b\\\"\\\\\\n\",x=\"y\"} 4\n";
        assert_eq!(text(&page.into_rope()), expected);
    }

    #[test]
    fn a_long_page_is_the_same_text_in_pieces_that_do_not_grow() {
        let values = [i64::MIN, -1, 0, 9, 10, 255, 256, i64::MAX];
        let mut page = Page::new(String::new());
        let mut expected = String::new();
        page.begin(FAMILY);
        expected += "# HELP m What it is.\n# TYPE m gauge\n";
        for at in 0..10_000 {
            let topic = format!("topic-{at}");
            let value = values[at % values.len()];
            page.line(FAMILY, &Labels::of(&[("topic", &topic)]), value);
            writeln!(expected, "m{{topic=\"{topic}\"}} {value}").unwrap();
        }
        let rope = page.into_rope();
        assert_eq!(text(&rope), expected);
        assert!(rope.len() > 3);
        assert!(rope.iter().all(|piece| piece.len() <= PIECE_BYTES as u64));
    }
}
