//! The control groups that this process is in, both versions: where a controller's file of each of
//! them lies, its own first and then those around it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel shows control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// How much of something this process may use, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// How much, in the unit of what asked for it.
    pub amount: u64,
    /// Whose limit it is.
    pub from: Giver,
}

/// Who limits what this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Giver {
    /// There is no more.
    Machine,
    /// The processors that the process is bound to.
    Affinity,
    /// A control group, by the file that says it.
    Group(PathBuf),
}

impl fmt::Display for Giver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => f.write_str("all of the machine's"),
            Self::Affinity => f.write_str("those it is bound to"),
            Self::Group(file) => write!(f, "by {}", file.display()),
        }
    }
}

/// A controller and the names of one of its files.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    /// Its name in version 1, and that of its mount.
    pub(super) controller: &'static str,
    /// In version 1.
    pub(super) first: &'static str,
    /// In version 2.
    pub(super) second: &'static str,
}

/// The groups of a process.
#[derive(Debug)]
pub(super) struct Groups {
    /// `/proc/self/cgroup`.
    own: String,
    mount: PathBuf,
}

impl Groups {
    /// Those of this process.
    pub(super) fn here() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::of(&own, Path::new(GROUPS))
    }

    /// Those that `own` names, shown below `mount`.
    pub(super) fn of(own: &str, mount: &Path) -> Self {
        Self {
            own: own.to_owned(),
            mount: mount.to_owned(),
        }
    }

    /// What that file says in each group that has it. In a container the path of a group may be the
    /// machine's while the container sees only its own group: then the mount's root is that group.
    pub(super) fn read(&self, file: File) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        for line in self.own.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let (root, name) = if controllers.is_empty() {
                (self.mount.clone(), file.second)
            } else if controllers.split(',').any(|name| name == file.controller) {
                (self.first_version(file.controller, controllers), file.first)
            } else {
                continue;
            };
            // A path that leads out of what is mounted is no path of ours.
            let path = Path::new(path.trim_start_matches('/'));
            for group in path.ancestors().filter(|group| !group.starts_with("..")) {
                let at = root.join(group).join(name);
                if let Ok(text) = fs::read_to_string(&at) {
                    found.push((at, text.trim().to_owned()));
                }
            }
        }
        found
    }

    /// Version 1 mounts a controller by its name, or several together by theirs.
    fn first_version(&self, controller: &str, together: &str) -> PathBuf {
        let alone = self.mount.join(controller);
        if alone.is_dir() {
            alone
        } else {
            self.mount.join(together)
        }
    }
}
