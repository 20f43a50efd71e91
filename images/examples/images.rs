//! `cargo xtask images`: judges the crash images of every history, or one image again.
//!
//! Arguments: the scale (`full` or `smoke`), the seed, the rest and the divisor of the share of the
//! images to judge; then, for one history only, its name, and for one image only, its number.

use std::process::ExitCode;

use millrace_images::{Counts, HISTORIES, Plan, Scale, judge};
use millrace_probe::take_reached;

fn main() -> ExitCode {
    match run() {
        Ok(all) => {
            let reached = take_reached().into_keys();
            let reached: Vec<String> = reached.map(|branch| format!("{branch:?}")).collect();
            say(&format!("branches: {}", reached.join(" ")));
            say(&format!("{} images", all.all()));
            ExitCode::SUCCESS
        }
        Err(reason) => {
            say(&reason);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Counts, String> {
    let mut arguments = std::env::args().skip(1);
    let scale = match arguments.next().as_deref() {
        Some("full") => Scale::FULL,
        Some("smoke") => Scale::SMOKE,
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
    for history in &HISTORIES {
        if only.as_deref().is_some_and(|name| name != history.name) {
            continue;
        }
        let counts = judge(history, plan).map_err(|broken| broken.to_string())?;
        say(&format!("{:30} {counts}", history.name));
        all += counts;
    }
    Ok(all)
}

#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
fn say(line: &str) {
    println!("{line}");
}
