//! Prometheus' text format, line by line.

use std::fmt::Write;

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

/// A page that grows.
#[derive(Debug)]
pub(super) struct Page(String);

impl Page {
    /// Behind what is there already.
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The head of a family; its lines follow.
    pub(super) fn begin(&mut self, family: Family) {
        let Family { name, help, kind } = family;
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        for part in [
            "# HELP ",
            name,
            " ",
            help,
            "\n# TYPE ",
            name,
            " ",
            kind,
            "\n",
        ] {
            self.0 += part;
        }
    }

    /// One series of a family that was begun.
    pub(super) fn line(&mut self, family: Family, labels: &[(&str, &str)], value: i64) {
        self.0 += family.name;
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            self.0 += label;
            self.0 += "=\"";
            self.escaped(text);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        writeln!(self.0, " {value}").expect("writing into a string doesn't fail");
    }

    /// A family of one series without labels.
    pub(super) fn single(&mut self, family: Family, value: i64) {
        self.begin(family);
        self.line(family, &[], value);
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn escaped(&mut self, text: &str) {
        if !text.contains(['\\', '"', '\n']) {
            self.0 += text;
            return;
        }
        for character in text.chars() {
            match character {
                '\n' => self.0 += "\\n",
                '\\' | '"' => self.0.extend(['\\', character]),
                other => self.0.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_prometheus_text_whatever_a_label_holds() {
        let family = Family {
            name: "m",
            help: "What it is.",
            kind: Kind::Gauge,
        };
        let mut page = Page::new("before 1\n".to_owned());
        page.single(family, -3);
        page.line(family, &[("dir", "/a \"b\"\\\n"), ("x", "y")], 4);
        let expected = "before 1\n# HELP m What it is.\n# TYPE m gauge\nm -3\n\
                        m{dir=\"/a \\\"b\\\"\\\\\\n\",x=\"y\"} 4\n";
        assert_eq!(page.into_text(), expected);
    }
}
