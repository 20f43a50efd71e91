//! The files of the file connectors: lines that begin with their number.

use std::io::Write;
use std::path::Path;

use crate::Outcome;

/// Lines that a file has, a last one without its end not counted.
pub(super) fn count(path: &Path) -> Result<i64, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    i64::try_from(text.matches('\n').count()).map_err(|error| error.to_string())
}

/// The highest number that a line of a file begins with; -1 when there is none, or no file yet.
pub(super) fn newest(path: &Path) -> i64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let numbers = text.lines().filter_map(|line| {
        let number = line.split(' ').next()?;
        number.parse::<i64>().ok()
    });
    numbers.max().unwrap_or(-1)
}

/// Adds so many lines.
pub(super) fn append(path: &Path, lines: u32) -> Outcome {
    let first = count(path)?;
    let mut file = std::fs::File::options()
        .append(true)
        .open(path)
        .map_err(|error| error.to_string())?;
    for nth in first..first + i64::from(lines) {
        writeln!(file, "{nth:09} paused").map_err(|error| error.to_string())?;
    }
    Ok(())
}
