//! Touching memory before a measurement. A virtual machine gets each page from its host at the
//! first touch, and the kernel pays for that in whoever touches it: a broker that fills the page
//! cache on a fresh machine is charged five times what it costs on one that has run for a while.

use clap::Args;
use millrace_host::Clock;

use crate::cpu::available_bytes;
use crate::report::figure;
use crate::text;

/// Memory is taken in pieces of this many bytes, so that what is there is touched before it ends.
const PIECE_BYTES: usize = 64 << 20;
/// One touch in each of these.
const PAGE_BYTES: usize = 4096;

/// How much to touch.
#[derive(Args, Clone, Debug)]
pub(crate) struct WarmArguments {
    /// Mebibytes to touch; without it three quarters of what the machine has available, since
    /// nobody can say which pages the next file gets.
    #[arg(long)]
    mib: Option<usize>,
}

/// Touches the memory, gives it back, prints how long it took.
pub(crate) fn run(clock: &dyn Clock, arguments: &WarmArguments) -> Result<(), String> {
    let start = clock.now().mono;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let bytes = match arguments.mib {
        Some(mib) => mib << 20,
        None => usize::try_from(available_bytes().map_err(text)? / 4 * 3).map_err(text)?,
    };
    for _ in 0..bytes.div_ceil(PIECE_BYTES) {
        let mut piece = Vec::new();
        piece
            .try_reserve_exact(PIECE_BYTES)
            .map_err(|error| format!("no memory after {} pieces: {error}", pieces.len()))?;
        piece.resize(PIECE_BYTES, 0);
        for at in (0..PIECE_BYTES).step_by(PAGE_BYTES) {
            piece[at] = 1;
        }
        pieces.push(piece);
    }
    let elapsed = clock.now().mono.since(start);
    let touched: usize = pieces.iter().map(Vec::len).sum();
    figure("memory touched", touched >> 20, "MiB");
    figure("elapsed", format!("{:.3}", elapsed.as_secs_f64()), "s");
    Ok(())
}
