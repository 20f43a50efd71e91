//! Columns for people.
//!
//! What always holds: a row takes one line, whatever is in its cells; columns of numbers stand at the
//! right.

/// A table with a head.
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row of as many cells as the head has.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.into_iter().map(|cell| one_line(&cell)).collect());
    }

    /// Its text.
    pub(crate) fn text(&self) -> String {
        let columns = self.head.iter().enumerate().map(|(at, head)| {
            let cells = || self.rows.iter().filter_map(move |row| row.get(at));
            let width = cells().map(|cell| cell.chars().count()).max().unwrap_or(0);
            let is_number = |cell: &String| cell == "-" || cell.parse::<f64>().is_ok();
            (width.max(head.len()), cells().all(is_number))
        });
        let columns: Vec<(usize, bool)> = columns.collect();
        let mut text = String::new();
        let head: Vec<String> = self.head.iter().map(|head| (*head).to_owned()).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for (cell, (width, right)) in row.iter().zip(&columns) {
                let space = " ".repeat(width.saturating_sub(cell.chars().count()));
                if *right {
                    line.push_str(&space);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&space);
                }
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Without anything that moves a terminal's cursor.
fn one_line(cell: &str) -> String {
    if cell.chars().any(char::is_control) {
        cell.chars().flat_map(char::escape_default).collect()
    } else {
        cell.to_owned()
    }
}

/// A value, or a dash where there is none.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Numbers with commas between.
pub(crate) fn list(numbers: &[i32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
    if numbers.is_empty() {
        "-".to_owned()
    } else {
        numbers.join(",")
    }
}

/// Bytes for people.
pub(crate) fn bytes(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut amount = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{amount:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_at_the_right() {
        let mut table = Table::new(&["NAME", "LAG"]);
        table.row(["a".to_owned(), "7".to_owned()]);
        table.row(["longer".to_owned(), "-".to_owned()]);
        table.row(["b\n\u{1b}[2J".to_owned(), "1234".to_owned()]);
        let expected = "\
NAME           LAG
a                7
longer           -
b\\n\\u{1b}[2J  1234
";
        assert_eq!(table.text(), expected);
    }

    #[test]
    fn bytes_are_said_in_the_unit_that_fits() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
    }
}
