//! Connections that ask for nothing, and what the broker keeps in memory for them.
//!
//! What always holds: each connection was served before it fell silent, and is still open when memory
//! is read.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use millrace_host::Host;

use crate::cpu::{cpu_time, resident_bytes};
use crate::report::figure;
use crate::{load, text};

/// How many, for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct HoldArguments {
    /// The broker, as address and port.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: SocketAddr,
    /// The broker's process id.
    #[arg(long)]
    pid: u32,
    /// Connections beside the one that looks whether the broker serves.
    #[arg(long, default_value_t = 0)]
    connections: usize,
    /// How long nobody asks for anything, in seconds.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
}

/// Connects, waits, prints the broker's memory.
pub(crate) async fn run(host: &Host, arguments: &HoldArguments) -> Result<(), String> {
    let client = load::connect(host, arguments.bootstrap, 1).await?;
    let mut idle = Vec::new();
    for _ in 0..arguments.connections {
        idle.push(load::connect(host, arguments.bootstrap, 1).await?);
    }
    figure("connections", idle.len(), "");
    let before = cpu_time(arguments.pid).map_err(text)?;
    let start = host.clock.now().mono;
    let silence = Duration::from_secs_f64(arguments.seconds.max(0.0));
    host.clock.sleep_until(start + silence).await;
    let elapsed = host.clock.now().mono.since(start).as_secs_f64();
    let spent = cpu_time(arguments.pid)
        .map_err(text)?
        .saturating_sub(before);
    let (peak, now) = resident_bytes(arguments.pid).map_err(text)?;
    let open = idle.iter().filter(|one| one.connection().is_open()).count();
    if open < idle.len() {
        return Err(format!("{open} of {} connections are left", idle.len()));
    }
    client.metadata(Some(&[])).await.map_err(text)?;
    figure("broker resident", now >> 20, "MiB");
    figure("broker peak resident", peak >> 20, "MiB");
    let share = spent.as_secs_f64() * 100.0 / elapsed.max(1e-9);
    figure("broker cpu, idle", format!("{share:.2}"), "% of a core");
    Ok(())
}
