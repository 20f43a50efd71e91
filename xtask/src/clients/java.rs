//! Apache Kafka's Java client, the current one (of Kafka's own jars, `xtask/kafka-peer install`) and
//! an old one from Maven Central: `tests/clients/java`, whose directories `current` and `old` hold
//! what differs between them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::place;
use crate::brokers::peer;
use crate::packages::need;
use crate::process::{output, succeed};
use crate::{Outcome, root};

/// What the old client is made of, and the plugin that fetches it.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>client</groupId><artifactId>old</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-clients</artifactId><version>2.1.1</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.25</version></dependency>
</dependencies></project>
"#;
const FETCH: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";
/// Small processes that start fast: several run at once.
const MACHINE: [&str; 3] = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// The current client.
pub(super) fn current() -> Result<Vec<String>, String> {
    tools()?;
    let home = output(Command::new(peer()).arg("install"))?;
    let home = home.trim().lines().last().unwrap_or_default().to_owned();
    let logging = format!("-Dlog4j2.configurationFile=file:{home}/log4j2.properties");
    compiled(
        &place("java")?,
        "current",
        &format!("{home}/libs/*"),
        logging,
    )
}

/// The old client.
pub(super) fn old() -> Result<Vec<String>, String> {
    tools()?;
    let place = place("java-2.1")?;
    let pom = place.join("pom.xml");
    // Made anew when it is of other versions.
    if std::fs::read_to_string(&pom).is_ok_and(|text| text == POM) {
        return compile_old(&place);
    }
    let fetched = place.join("fetched.xml");
    std::fs::write(&fetched, POM).map_err(|error| format!("{}: {error}", fetched.display()))?;
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(&fetched).arg(FETCH);
    let libs = place.join("libs").display().to_string();
    succeed(maven.args([
        "-DincludeScope=runtime",
        &format!("-DoutputDirectory={libs}"),
    ]))?;
    std::fs::rename(&fetched, &pom).map_err(|error| format!("{}: {error}", pom.display()))?;
    compile_old(&place)
}

fn compile_old(place: &Path) -> Result<Vec<String>, String> {
    let jars = format!("{}/*", place.join("libs").display());
    let logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned();
    compiled(place, "old", &jars, logging)
}

fn tools() -> Outcome {
    need("javac", "default-jdk-headless")?;
    need("mvn", "maven")
}

/// Compiles what both share with what is of one; the command.
fn compiled(place: &Path, of: &str, jars: &str, logging: String) -> Result<Vec<String>, String> {
    let here = root().join("tests/clients/java");
    let classes = place.join("classes");
    let mut sources = sources(&here)?;
    sources.extend(self::sources(&here.join(of))?);
    let mut compiler = Command::new("javac");
    compiler.args(["-Xlint:all,-serial,-try", "-nowarn", "-cp", jars, "-d"]);
    succeed(compiler.arg(&classes).args(&sources))?;
    let mut words = vec!["java".to_owned()];
    words.extend(MACHINE.map(str::to_owned));
    words.push(logging);
    words.extend(["-cp".to_owned(), format!("{}:{jars}", classes.display())]);
    words.push("Driver".to_owned());
    Ok(words)
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("cannot list {}: {error}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "java")
        {
            found.push(path);
        }
    }
    Ok(found)
}
