//! How much memory this process may use: what its control groups leave it, or the machine's.

use std::fs;
use std::path::Path;

/// Where the kernel shows control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// The least of the limits on the memory of this process, in bytes: of its control group and of
/// every one around it (version 2 `memory.max`, version 1 `memory.limit_in_bytes`), and the machine's
/// memory. Page cache counts against the first two. `None` when none can be read.
pub fn memory_limit() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of_groups = of_groups(&own, Path::new(GROUPS));
    of_groups.into_iter().chain(of_machine(&machine)).min()
}

/// The limits of the groups that `/proc/self/cgroup` names. In a container its path may be the
/// machine's while the container sees only its own group: then the mount's root is that group.
fn of_groups(own: &str, mount: &Path) -> Option<u64> {
    let mut least = None;
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            (mount.to_owned(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (mount.join("memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // A path that leads out of what is mounted is no path of ours.
        let path = Path::new(path.trim_start_matches('/'));
        for group in path.ancestors().filter(|group| !group.starts_with("..")) {
            least = least
                .into_iter()
                .chain(read(&root.join(group).join(file)))
                .min();
        }
    }
    least
}

/// A limit; `max` is none.
fn read(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `MemTotal` of `/proc/meminfo`.
fn of_machine(meminfo: &str) -> Option<u64> {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_around_it_counts() {
        let mount = tempfile::tempdir().unwrap();
        let at = |path: &str| mount.path().join(path);
        write(&at("memory.max"), "max\n");
        write(&at("a/memory.max"), "300\n");
        write(&at("a/b/memory.max"), "max\n");
        assert_eq!(of_groups("0::/a/b\n", mount.path()), Some(300));
        write(&at("a/b/memory.max"), "200\n");
        assert_eq!(of_groups("0::/a/b\n", mount.path()), Some(200));
        assert_eq!(of_groups("0::/other\n", mount.path()), None);
        // Version 1 beside it, with the path of the machine in a container.
        write(&at("memory/memory.limit_in_bytes"), "150\n");
        let own = "9:cpu,memory:/docker/x\n1:name=systemd:/\n0::/a/b\n";
        assert_eq!(of_groups(own, mount.path()), Some(150));
        write(&at("memory/docker/x/memory.limit_in_bytes"), "100\n");
        assert_eq!(of_groups(own, mount.path()), Some(100));
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        let mount = tempfile::tempdir().unwrap();
        for own in ["", "nonsense", "0::", "0::/../..", "3:memory:/x"] {
            assert_eq!(of_groups(own, mount.path()), None, "{own}");
        }
        assert_eq!(of_machine("MemTotal:        2048 kB\n"), Some(2 << 20));
        assert_eq!(of_machine("MemTotal: many kB\n"), None);
        assert!(memory_limit().is_some_and(|bytes| bytes > 1 << 20));
    }
}
