//! What machine this is, and what else it does: figures mean nothing without it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::cpu::available_bytes;
use crate::text;

/// With more runnable tasks than this before the first run, something else is at work.
const LOAD_MAX: f64 = 0.5;

/// The machine as one value.
pub(super) fn describe(root: &Path, dir: &Path) -> Result<Value, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map_or("unknown", |(_, value)| value.trim())
    };
    let load = read("/proc/loadavg");
    let load = load.split_ascii_whitespace().next();
    let load: f64 = load.and_then(|load| load.parse().ok()).unwrap_or(f64::NAN);
    let said = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root);
        let output = command
            .output()
            .ok()
            .filter(|output| output.status.success());
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_else(|| "unknown".to_owned())
    };
    let shown = dir.display().to_string();
    Ok(json!({
        "date": said("date", &["-u", "+%F %H:%M"]),
        "cpu": field("model name"),
        "cores": std::thread::available_parallelism().map_err(text)?.get(),
        "available_mib": available_bytes().map_err(text)? >> 20,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "file_system": said("stat", &["--file-system", "--format=%T", &shown]),
        "commit": said("git", &["describe", "--always", "--dirty"]),
        "load_average": load,
        "idle_before": load <= LOAD_MAX,
    }))
}

/// The machine for people.
pub(super) fn lines(machine: &Value) -> Vec<String> {
    let word = |key: &str| machine[key].as_str().unwrap_or("unknown").to_owned();
    let mut lines = vec![
        format!(
            "{} UTC, commit {}, Apache Kafka 4.3.1",
            word("date"),
            word("commit")
        ),
        format!(
            "{} x {}, {} MiB available, Linux {}, {}",
            machine["cores"],
            word("cpu"),
            machine["available_mib"],
            word("kernel"),
            word("file_system")
        ),
    ];
    if machine["idle_before"] != json!(true) {
        lines.push(format!(
            "NOT TO BE CITED: something else was at work before the first run (load average {})",
            machine["load_average"]
        ));
    }
    lines
}
