//! How much memory this process may use: what its control groups leave it, or the machine's.

use std::fs;

use super::groups::{File, Giver, Groups, Share};

const LIMIT: File = File {
    controller: "memory",
    first: "memory.limit_in_bytes",
    second: "memory.max",
};

/// The least of the limits on the memory of this process, in bytes: of its control group and of
/// every one around it (version 2 `memory.max`, version 1 `memory.limit_in_bytes`), and the machine's
/// memory. Page cache counts against the first two. `None` when none can be read.
pub fn memory_limit() -> Option<Share> {
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    least(&Groups::here(), of_machine(&machine))
}

fn least(groups: &Groups, machine: Option<u64>) -> Option<Share> {
    let machine = machine.map(|amount| Share {
        amount,
        from: Giver::Machine,
    });
    let of_groups = groups.read(LIMIT).into_iter().filter_map(|(path, text)| {
        // `max` is no limit.
        let amount = text.parse().ok()?;
        let from = Giver::Group(path);
        Some(Share { amount, from })
    });
    // The first of those that are equal: what is no limit beside the machine's is not named.
    machine
        .into_iter()
        .chain(of_groups)
        .min_by_key(|share| share.amount)
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
    use std::path::Path;

    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn of_groups(own: &str, mount: &Path) -> Option<u64> {
        least(&Groups::of(own, mount), None).map(|share| share.amount)
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
    fn whose_limit_it_is_is_told() {
        let mount = tempfile::tempdir().unwrap();
        let file = mount.path().join("a/memory.max");
        write(&file, "300\n");
        let groups = Groups::of("0::/a\n", mount.path());
        let of_group = Share {
            amount: 300,
            from: Giver::Group(file),
        };
        assert_eq!(least(&groups, Some(301)), Some(of_group.clone()));
        assert_eq!(least(&groups, None), Some(of_group));
        let of_machine = least(&groups, Some(300)).unwrap();
        assert_eq!(of_machine.from, Giver::Machine);
    }

    #[test]
    fn what_cannot_be_read_is_no_limit() {
        let mount = tempfile::tempdir().unwrap();
        for own in ["", "nonsense", "0::", "0::/../..", "3:memory:/x"] {
            assert_eq!(of_groups(own, mount.path()), None, "{own}");
        }
        assert_eq!(of_machine("MemTotal:        2048 kB\n"), Some(2 << 20));
        assert_eq!(of_machine("MemTotal: many kB\n"), None);
        assert!(memory_limit().is_some_and(|share| share.amount > 1 << 20));
    }
}
