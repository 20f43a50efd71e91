//! `cargo xtask images`: judges the crash images of a whole node's histories, or one image again.
//! Its arguments are those of `millrace_images::program`.

use std::process::ExitCode;

use millrace_images::program::{Judged, judge_asked};
use millrace_images::{Counts, Scale};
use millrace_probe::take_reached;
use millrace_tests::node_images::{HISTORIES, judge};

/// A process of a whole node takes ten times as long as one of a log directory.
const FULL: Scale = Scale {
    drawn: 4,
    seconds: 1,
    one_in: 2,
    ..Scale::FULL
};
const SMOKE: Scale = Scale {
    one_in: 6,
    ..Scale::SMOKE
};

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
    let histories = HISTORIES.iter().map(|history| Judged {
        name: history.name,
        judge: Box::new(move |plan| judge(history, plan)),
    });
    let arguments = std::env::args().skip(1);
    judge_asked(arguments, (FULL, SMOKE), histories, say)
}

#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
fn say(line: &str) {
    println!("{line}");
}
