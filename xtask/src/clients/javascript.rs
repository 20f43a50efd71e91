//! The clients in JavaScript: `tests/clients/javascript`, a directory with a lock file for each.

use std::path::Path;
use std::process::Command;

use super::place;
use crate::packages::need;
use crate::process::{println, succeed};
use crate::root;

/// `KafkaJS`, with the codecs that it leaves to other packages.
pub(super) fn kafkajs() -> Result<Vec<String>, String> {
    driver("kafkajs", |_| Ok(()))
}

/// Confluent's client: librdkafka and the binding are built from the package's sources, minutes long.
pub(super) fn confluent() -> Result<Vec<String>, String> {
    driver("confluent", |place| {
        need("g++", "g++")?;
        need("make", "make")?;
        need("python3", "python3")?;
        need("curl-config", "libcurl4-openssl-dev")?;
        println("building Confluent's JavaScript client from its sources");
        let mut build = npm(place);
        build.args(["rebuild", "@confluentinc/kafka-javascript"]);
        build.arg("--build-from-source=@confluentinc/kafka-javascript");
        // Linked to the system's libraries: the others would be downloaded.
        succeed(build.env("CKJS_LINKING", "dynamic"))
    })
}

/// Installs what the lock file names, where that is not there yet; the words of the driver.
fn driver(name: &str, build: fn(&Path) -> Result<(), String>) -> Result<Vec<String>, String> {
    need("node", "nodejs")?;
    need("npm", "npm")?;
    let directory = root().join("tests/clients/javascript").join(name);
    let place = place(&format!("javascript-{name}"))?;
    let lock = |directory: &Path| std::fs::read(directory.join("package-lock.json"));
    let stamp = place.join("installed");
    let wanted = lock(&directory).map_err(|error| format!("{name}'s lock file: {error}"))?;
    if std::fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        for file in ["package.json", "package-lock.json"] {
            let copied = std::fs::copy(directory.join(file), place.join(file));
            copied.map_err(|error| format!("{name}'s {file}: {error}"))?;
        }
        succeed(npm(&place).args(["ci", "--ignore-scripts", "--silent"]))?;
        build(&place)?;
        std::fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))?;
    }
    // Modules are looked for beside the driver, and then there.
    let modules = format!("NODE_PATH={}", place.join("node_modules").display());
    let driver = directory.join("driver.js").display().to_string();
    Ok(vec!["env".into(), modules, "node".into(), driver])
}

fn npm(place: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(place);
    npm
}
