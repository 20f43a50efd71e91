//! The version that `--version` says: the package's and the commit that it was built from, where a
//! git checkout can tell it.

use std::process::Command;

fn main() {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match commit() {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    // Standard output is how a build script speaks to cargo.
    for line in [
        format!("cargo::rustc-env=BUILD_VERSION={version}"),
        "cargo::rerun-if-changed=../.git/HEAD".to_owned(),
        "cargo::rerun-if-changed=../.git/logs/HEAD".to_owned(),
    ] {
        println!("{line}");
    }
}

/// The commit of the checkout, if this is one; a source archive is none.
fn commit() -> Option<String> {
    let asked = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    let commit = String::from_utf8(asked.stdout).ok()?;
    let commit = commit.trim();
    (asked.status.success() && !commit.is_empty()).then(|| commit.to_owned())
}
