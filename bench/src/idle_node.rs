//! The broker under measurement: its process, what it takes of memory and disk.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_host::Host;
use rustix::fs::{Advice, fadvise};
use rustix::process::{Pid, Signal, kill_process};

use crate::cpu::{cpu_time, resident_bytes};
use crate::text;

/// How long a clean stop may take.
const STOP_TIMEOUT: Duration = Duration::from_mins(5);
/// What a JVM says that stopped as it was asked to.
const JVM_TERMINATED: i32 = 128 + 15;
/// Between two looks whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A broker's process; killed with this value, if it still runs.
pub(crate) struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("millrace-bench: the broker could not be ended: {error}");
        }
    }
}

impl Node {
    /// Starts the command.
    pub(crate) fn start(command: &[String]) -> Result<Self, String> {
        let (program, rest) = command.split_first().ok_or("no command")?;
        let child = Command::new(program)
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        Ok(Self(child))
    }

    /// An error when it has ended.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        match self.0.try_wait().map_err(text)? {
            Some(status) => Err(format!("the broker ended: {status}")),
            None => Ok(()),
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Bytes of memory that it holds now.
    pub(crate) fn resident(&self) -> Result<u64, String> {
        resident_bytes(self.0.id())
            .map(|(_, now)| now)
            .map_err(text)
    }

    /// Processor time that it has taken.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        cpu_time(self.0.id()).map_err(text)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        let killed = self.0.kill().and_then(|()| self.0.wait().map(drop));
        killed.map_err(text)
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(&mut self, host: &Host) -> Result<(), String> {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or("no process")?, Signal::TERM).map_err(text)?;
        let deadline = host.clock.now().mono + STOP_TIMEOUT;
        loop {
            if let Some(status) = self.0.try_wait().map_err(text)? {
                return if status.success() || status.code() == Some(JVM_TERMINATED) {
                    Ok(())
                } else {
                    Err(format!("the broker did not stop cleanly: {status}"))
                };
            }
            let now = host.clock.now().mono;
            if now > deadline {
                return Err(format!("the broker has not stopped in {STOP_TIMEOUT:?}"));
            }
            host.clock.sleep_until(now + LOOK_EVERY).await;
        }
    }
}

/// What a directory takes of the disk: bytes, and how many files and directories.
pub(crate) fn usage(directory: &Path) -> Result<(u64, u64), String> {
    let (mut bytes, mut count) = (0, 0);
    walk(directory, &mut |path, _| {
        let about = fs::symlink_metadata(path).map_err(text)?;
        bytes += about.blocks() * 512;
        count += 1;
        Ok(())
    })?;
    Ok((bytes, count))
}

/// Drops what the page cache holds: of the whole machine with names, where that is permitted, else
/// of the files below `directory`. Says which, as the unit of the figures that follow.
pub(crate) fn drop_caches(directory: &Path) -> Result<&'static str, String> {
    rustix::fs::sync();
    if fs::write("/proc/sys/vm/drop_caches", "3").is_ok() {
        return Ok("s (cold cache)");
    }
    walk(directory, &mut |path, is_file| {
        if is_file && let Ok(file) = File::open(path) {
            fadvise(&file, 0, None, Advice::DontNeed).map_err(text)?;
        }
        Ok(())
    })?;
    Ok("s (cold files, warm names)")
}

/// Visits everything below a directory.
fn walk(
    directory: &Path,
    visit: &mut dyn FnMut(&Path, bool) -> Result<(), String>,
) -> Result<(), String> {
    let listed = fs::read_dir(directory);
    for entry in listed.map_err(|error| format!("{}: {error}", directory.display()))? {
        let entry = entry.map_err(text)?;
        let is_directory = entry.file_type().map_err(text)?.is_dir();
        visit(&entry.path(), !is_directory)?;
        if is_directory {
            walk(&entry.path(), visit)?;
        }
    }
    Ok(())
}
