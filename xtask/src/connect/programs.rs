//! What the suite runs beside brokers: Python with its clients, Connect with Debezium; installed by
//! name, at the versions that stand in `tests/connect`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries;
use crate::brokers::peer;
use crate::packages::need;
use crate::process::{Watched, output, succeed};
use crate::root;

/// Copies a package and what it needs.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// Where all of it is.
pub(super) struct Programs {
    python: PathBuf,
    /// Connect's `plugin.path`.
    pub(super) plugins: PathBuf,
}

impl Programs {
    /// Installs what is missing.
    pub(super) fn install() -> Result<Self, String> {
        need("java", "default-jdk-headless")?;
        need("mvn", "maven")?;
        need("python3", "python3-venv")?;
        output(Command::new(peer()).arg("install"))?;
        let place = binaries::target_directory()?.join("connect");
        Ok(Self {
            python: python(&place.join("python"))?,
            plugins: plugins(&place.join("plugins"))?,
        })
    }

    /// Starts one of `tests/connect`'s programs.
    pub(super) fn start(
        &self,
        name: &str,
        arguments: &[&str],
        directory: &Path,
    ) -> Result<Watched, String> {
        let quoted = arguments.iter().map(|argument| format!(" '{argument}'"));
        let line = format!(
            "{} {}{}",
            self.python.display(),
            file(name).display(),
            quoted.collect::<String>()
        );
        Watched::start(&line, directory)
    }

    /// Runs one to its end; what it says.
    pub(super) fn run(&self, name: &str, arguments: &[&str]) -> Result<String, String> {
        output(Command::new(&self.python).arg(file(name)).args(arguments))
    }
}

/// A file of `tests/connect`.
pub(super) fn file(name: &str) -> PathBuf {
    root().join("tests/connect").join(name)
}

/// A virtual environment with the Python packages.
fn python(place: &Path) -> Result<PathBuf, String> {
    let python = place.join("bin/python");
    if !python.exists() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(place))?;
    }
    let install = ["-m", "pip", "install", "--quiet", "--requirement"];
    let list = file("requirements.txt");
    // Does nothing when they are there.
    succeed(Command::new(&python).args(install).arg(list))?;
    Ok(python)
}

/// The directory of plugins; Debezium is in one of its own, as Connect wants it.
fn plugins(place: &Path) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", place.display());
    let list = file("pom.xml");
    let wanted = std::fs::read(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let installed = place.with_extension("installed");
    if std::fs::read(&installed).is_ok_and(|last| last == wanted) {
        return Ok(place.to_owned());
    }
    if place.exists() {
        std::fs::remove_dir_all(place).map_err(failed)?;
    }
    std::fs::create_dir_all(place).map_err(failed)?;
    let into = format!("-DoutputDirectory={}", place.join("debezium").display());
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", COPY, "-DincludeScope=runtime", &into, "-f"]);
    output(maven.arg(list))?;
    std::fs::write(installed, wanted).map_err(failed)?;
    Ok(place.to_owned())
}
