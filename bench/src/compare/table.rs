//! Figures of several runs: medians with the least and the greatest, and ratios pair by pair, each run
//! of one column over the run of the other that stood beside it.

use serde_json::{Value, json};

/// A bound on a figure, or on its ratio to another column's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What a column is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Goal {
    /// Whose figure.
    pub(super) column: usize,
    /// Over whose; by itself where nobody's.
    pub(super) over: Option<usize>,
    /// What it may be more, before that ratio is taken.
    pub(super) plus: f64,
    pub(super) bound: Bound,
}

/// A figure that every column is asked for.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What the runs call it, and what those that have no such figure call what stands for it.
    figure: &'static str,
    or: &'static str,
    label: String,
    goals: Vec<Goal>,
}

impl Row {
    pub(super) fn new(figure: &'static str, label: impl Into<String>) -> Self {
        Self {
            figure,
            or: figure,
            label: label.into(),
            goals: Vec::new(),
        }
    }

    /// The same with nothing to reach: where hardly anything is measured.
    pub(super) fn unjudged(mut self) -> Self {
        self.goals.clear();
        self
    }

    /// The same, with what stands for it in runs that have no such figure.
    pub(super) fn or(mut self, figure: &'static str) -> Self {
        self.or = figure;
        self
    }

    /// The same with what a column is to reach.
    pub(super) fn goal(self, column: usize, over: Option<usize>, bound: Bound) -> Self {
        self.goal_plus(column, over, bound, 0.0)
    }

    /// The same, with what may be added to the other column's.
    pub(super) fn goal_plus(
        mut self,
        column: usize,
        over: Option<usize>,
        bound: Bound,
        plus: f64,
    ) -> Self {
        self.goals.push(Goal {
            column,
            over,
            plus,
            bound,
        });
        self
    }
}

/// Who is in a column, and over whose figures its own are shown.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) label: String,
    pub(super) over: Vec<usize>,
}

/// What one scenario measured: `samples[row][column][run]`, nothing where a column has no such figure.
#[derive(Clone, Debug)]
pub(super) struct Section {
    id: String,
    title: String,
    columns: Vec<Column>,
    rows: Vec<Row>,
    samples: Vec<Vec<Vec<Option<f64>>>>,
}

/// Median, least, greatest.
type Spread = (f64, f64, f64);

impl Section {
    pub(super) fn new(id: &str, title: &str, columns: Vec<Column>, rows: Vec<Row>) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            samples: vec![vec![Vec::new(); columns.len()]; rows.len()],
            columns,
            rows,
        }
    }

    /// What this is called among the others.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Adds one run of a column: every row's figure, if there is one.
    pub(super) fn add(&mut self, column: usize, figure: impl Fn(&str) -> Option<f64>) {
        for (row, samples) in self.rows.iter().zip(&mut self.samples) {
            samples[column].push(figure(row.figure).or_else(|| figure(row.or)));
        }
    }

    /// Whether any column has any figure.
    pub(super) fn is_empty(&self) -> bool {
        let mut all = self.samples.iter().flatten().flatten();
        all.all(Option::is_none)
    }

    /// The table, for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}  {}", self.id, self.title)];
        for at in 0..self.rows.len() {
            let columns: Vec<usize> = (0..self.columns.len())
                .filter(|column| self.spread(at, *column).is_some())
                .collect();
            if columns.is_empty() {
                continue;
            }
            lines.push(format!("  {}", self.rows[at].label));
            lines.extend(columns.into_iter().map(|column| self.line(at, column)));
        }
        lines
    }

    fn line(&self, row: usize, column: usize) -> String {
        let label = &self.columns[column].label;
        let (median, least, greatest) = self.spread(row, column).unwrap_or_default();
        let mut parts = vec![format!(
            "    {label:<34} {:>10}  ({} to {})",
            short(median),
            short(least),
            short(greatest)
        )];
        for over in &self.columns[column].over {
            if let Some((median, least, greatest)) = self.ratio(row, column, *over, 0.0) {
                parts.push(format!(
                    "x {} of {} ({} to {})",
                    short(median),
                    self.columns[*over].label,
                    short(least),
                    short(greatest)
                ));
            }
        }
        for (goal, value) in self.goals(row, column) {
            let (word, bound) = match goal.bound {
                Bound::AtMost(bound) => ("at most", bound),
                Bound::AtLeast(bound) => ("at least", bound),
            };
            let of = goal.over.map_or(String::new(), |over| {
                format!(" x {}", self.columns[over].label)
            });
            let of = if goal.plus > 0.0 {
                format!("{of} + {}", short(goal.plus))
            } else {
                of
            };
            let holds = if goal.holds(value) { "holds" } else { "MISSED" };
            parts.push(format!("[{word} {}{of}: {holds}]", short(bound)));
        }
        parts.join("   ")
    }

    /// Goals of a column with the figures that they are about, where there are such.
    fn goals(&self, row: usize, column: usize) -> Vec<(Goal, f64)> {
        let of_column = self.rows[row].goals.iter();
        let of_column = of_column.filter(|goal| goal.column == column);
        let value = |goal: &Goal| {
            let spread = match goal.over {
                Some(over) => self.ratio(row, column, over, goal.plus),
                None => self.spread(row, column),
            };
            Some((*goal, spread?.0))
        };
        of_column.filter_map(value).collect()
    }

    /// Each row as one value for scripts.
    pub(super) fn json(&self) -> Vec<Value> {
        let row = |(at, row): (usize, &Row)| {
            let column = |(column, about): (usize, &Column)| {
                let (median, least, greatest) = self.spread(at, column)?;
                let over = about.over.iter().filter_map(|over| {
                    let (median, least, greatest) = self.ratio(at, column, *over, 0.0)?;
                    let of = &self.columns[*over].label;
                    Some(
                        json!({ "of": of, "median": median, "least": least, "greatest": greatest }),
                    )
                });
                let goals = self.goals(at, column).into_iter().map(|(goal, value)| {
                    let of = goal.over.map(|over| self.columns[over].label.clone());
                    let (at_most, at_least) = match goal.bound {
                        Bound::AtMost(bound) => (Some(bound), None),
                        Bound::AtLeast(bound) => (None, Some(bound)),
                    };
                    json!({
                        "of": of, "at_most": at_most, "at_least": at_least,
                        "value": value, "holds": goal.holds(value),
                    })
                });
                Some(json!({
                    "column": about.label, "median": median, "least": least,
                    "greatest": greatest, "over": over.collect::<Vec<_>>(),
                    "goals": goals.collect::<Vec<_>>(),
                }))
            };
            let columns = self.columns.iter().enumerate().filter_map(column);
            json!({
                "scenario": self.id, "title": self.title, "row": row.label,
                "columns": columns.collect::<Vec<_>>(),
            })
        };
        self.rows.iter().enumerate().map(row).collect()
    }

    fn spread(&self, row: usize, column: usize) -> Option<Spread> {
        spread(
            self.samples[row][column]
                .iter()
                .flatten()
                .copied()
                .collect(),
        )
    }

    /// One column's runs, less `plus`, over the other one's.
    fn ratio(&self, row: usize, column: usize, over: usize, plus: f64) -> Option<Spread> {
        let pairs = self.samples[row][column]
            .iter()
            .zip(&self.samples[row][over]);
        let ratio = |(own, other): (&Option<f64>, &Option<f64>)| {
            let (own, other) = ((*own)?, (*other)?);
            (other > 0.0).then_some((own - plus) / other)
        };
        spread(pairs.filter_map(ratio).collect())
    }
}

