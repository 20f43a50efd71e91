//! `cargo xtask vectors`: records what Apache Kafka's own classes write for every message and
//! version, into `protocol/vectors/messages.txt`, and for every record of `__consumer_offsets`, into
//! `protocol/vectors/coordinator.txt`. Needs a JDK (17 or later) and Maven, which gets Kafka's jars
//! and Jackson by name from Maven Central into a cache in the user's home.
//!
//! Always: a file is replaced only by a complete recording; the same Kafka gives the same files.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;
use crate::process::println;

/// The Kafka whose bytes are the standard.
const KAFKA: &str = "4.3.1";
/// What its generated JSON converters need and `kafka-clients` does not bring.
const JACKSON: &str = "2.21.2";

/// Records the vectors anew.
pub(crate) fn run() -> Outcome {
    let jars = jars()?;
    record(&jars, "messages")?;
    record(&jars, "coordinator")
}

fn record(jars: &Path, what: &str) -> Outcome {
    let root = crate::root();
    let mut java = Command::new("java");
    java.arg("-cp")
        .arg(jars.join("*"))
        .arg(root.join("xtask/java/Vectors.java"))
        .arg(what);
    let recorded = output_of(&mut java)?;
    let lines = recorded.split(|byte| *byte == b'\n').count() - 1;
    if lines == 0 {
        return Err("Kafka's classes printed no vector; is the cache of jars damaged?".into());
    }
    let file = root.join(format!("protocol/vectors/{what}.txt"));
    std::fs::write(&file, recorded).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    println(&format!(
        "recorded {lines} vectors of Kafka {KAFKA} in {}",
        file.display()
    ));
    Ok(())
}

/// The directory of the jars, filled by Maven unless it is already.
fn jars() -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").ok_or("HOME is not set: nowhere to cache Kafka's jars")?;
    let cache = Path::new(&home)
        .join(".cache/millrace-xtask")
        .join(format!("coordinator-{KAFKA}"));
    let libs = cache.join("libs");
    let complete = cache.join("complete");
    if complete.exists() {
        return Ok(libs);
    }
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
    };
    std::fs::create_dir_all(&libs).map_err(|e| format!("cannot make {}: {e}", libs.display()))?;
    let pom = cache.join("pom.xml");
    write(&pom, &project())?;
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies")
        .arg("-DincludeScope=runtime")
        .arg(format!("-DoutputDirectory={}", libs.display()));
    output_of(&mut maven)?;
    write(&complete, "")?;
    Ok(libs)
}

fn project() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>millrace</groupId><artifactId>vectors</artifactId><version>1</version>\
         <packaging>pom</packaging><dependencies>{}{}</dependencies></project>\n",
        dependency("org.apache.kafka", "kafka-group-coordinator", KAFKA),
        dependency("com.fasterxml.jackson.core", "jackson-databind", JACKSON),
    )
}

/// What a program prints, if it succeeds; its errors go to our own.
fn output_of(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stderr(std::process::Stdio::inherit());
    let output = command
        .output()
        .map_err(|e| format!("cannot run {name}: {e}; install a JDK (17 or later) and Maven"))?;
    if !output.status.success() {
        return Err(format!(
            "{name} failed ({}); its errors are above",
            output.status
        ));
    }
    Ok(output.stdout)
}
