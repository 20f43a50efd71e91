//! CPU time and memory by the operating system's own accounting, from `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

/// User and system time of a process, all its threads, ended ones included.
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    ticks(&pid.to_string(), [11, 12])
}

/// The same of the processes that this one started and that have ended.
pub(crate) fn children_cpu_time() -> io::Result<Duration> {
    ticks("self", [13, 14])
}

/// The sum of two fields of `/proc/PID/stat` that count ticks, the first behind the command being 0.
fn ticks(process: &str, fields: [usize; 2]) -> io::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path)?;
    // The second field is the command in brackets and may hold blanks: fields count from its end.
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut ticks = 0;
    for index in fields {
        let field = behind.split_ascii_whitespace().nth(index);
        let count = field.and_then(|field| field.parse::<u64>().ok());
        ticks += count.ok_or_else(|| io::Error::other(format!("{path} has no field {index}")))?;
    }
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_nanos(
        ticks.saturating_mul(1_000_000_000 / per_second.max(1)),
    ))
}

/// User and system time of the calling thread, to the nanosecond.
pub(crate) fn thread_cpu_time() -> io::Result<Duration> {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = schedstat.split_ascii_whitespace().next();
    let nanos = nanos.and_then(|nanos| nanos.parse().ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| io::Error::other("/proc/thread-self/schedstat has no time"))
}

/// Peak and present resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> io::Result<u64> {
        bytes_of(&status, name)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no {name}")))
    };
    Ok((field("VmHWM:")?, field("VmRSS:")?))
}

/// What the kernel could give away without swapping, in bytes.
pub(crate) fn available_bytes() -> io::Result<u64> {
    let about = fs::read_to_string("/proc/meminfo")?;
    bytes_of(&about, "MemAvailable:")
        .ok_or_else(|| io::Error::other("/proc/meminfo has no MemAvailable"))
}

/// The value of a line of `/proc` that is given in KiB.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = rest.trim().trim_end_matches(" kB").trim().parse::<u64>();
    kib.ok().map(|kib| kib * 1024)
}
