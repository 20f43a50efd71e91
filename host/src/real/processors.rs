//! How many processors this process may use: the machine's, those it is bound to, those of its
//! control groups' sets, and the time that its groups' quotas leave it.

use std::fs;
use std::num::NonZero;
use std::thread;

use super::groups::{File, Giver, Groups, Share};

/// Version 2: quota and period in microseconds, or `max` and a period.
const QUOTA: File = File {
    controller: "cpu",
    first: "cpu.cfs_quota_us",
    second: "cpu.max",
};
/// Version 1 has the period in a file of its own.
const PERIOD: &str = "cpu.cfs_period_us";

const SET: File = File {
    controller: "cpuset",
    first: "cpuset.cpus",
    second: "cpuset.cpus.effective",
};

/// Processors that this process may use at once, at least 1. A quota that is no whole number of them
/// counts as the next one: half a processor is one that is often away.
pub fn processors() -> Share {
    let online = fs::read_to_string("/sys/devices/system/cpu/online");
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let machine = online.ok().and_then(|list| count(&list));
    least(&Groups::here(), machine, of_status(&status)).unwrap_or_else(|| Share {
        amount: thread::available_parallelism().map_or(1, NonZero::get) as u64,
        from: Giver::Machine,
    })
}

fn least(groups: &Groups, machine: Option<u64>, bound_to: Option<u64>) -> Option<Share> {
    let of = |amount: Option<u64>, from| amount.map(|amount| Share { amount, from });
    let sets = groups
        .read(SET)
        .into_iter()
        .filter_map(|(path, text)| of(count(&text), Giver::Group(path)));
    let quotas = groups.read(QUOTA).into_iter().filter_map(|(path, text)| {
        let period = fs::read_to_string(path.with_file_name(PERIOD));
        let amount = quota(&text, period.ok().as_deref());
        of(amount, Giver::Group(path))
    });
    // The first of those that are equal: a group's set is told before the binding that follows it.
    let others = sets.chain(of(bound_to, Giver::Affinity)).chain(quotas);
    let all = of(machine, Giver::Machine).into_iter().chain(others);
    all.min_by_key(|share| share.amount)
}

/// Whole processors of a quota; `None` without one.
fn quota(text: &str, period: Option<&str>) -> Option<u64> {
    let mut words = text.split_whitespace();
    // Version 1 says -1 for none, version 2 `max`.
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next().or(period)?.trim().parse().ok()?;
    (period > 0).then(|| quota.div_ceil(period).max(1))
}

/// `Cpus_allowed_list` of `/proc/self/status`.
fn of_status(status: &str) -> Option<u64> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    count(list)
}

/// How many are in a list as `0-3,8`; `None` of an empty one, which is no limit.
fn count(list: &str) -> Option<u64> {
    let mut sum = 0_u64;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        sum = sum.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    (sum > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn lists_and_quotas_are_read() {
        for (list, expected) in [
            ("0\n", Some(1)),
            ("0-3\n", Some(4)),
            ("0-3,8,10-11", Some(7)),
            ("", None),
            ("3-1", None),
            ("0-18446744073709551615", None),
            ("many", None),
        ] {
            assert_eq!(count(list), expected, "{list}");
        }
        for (text, period, expected) in [
            ("max 100000", None, None),
            ("200000 100000", None, Some(2)),
            ("150000 100000", None, Some(2)),
            ("50000 100000", None, Some(1)),
            ("0 100000", None, Some(1)),
            ("1 0", None, None),
            ("-1", Some("100000\n"), None),
            ("300000", Some("100000\n"), Some(3)),
            ("300000", None, None),
            ("", None, None),
        ] {
            assert_eq!(quota(text, period), expected, "{text}");
        }
    }

    #[test]
    fn the_least_of_machine_binding_sets_and_quotas_counts_and_is_named() {
        let mount = tempfile::tempdir().unwrap();
        let at = |path: &str| mount.path().join(path);
        let found = |own: &str| least(&Groups::of(own, mount.path()), Some(16), Some(16)).unwrap();
        let own = "0::/a/b\n";
        assert_eq!(found(own).from, Giver::Machine);
        write(&at("a/cpu.max"), "350000 100000\n");
        write(&at("a/b/cpu.max"), "max 100000\n");
        let of_group = |amount, path: &str| Share {
            amount,
            from: Giver::Group(at(path)),
        };
        assert_eq!(found(own), of_group(4, "a/cpu.max"));
        write(&at("a/b/cpuset.cpus.effective"), "2-3\n");
        assert_eq!(found(own), of_group(2, "a/b/cpuset.cpus.effective"));
        // Version 1: both controllers in one mount.
        write(&at("cpu,cpuacct/x/cpu.cfs_quota_us"), "50000\n");
        write(&at("cpu,cpuacct/x/cpu.cfs_period_us"), "100000\n");
        let first = found("4:cpu,cpuacct:/x\n0::/\n");
        assert_eq!(first, of_group(1, "cpu,cpuacct/x/cpu.cfs_quota_us"));
        let bound = least(&Groups::of("", mount.path()), Some(16), Some(3));
        assert_eq!(
            bound,
            Some(Share {
                amount: 3,
                from: Giver::Affinity
            })
        );
    }

    #[test]
    fn this_process_may_use_one_at_least() {
        assert!(processors().amount >= 1);
        assert_eq!(of_status("Name:\tx\nCpus_allowed_list:\t0-1\n"), Some(2));
        assert_eq!(of_status(""), None);
    }
}