impl Goal {
    fn holds(self, value: f64) -> bool {
        match self.bound {
            Bound::AtMost(bound) => value <= bound,
            Bound::AtLeast(bound) => value >= bound,
        }
    }
}

fn spread(mut samples: Vec<f64>) -> Option<Spread> {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    let median = match samples.len() {
        0 => return None,
        n if n % 2 == 1 => samples[middle],
        _ => f64::midpoint(samples[middle - 1], samples[middle]),
    };
    Some((median, samples[0], samples[samples.len() - 1]))
}

/// About three digits.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Section {
        let column = |label: &str, over: &[usize]| Column {
            label: label.to_owned(),
            over: over.to_vec(),
        };
        let row = Row::new("cpu", "CPU, s").goal(1, Some(0), Bound::AtMost(0.5));
        let columns = vec![column("Kafka", &[]), column("Millrace", &[0])];
        Section::new("p1", "a title", columns, vec![row])
    }

    fn add(section: &mut Section, column: usize, value: Option<f64>) {
        section.add(column, |name| value.filter(|_| name == "cpu"));
    }

    #[test]
    fn a_ratio_is_taken_run_by_run_and_not_of_the_medians() {
        let mut section = section();
        for (kafka, millrace) in [(1.0, 0.9), (10.0, 1.0), (3.0, 1.2)] {
            add(&mut section, 0, Some(kafka));
            add(&mut section, 1, Some(millrace));
        }
        // Of the medians it would be a third.
        let (median, least, greatest) = section.ratio(0, 1, 0, 0.0).unwrap();
        assert!((median - 0.4).abs() < 1e-9, "{median}");
        assert!((least - 0.1).abs() < 1e-9 && (greatest - 0.9).abs() < 1e-9);
        let lines = section.lines();
        assert!(
            lines[3].contains("[at most 0.500 x Kafka: holds]"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_run_without_the_figure_pairs_with_nothing() {
        let mut section = section();
        add(&mut section, 1, Some(1.0));
        assert_eq!(section.ratio(0, 1, 0, 0.0), None);
        assert_eq!(section.lines().len(), 3, "Kafka has no line");
        add(&mut section, 0, None);
        assert_eq!(section.ratio(0, 1, 0, 0.0), None);
        assert!(!section.is_empty());
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(spread(vec![4.0, 1.0, 2.0, 3.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(spread(Vec::new()), None);
    }
}
