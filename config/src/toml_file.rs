//! TOML as configuration: tables and dotted keys join to a key with dots, arrays to a list, and
//! `"a.b" = 1` is the same as `a.b = 1`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::load::Entry;

/// All entries by key, or the line (from 1) and what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        let quote = "; a key that begins with another key is written in quotes";
        (line, format!("{}{quote}", error.message()))
    })?;
    let mut entries = Vec::new();
    flatten(text, "", document.get_ref(), &mut entries)?;
    Ok(entries)
}

fn flatten(
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
    entries: &mut Vec<Entry>,
) -> Result<(), (usize, String)> {
    for (name, value) in table {
        let line = line_of(text, name.span().start);
        let key = match prefix {
            "" => name.get_ref().to_string(),
            prefix => format!("{prefix}.{}", name.get_ref()),
        };
        match value.get_ref() {
            DeValue::Table(inner) => flatten(text, &key, inner, entries)?,
            DeValue::Array(items) => {
                let items: Option<Vec<String>> = items.iter().map(scalar).collect();
                let items = items.ok_or_else(|| (line, format!("{key} takes plain values")))?;
                push(
                    entries,
                    Entry {
                        key,
                        value: items.join(","),
                        line,
                    },
                )?;
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {
                let value = scalar(value).ok_or_else(|| (line, format!("{key} is no number")))?;
                push(entries, Entry { key, value, line })?;
            }
        }
    }
    Ok(())
}

fn push(entries: &mut Vec<Entry>, entry: Entry) -> Result<(), (usize, String)> {
    if let Some(earlier) = entries.iter().find(|earlier| earlier.key == entry.key) {
        return Err((
            entry.line,
            format!("{} stands here and in line {}", entry.key, earlier.line),
        ));
    }
    entries.push(entry);
    Ok(())
}

fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(parsed.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(value) => Some(value.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_dotted_and_quoted_keys_are_one_notation() {
        let text = "node.id = 7\n\"max.connections\" = 0x10\nlisteners = [\"A://a:1\", \"B://b:2\"]\n\
                    [log]\ndirs = \"d\"\n[log.retention]\nms = -1\n[auto.create]\n\
                    topics.enable = false\n";
        let mut entries: Vec<_> = parse(text)
            .unwrap()
            .into_iter()
            .map(|e| (e.line, e.key, e.value))
            .collect();
        entries.sort();
        let expected = [
            (1, "node.id", "7"),
            (2, "max.connections", "16"),
            (3, "listeners", "A://a:1,B://b:2"),
            (5, "log.dirs", "d"),
            (7, "log.retention.ms", "-1"),
            (9, "auto.create.topics.enable", "false"),
        ];
        let expected = expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned()));
        assert_eq!(entries, expected);
    }

    #[test]
    fn a_broken_file_is_named_by_line() {
        for (text, line, reason) in [
            ("a = 1\nb = [", 2, ""),
            ("a = 1\na.b = 2\n", 2, "in quotes"),
            ("a.b = 1\n\"a.b\" = 2\n", 2, "line 1"),
            ("x = 1\na = [{b = 1}]\n", 2, "plain values"),
            ("a = 99999999999999999999", 1, "no number"),
        ] {
            let (at, why) = parse(text).unwrap_err();
            assert_eq!(at, line, "{text:?}: {why}");
            assert!(why.contains(reason), "{text:?}: {why}");
        }
    }
}
