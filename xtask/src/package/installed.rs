//! The package on this machine: installed by dpkg, started by the very command of its unit as the
//! user that it made, with the socket that systemd would listen on; stopped as systemd stops it;
//! removed. What always holds: a machine that has a Millrace already is left alone, and whatever was
//! put here goes, on failure too.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::told;
use crate::Outcome;
use crate::packages::need;
use crate::process::{Watched, output, println, succeed};

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_mins(1);

const UNIT: &str = "/usr/lib/systemd/system/millrace.service";
const DATA: &str = "/var/lib/millrace";

/// Installs, starts, stops and removes.
pub(super) fn try_out(package: &Path) -> Outcome {
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Err("only root may install a package; without --smoke it is only built".to_owned());
    }
    for taken in ["/usr/bin/millrace", DATA, "/etc/millrace"] {
        if Path::new(taken).exists() {
            return Err(format!(
                "{taken} exists: not on a machine that has a Millrace"
            ));
        }
    }
    need("kcat", "kcat")?;
    need("setpriv", "util-linux")?;
    need("systemd-analyze", "systemd")?;
    need("adduser", "adduser")?;
    let _gone = Gone;
    succeed(Command::new("dpkg").arg("--install").arg(package))?;
    println("package: installed");
    output(Command::new("systemd-analyze").args(["verify", UNIT]))?;
    output(Command::new("millrace").args(["serve", "--help"]))?;
    pages()?;
    for round in ["first", "second"] {
        serve(round)?;
    }
    succeed(Command::new("dpkg").args(["--remove", "millrace"]))?;
    if Path::new("/usr/bin/millrace").exists() {
        return Err("the binary is still there after the package was removed".to_owned());
    }
    // The configuration is the operator's until a purge, the data for ever.
    for kept in ["/etc/millrace/millrace.properties", DATA] {
        if !Path::new(kept).exists() {
            return Err(format!("{kept} went with the package"));
        }
    }
    succeed(Command::new("dpkg").args(["--purge", "millrace"]))?;
    if !Path::new(DATA).exists() {
        return Err(format!("{DATA} went with the purge"));
    }
    println("package: removed, data kept");
    Ok(())
}

/// Whatever happens, the machine is as it was.
struct Gone;

impl Drop for Gone {
    fn drop(&mut self) {
        for words in [
            &["dpkg", "--purge", "millrace"][..],
            &["rm", "-rf", DATA, "/etc/millrace"],
            &["deluser", "--quiet", "--system", "millrace"],
        ] {
            if let Err(error) = output(Command::new(words[0]).args(&words[1..])) {
                println(&format!("package: clearing up: {error}"));
            }
        }
    }
}

fn pages() -> Outcome {
    for page in ["millrace", "millrace-serve", "millrace-check"] {
        let path = format!("/usr/share/man/man1/{page}.1.gz");
        let text = output(Command::new("gzip").args(["-dc", &path]))?;
        if !text.contains(".TH") {
            return Err(format!("{path} is no manual page"));
        }
    }
    Ok(())
}

/// Starts the service as its unit says, uses it, stops it.
fn serve(round: &str) -> Outcome {
    let unit = fs::read_to_string(UNIT).map_err(told("read the unit"))?;
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let start = start.ok_or("the unit says no ExecStart")?;
    let directory = tempfile::tempdir().map_err(told("make a directory"))?;
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).map_err(told("bind the notify socket"))?;
    socket
        .set_read_timeout(Some(LIMIT))
        .map_err(told("set a timeout"))?;
    for (path, mode) in [(directory.path(), 0o755), (&path, 0o777)] {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(path, permissions).map_err(told("open the socket to everybody"))?;
    }
    // The user that the package made; ports that nobody else has.
    let line = format!(
        "setpriv --reuid=millrace --regid=millrace --clear-groups env \
         NOTIFY_SOCKET={} MILLRACE_LISTENERS=PLAINTEXT://127.0.0.1:0 MILLRACE_ADMIN_LISTENER= {start}",
        path.display()
    );
    let mut broker = Watched::start(&line, Path::new("/"))?;
    let listening = "listening on PLAINTEXT://";
    let said = broker.wait_for_line("listen", LIMIT, |line| line.starts_with(listening))?;
    hear(&socket, "READY=1")?;
    let address = said.trim_start_matches(listening).split(',').next();
    let address = address.ok_or("no address was said")?;
    let script = format!(
        "echo {round} | kcat -P -b {address} -t installed -X acks=all && \
         kcat -C -b {address} -t installed -e -q"
    );
    let read = output(Command::new("timeout").args(["60", "sh", "-c", &script]))?;
    if read.lines().last() != Some(round) {
        return Err(format!("`{round}` was produced, and read: {read}"));
    }
    broker.terminate()?;
    hear(&socket, "STOPPING=1")?;
    let status = broker.wait(LIMIT)?;
    if !status.success() {
        return Err(format!("the service ended with {status} after SIGTERM"));
    }
    println(&format!("package: {round} start and stop"));
    Ok(())
}

/// Waits for a word of the broker to its supervisor.
fn hear(socket: &UnixDatagram, word: &str) -> Outcome {
    let mut text = [0; 1024];
    loop {
        let len = socket
            .recv(&mut text)
            .map_err(|error| format!("no {word} was said: {error}"))?;
        if String::from_utf8_lossy(&text[..len])
            .lines()
            .any(|line| line == word)
        {
            return Ok(());
        }
    }
}
