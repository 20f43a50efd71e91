//! The nearest known name to a misspelt one, by edit distance.

/// Longest name that is compared; a longer one is near to nothing.
const NAME_CHARS_MAX: usize = 100;

/// The candidate with the smallest distance, if at most a third of the name is wrong. The first
/// of several equally near ones.
pub(crate) fn nearest(
    name: &str,
    candidates: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let length = name.chars().count();
    if length > NAME_CHARS_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('_', ".");
    candidates
        .map(|candidate| (distance(&name, candidate), candidate))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, _)| *edits <= (length / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut edits = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                edits = edits.min(before_last[j - 2] + 1);
            }
            row.push(edits);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("log.dirs", "log.dir", 1),
            ("lgo.dirs", "log.dirs", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }

    #[test]
    fn only_a_near_name_is_named() {
        let names = || ["log.dirs", "node.id", "num.partitions"].into_iter();
        assert_eq!(nearest("log.dirz", names()), Some("log.dirs"));
        assert_eq!(nearest("NUM_PARTITION", names()), Some("num.partitions"));
        assert_eq!(nearest("completely.different", names()), None);
        assert_eq!(nearest(&"x".repeat(10_000), names()), None);
    }
}
