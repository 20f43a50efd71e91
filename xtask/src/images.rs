//! `cargo xtask images`: every state that a crash may leave of a log directory, or of a whole node
//! with its metadata log, opened, judged, and crashed a second time; or one image again. The programs
//! are `images/examples/images.rs` and `tests/examples/node_images.rs`.

use std::collections::BTreeSet;
use std::process::Command;

use clap::Args;

use crate::process::{output, println};
use crate::{Outcome, binaries, root};

/// Processes side by side; each judges its share of every history's images.
const SHARES: u64 = 2;

/// A program that judges images.
struct Program {
    example: &'static str,
    /// Fewer images than these are a failure.
    full_min: u64,
    smoke_min: u64,
}

const PROGRAMS: [Program; 2] = [
    Program {
        example: "images",
        full_min: 1_000_000,
        smoke_min: 50_000,
    },
    Program {
        example: "node_images",
        full_min: 50_000,
        smoke_min: 10_000,
    },
];

/// Which images.
#[derive(Args, Debug)]
pub(crate) struct ImagesArguments {
    /// What is drawn is drawn from this.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The images of one history only, of a directory or a node.
    #[arg(long)]
    history: Option<String>,
    /// One image of that history only.
    #[arg(long, requires = "history")]
    image: Option<u64>,
    /// Fewer of them, for a gate.
    #[arg(long)]
    smoke: bool,
}

/// Runs the suite.
pub(crate) fn run(arguments: &ImagesArguments) -> Outcome {
    let mut images = 0;
    let mut branches = BTreeSet::new();
    for program in &PROGRAMS {
        images += judge(program, arguments, &mut branches)?;
    }
    let names: Vec<&str> = branches.iter().map(String::as_str).collect();
    println(&format!(
        "{} branches of recovery are reached: {}",
        names.len(),
        names.join(", ")
    ));
    match &arguments.history {
        Some(history) if images == 0 => Err(format!("there is no image of a history {history}")),
        _ => {
            println(&format!("{images} crash images, no promise broken"));
            Ok(())
        }
    }
}

/// Judges the images of one program, and counts them.
fn judge(
    of: &Program,
    arguments: &ImagesArguments,
    branches: &mut BTreeSet<String>,
) -> Result<u64, String> {
    let program = binaries::example(of.example)?;
    let program = program.get_program();
    let shares = if arguments.image.is_some() { 1 } else { SHARES };
    let command = |share: u64| {
        let scale = if arguments.smoke { "smoke" } else { "full" };
        let mut command = Command::new(program);
        command.current_dir(root()).arg(scale);
        command.args([arguments.seed, share, shares].map(|number| number.to_string()));
        command.args(&arguments.history);
        command.args(arguments.image.map(|image| image.to_string()));
        command
    };
    let texts: Vec<Result<String, String>> = std::thread::scope(|scope| {
        let running = (0..shares).map(|share| scope.spawn(move || output(&mut command(share))));
        let running: Vec<_> = running.collect();
        let ended = running.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended
            .map(|text| text.unwrap_or_else(|_| Err("a share of the images panicked".to_owned())))
            .collect()
    });
    let mut images = 0;
    for text in texts {
        let text = text?;
        for line in text.lines() {
            match line.strip_prefix("branches: ") {
                Some(reached) => branches.extend(reached.split(' ').map(ToOwned::to_owned)),
                None => println(line),
            }
        }
        let last = text.lines().last().unwrap_or_default();
        let count = last.strip_suffix(" images").unwrap_or_default();
        images += count
            .parse::<u64>()
            .map_err(|_| format!("no count: {last}"))?;
    }
    let least = if arguments.smoke {
        of.smoke_min
    } else {
        of.full_min
    };
    if arguments.history.is_none() && images < least {
        let name = of.example;
        return Err(format!(
            "{name}: only {images} images, {least} are to be judged"
        ));
    }
    Ok(images)
}
