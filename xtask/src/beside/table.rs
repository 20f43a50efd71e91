//! Figures of several runs, and the table of their medians.

use std::collections::BTreeMap;

use super::brokers::Kind;
use crate::process::println;

/// What the load generator prints: a name, a value.
pub(super) type Figures = BTreeMap<String, f64>;

/// The columns that a figure's name takes in the load generator's output.
const NAME_COLUMNS: usize = 28;

/// Reads the load generator's output.
pub(super) fn figures(printed: &str) -> Figures {
    let line = |line: &str| {
        let (name, rest) = line.split_at_checked(NAME_COLUMNS)?;
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some((name.trim().to_owned(), value))
    };
    printed.lines().filter_map(line).collect()
}

/// Whose runs a column shows: a broker's, in one of its settings.
pub(super) type Column = (Kind, &'static str);

/// Samples by row and column, in the order in which rows first came.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<(String, BTreeMap<Column, Vec<f64>>)>,
}

impl Table {
    /// Adds one run's value.
    pub(super) fn add(&mut self, row: &str, column: Column, value: f64) {
        let known = self.rows.iter().position(|(name, _)| name == row);
        let at = known.unwrap_or_else(|| {
            self.rows.push((row.to_owned(), BTreeMap::new()));
            self.rows.len() - 1
        });
        self.rows[at].1.entry(column).or_default().push(value);
    }

    /// Prints medians with the least and the greatest of their runs, and how often Millrace's
    /// median goes into each of Kafka's (above 1 means that Kafka's figure is the greater).
    pub(super) fn print(&self) {
        for (row, columns) in &self.rows {
            println(&format!("\n{row}"));
            let own = columns
                .iter()
                .find(|((kind, _), _)| *kind == Kind::Millrace)
                .map(|(_, samples)| median(samples));
            for ((kind, setting), samples) in columns {
                let value = median(samples);
                let (least, greatest) = range(samples);
                let ratio = match own {
                    Some(own) if *kind == Kind::Kafka && own > 0.0 => {
                        format!("  x {:.2}", value / own)
                    }
                    _ => String::new(),
                };
                println(&format!(
                    "  {:<34} {value:>12.3}  ({least:.3} to {greatest:.3}, {} runs){ratio}",
                    format!("{kind:?} {setting}"),
                    samples.len()
                ));
            }
        }
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

fn range(samples: &[f64]) -> (f64, f64) {
    let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (least, greatest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_they_are_printed() {
        let printed = "broker cpu per million                0.539 s\n\
                       records per second                  185936 /s\n\
                       anything else\n";
        let read = figures(printed);
        let expected = [
            ("broker cpu per million", 0.539),
            ("records per second", 185_936.0),
        ];
        assert_eq!(
            read,
            expected
                .map(|(name, value)| (name.to_owned(), value))
                .into()
        );
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
    }
}
