//! What the machine says of itself: file systems, the clock's source. For people who want to know
//! what will hurt, never for decisions of the broker.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where a path's file system is mounted and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its type, as in `mount -t`: `ext4`, `tmpfs`.
    pub kind: String,
    /// Where it is mounted.
    pub at: PathBuf,
    /// Its device numbers, the same for every mount of it.
    pub device: String,
}

/// The file system that holds `path`, which must exist.
///
/// # Errors
///
/// When the path can't be followed, or the kernel's list of mounts can't be read.
pub fn mounted(path: &Path) -> io::Result<Mounted> {
    let path = fs::canonicalize(path)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    // The last of those that are equally near lies on top.
    let nearest = mounts
        .lines()
        .filter_map(parse)
        .filter(|mounted| path.starts_with(&mounted.at))
        .max_by_key(|mounted| mounted.at.components().count());
    nearest.ok_or_else(|| io::Error::other("it is on no mount of /proc/self/mountinfo"))
}

/// The kernel's source of time (`tsc`, `kvm-clock`, `hpet`), where it says so.
pub fn clock_source() -> Option<String> {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let name = fs::read_to_string(path).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// One line of `/proc/self/mountinfo` (proc(5)): id, parent, device, root, mount point, options,
/// optional fields, a dash, type, source, options.
fn parse(line: &str) -> Option<Mounted> {
    let (place, kind) = line.split_once(" - ")?;
    let mut fields = place.split(' ').skip(2);
    let device = fields.next()?.to_owned();
    let at = unescape(fields.nth(1)?);
    let kind = kind.split(' ').next()?.to_owned();
    Some(Mounted { kind, at, device })
}

/// Blanks and the like stand as three octal digits behind a backslash.
fn unescape(text: &str) -> PathBuf {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out += before;
        let octal = after.get(..3);
        let byte = octal.and_then(|octal| u8::from_str_radix(octal, 8).ok());
        out.push(byte.map_or('\\', char::from));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read() {
        let line =
            r"36 35 98:0 /mnt1 /mnt\040two rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let expected = Mounted {
            kind: "ext3".to_owned(),
            at: PathBuf::from("/mnt two"),
            device: "98:0".to_owned(),
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("36 35 98:0"), None);
        assert_eq!(unescape(r"a\9\134b\"), PathBuf::from(r"a\9\b\"));
    }

    #[test]
    fn a_directory_is_somewhere() {
        let directory = tempfile::tempdir().unwrap();
        let found = mounted(directory.path()).unwrap();
        assert!(
            !found.kind.is_empty() && found.device.contains(':'),
            "{found:?}"
        );
        mounted(&directory.path().join("missing")).unwrap_err();
    }
}
