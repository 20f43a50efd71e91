//! A broker of the binary under test, on directories that a test looks into afterwards.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_host::Host;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A broker that serves; killed when dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Served {
    /// Starts one that writes what it says into a file; ready once it said where it listens.
    pub(crate) async fn start(host: &Host, mut command: Command, said: &Path) -> Self {
        let output = fs::File::create(said).unwrap();
        let mut child = command.stdout(output).spawn().unwrap();
        loop {
            let text = fs::read_to_string(said).unwrap();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let address = whole
                .lines()
                .find_map(|line| line.strip_prefix("listening on PLAINTEXT://")?.parse().ok());
            if let Some(address) = address {
                return Self { child, address };
            }
            assert_eq!(child.try_wait().unwrap(), None, "the broker ended");
            let soon = host.clock.now().mono + LOOK_EVERY;
            host.clock.sleep_until(soon).await;
        }
    }
}

/// The binary, which neither hears nor talks more than it must.
pub(crate) fn millrace() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.env("RUST_LOG", "error").stdin(Stdio::null());
    command
}

/// `millrace serve` on a free port, with these log directories.
pub(crate) fn serve_command(directories: &str) -> Command {
    let mut command = millrace();
    command.arg("serve");
    let log_dirs = format!("log.dirs={directories}");
    for setting in [
        "listeners=PLAINTEXT://127.0.0.1:0",
        "admin.listener=",
        &log_dirs,
    ] {
        command.args(["--set", setting]);
    }
    command
}
