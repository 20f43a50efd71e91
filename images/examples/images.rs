//! `cargo xtask images`: judges the crash images of every history, or one image again.
//! Its arguments are those of `millrace_images::program`.

use std::process::ExitCode;

use millrace_images::program::{Judged, judge_asked};
use millrace_images::{Counts, HISTORIES, Scale, judge};
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
    let histories = HISTORIES.iter().map(|history| Judged {
        name: history.name,
        judge: Box::new(move |plan| judge(history, plan)),
    });
    let arguments = std::env::args().skip(1);
    judge_asked(arguments, (Scale::FULL, Scale::SMOKE), histories, say)
}

#[expect(clippy::print_stdout, reason = "the output of a developer's tool")]
fn say(line: &str) {
    println!("{line}");
}
