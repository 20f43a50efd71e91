//! What the programs of `cargo xtask images` have in common: which images are asked for, and judging
//! them history by history.
//!
//! Arguments: the scale (`full` or `smoke`), the seed, the rest and the divisor of the share of the
//! images to judge; then, for one history only, its name, and for one image only, its number.

use crate::{Broken, Counts, Plan, Scale};

/// A history as a program judges it.
pub struct Judged<'a> {
    /// Its name.
    pub name: &'static str,
    /// Judges its images.
    pub judge: Box<dyn Fn(Plan) -> Result<Counts, Broken> + 'a>,
}

/// Judges what the arguments ask for, up to the first broken promise; `tell` gets a line for each
/// history.
///
/// # Errors
///
/// The broken promise, or what the arguments lack.
pub fn judge_asked<'a>(
    mut arguments: impl Iterator<Item = String>,
    (full, smoke): (Scale, Scale),
    histories: impl IntoIterator<Item = Judged<'a>>,
    tell: fn(&str),
) -> Result<Counts, String> {
    let scale = match arguments.next().as_deref() {
        Some("full") => full,
        Some("smoke") => smoke,
        other => return Err(format!("full or smoke, not {other:?}")),
    };
    let mut number = |name: &str| {
        let given = arguments.next().and_then(|text| text.parse().ok());
        given.ok_or_else(|| format!("{name} is missing"))
    };
    let mut plan = Plan {
        seed: number("the seed")?,
        share: (number("the rest")?, number("the divisor")?),
        ..Plan::of(scale)
    };
    let only = arguments.next();
    plan.only = arguments.next().and_then(|image| image.parse().ok());
    let mut all = Counts::default();
    for history in histories {
        if only.as_deref().is_some_and(|name| name != history.name) {
            continue;
        }
        let counts = (history.judge)(plan).map_err(|broken| broken.to_string())?;
        tell(&format!("{:30} {counts}", history.name));
        all += counts;
    }
    Ok(all)
}
