//! `cargo xtask images`: every state that a crash may leave of a log directory, opened, judged, and
//! crashed a second time; or one image again. The program is `images/examples/images.rs`.

use std::process::Command;

use clap::Args;

use crate::binaries::{cargo, target_directory};
use crate::process::{output, println, succeed};
use crate::{Outcome, root};

/// Processes side by side; each judges its share of every history's images.
const SHARES: u64 = 2;
/// Fewer images than these are a failure.
const FULL_MIN: u64 = 1_000_000;
const SMOKE_MIN: u64 = 50_000;

/// Which images.
#[derive(Args, Debug)]
pub(crate) struct ImagesArguments {
    /// What is drawn is drawn from this.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The images of one history only.
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
    let build = [
        "build",
        "--release",
        "--locked",
        "--package",
        "millrace-images",
        "--example",
        "images",
    ];
    succeed(cargo().args(build))?;
    let program = target_directory()?.join("release/examples/images");
    let shares = if arguments.image.is_some() { 1 } else { SHARES };
    let command = |share: u64| {
        let scale = if arguments.smoke { "smoke" } else { "full" };
        let mut command = Command::new(&program);
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
        println(&text);
        let last = text.lines().last().unwrap_or_default();
        let count = last.strip_suffix(" images").unwrap_or_default();
        images += count
            .parse::<u64>()
            .map_err(|_| format!("no count: {last}"))?;
    }
    println(&format!("{images} crash images, no promise broken"));
    let least = if arguments.smoke { SMOKE_MIN } else { FULL_MIN };
    if arguments.history.is_none() && images < least {
        return Err(format!("only {images} images, {least} are to be judged"));
    }
    Ok(())
}
