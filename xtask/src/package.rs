//! `cargo xtask package`: the Debian package, built from what ships by Debian's own tool; with
//! `--smoke` it is also installed, started, stopped and removed on this machine, as root, as
//! its service would be.

mod installed;
mod without_c;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::packages::need;
use crate::process::{output, println, succeed};
use crate::{Outcome, binaries, root};

/// Shells whose completions the package brings, and where each looks for them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/millrace"),
    ("zsh", "usr/share/zsh/vendor-completions/_millrace"),
    ("fish", "usr/share/fish/vendor_completions.d/millrace.fish"),
];

/// What to build and whether to try it.
#[derive(Args, Debug)]
pub(crate) struct PackageArguments {
    /// Where the package goes; the target directory if not said.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Packs the binary that suites run, which is built in less time: to try the package, not to give
    /// it away.
    #[arg(long)]
    unoptimised: bool,
    /// Installs, starts, stops and removes it on this machine, which must not have one.
    #[arg(long)]
    smoke: bool,
}

/// Runs the suite.
pub(crate) fn run(arguments: &PackageArguments) -> Outcome {
    need("dpkg-deb", "dpkg")?;
    need("gzip", "gzip")?;
    without_c::build()?;
    let binary = if arguments.unoptimised {
        binaries::millrace()?
    } else {
        binaries::millrace_as_shipped()?
    };
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => binaries::target_directory()?,
    };
    let package = build(&binary, &out)?;
    println(&format!("package: {}", package.display()));
    if arguments.smoke {
        installed::try_out(&package)?;
    }
    Ok(())
}

/// Builds the package out of a tree of files.
fn build(binary: &Path, out: &Path) -> Result<PathBuf, String> {
    let version = version(binary)?;
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim();
    let staging = tempfile::tempdir().map_err(told("make a directory"))?;
    let tree = staging.path().join("millrace");
    files(binary, &tree)?;
    scripts(&tree)?;
    let control = format!(
        "Package: millrace\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: The Millrace maintainers <maintainers@millrace.invalid>\n\
         Section: net\n\
         Priority: optional\n\
         Depends: adduser, libc6 (>= {}), libgcc-s1\n\
         Installed-Size: {}\n\
         Description: log broker that speaks the Apache Kafka protocol\n \
         What it acknowledges with acks=all is on stable storage, and comes back after a\n \
         kill or a power cut: once, in order, at its offset.\n",
        libc_version()?,
        kilobytes(&tree)?,
    );
    write(&tree, "DEBIAN/control", control.as_bytes())?;
    write(
        &tree,
        "DEBIAN/conffiles",
        b"/etc/millrace/millrace.properties\n",
    )?;
    let package = out.join(format!("millrace_{version}_{architecture}.deb"));
    let mut command = Command::new("dpkg-deb");
    command.args(["--build", "--root-owner-group"]);
    succeed(command.arg(&tree).arg(&package))?;
    Ok(package)
}

/// Everything that the package puts on a machine.
fn files(binary: &Path, tree: &Path) -> Outcome {
    let repository = root();
    let copies = [
        (binary.to_owned(), "usr/bin/millrace"),
        (
            repository.join("dist/millrace.service"),
            "usr/lib/systemd/system/millrace.service",
        ),
        (
            repository.join("dist/debian/millrace.properties"),
            "etc/millrace/millrace.properties",
        ),
        (
            repository.join("config/millrace.properties"),
            "usr/share/doc/millrace/millrace.properties",
        ),
        (
            repository.join("dist/grafana/millrace.json"),
            "usr/share/doc/millrace/grafana-dashboard.json",
        ),
        (
            repository.join("dist/prometheus/alerts.yml"),
            "usr/share/doc/millrace/prometheus-alerts.yml",
        ),
        (
            repository.join("LICENSE"),
            "usr/share/doc/millrace/copyright",
        ),
    ];
    for (from, to) in copies {
        let content = fs::read(&from).map_err(told(&format!("read {}", from.display())))?;
        write(tree, to, &content)?;
    }
    mode(&tree.join("usr/bin/millrace"), 0o755)?;
    for (shell, to) in COMPLETIONS {
        let script = output(Command::new(binary).args(["completions", shell]))?;
        write(tree, to, script.as_bytes())?;
    }
    let pages = tree.join("usr/share/man/man1");
    fs::create_dir_all(&pages).map_err(told("make the directory of manual pages"))?;
    succeed(Command::new(binary).args(["man", "--dir"]).arg(&pages))?;
    let listed = fs::read_dir(&pages).map_err(told("list the manual pages"))?;
    for page in listed {
        let page = page.map_err(told("list the manual pages"))?.path();
        succeed(Command::new("gzip").args(["--best", "--no-name"]).arg(page))?;
    }
    Ok(())
}

/// What dpkg runs around an installation.
fn scripts(tree: &Path) -> Outcome {
    for name in ["postinst", "prerm", "postrm"] {
        let from = root().join("dist/debian").join(name);
        let content = fs::read(&from).map_err(told(&format!("read {}", from.display())))?;
        let to = write(tree, &format!("DEBIAN/{name}"), &content)?;
        mode(&to, 0o755)?;
    }
    Ok(())
}

/// `0.1.0+git.<commit>`, from what the binary says of itself.
fn version(binary: &Path) -> Result<String, String> {
    let said = output(Command::new(binary).arg("--version"))?;
    let mut words = said.split_whitespace().skip(1);
    let number = words.next().ok_or("the binary says no version")?;
    let commit = words.next().map(|word| word.trim_matches(['(', ')']));
    Ok(commit.map_or_else(
        || number.to_owned(),
        |commit| format!("{number}+git.{commit}"),
    ))
}

/// The version of the C library that the binary was linked with: an older one may lack a symbol.
fn libc_version() -> Result<String, String> {
    let said = output(Command::new("ldd").arg("--version"))?;
    let first = said.lines().next().unwrap_or_default();
    let version = first.split_whitespace().next_back().unwrap_or_default();
    if version.starts_with(|first: char| first.is_ascii_digit()) {
        Ok(version.to_owned())
    } else {
        Err(format!("`ldd --version` says no version: {first}"))
    }
}

fn kilobytes(tree: &Path) -> Result<u64, String> {
    let said = output(Command::new("du").args(["-sk"]).arg(tree))?;
    let number = said.split_whitespace().next().unwrap_or_default();
    number.parse().map_err(|_| format!("du says {said}"))
}

/// Makes a file of the tree, with the directories above it.
fn write(tree: &Path, name: &str, content: &[u8]) -> Result<PathBuf, String> {
    let path = tree.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(told(&format!("make {}", parent.display())))?;
    }
    fs::write(&path, content).map_err(told(&format!("write {}", path.display())))?;
    mode(&path, 0o644)?;
    Ok(path)
}

fn mode(path: &Path, mode: u32) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(told(&format!("change the mode of {}", path.display())))
}

fn told(what: &str) -> impl FnOnce(std::io::Error) -> String {
    move |error| format!("cannot {what}: {error}")
}
