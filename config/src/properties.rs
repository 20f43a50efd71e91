//! Java's properties format, as Kafka's configuration files use it: `key=value`, `key: value` or
//! `key value`, comments with `#` or `!`, a backslash at the end of a line to go on in the next,
//! and escapes. Unlike Java, a key that stands twice is refused.

use crate::load::Entry;

/// All entries in order, or the line (from 1) and what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let mut logical = first.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while ends_with_open_escape(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let line = index + 1;
        let (key, value) = split(&logical).map_err(|reason| (line, reason))?;
        if let Some(earlier) = entries.iter().find(|entry| entry.key == key) {
            return Err((
                line,
                format!("{key} stands here and in line {}", earlier.line),
            ));
        }
        entries.push(Entry { key, value, line });
    }
    Ok(entries)
}

fn ends_with_open_escape(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

/// Cuts a logical line at the first separator outside an escape.
fn split(line: &str) -> Result<(String, String), String> {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let found = !escaped && (c == '=' || c == ':' || c.is_whitespace());
        escaped = !escaped && c == '\\';
        found
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start();
    let Some(value) = rest
        .strip_prefix(['=', ':'])
        .or(Some(rest))
        .filter(|_| end.is_some())
    else {
        return Err("expected key=value".to_owned());
    };
    Ok((unescape(key)?, unescape(value.trim_start())?))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16)
                    .ok()
                    .filter(|_| digits.len() == 4);
                let decoded = code.and_then(char::from_u32);
                out.push(decoded.ok_or("\\u takes four hexadecimal digits of one character")?);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        parse(text)
            .unwrap()
            .into_iter()
            .map(|e| (e.key, e.value, e.line))
            .collect()
    }

    #[test]
    fn every_form_of_an_entry_is_read() {
        let text = "# comment\n! comment\n\n  a=1\nb: 2\nc 3\nd = 4 = 5\ne=\nf=x,\\\n    y\n\
                    g\\ h=\\u0041\\t\\\\\nlisteners=PLAINTEXT://a:1\r\n";
        let expected = [
            ("a", "1", 4),
            ("b", "2", 5),
            ("c", "3", 6),
            ("d", "4 = 5", 7),
            ("e", "", 8),
            ("f", "x,y", 9),
            ("g h", "A\t\\", 11),
            ("listeners", "PLAINTEXT://a:1", 12),
        ];
        let expected = expected.map(|(key, value, line)| (key.to_owned(), value.to_owned(), line));
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_broken_line_is_named() {
        for (text, line, reason) in [
            ("a=1\nnothing", 2, "key=value"),
            ("a=1\n\na=2", 3, "line 1"),
            ("a=\\u00", 1, "four hexadecimal digits"),
            ("a=\\ud800", 1, "four hexadecimal digits"),
        ] {
            let (at, why) = parse(text).unwrap_err();
            assert_eq!(at, line, "{text:?}");
            assert!(why.contains(reason), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_backslash_at_the_end_of_the_file_ends_the_value() {
        assert_eq!(pairs("a=1\\"), [("a".to_owned(), "1".to_owned(), 1)]);
    }
}
