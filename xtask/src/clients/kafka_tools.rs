//! Apache Kafka 4.3.1's own tools, through `xtask/kafka-peer`: topics, producer-perf-test with each
//! codec, get-offsets, delete-records; and, once the broker has ended, dump-log over every file that
//! it left.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Served;
use crate::packages::need;
use crate::process::{output, println};
use crate::{Outcome, root};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS: usize = 20_000;
/// The topic whose records are deleted.
const DELETED: &str = "deleted";

/// Runs the tools that speak to a broker.
pub(super) fn run(broker: &Served) -> Outcome {
    need("java", "default-jdk-headless")?;
    need("mvn", "maven")?;
    for codec in CODECS {
        let topic = format!("tools-{codec}");
        let at = ["--bootstrap-server", &broker.address, "--topic", &topic];
        // Small segments, so that what is dumped later has rolled.
        let new = [
            "--create",
            "--partitions",
            "2",
            "--config",
            "segment.bytes=1048576",
        ];
        tool("topics", at.iter().chain(&new))?;
        produce(broker, &topic, (RECORDS, codec))?;
        let ends = tool("get-offsets", at)?;
        let sum: usize = ends.lines().filter_map(end_of).sum();
        if sum != RECORDS {
            return Err(format!(
                "get-offsets says {sum} of {RECORDS} for {topic}:\n{ends}"
            ));
        }
    }
    delete_records(broker)?;
    let listed = tool("topics", ["--bootstrap-server", &broker.address, "--list"])?;
    for codec in CODECS {
        expect(&listed, &format!("tools-{codec}"))?;
    }
    println(&format!(
        "kafka tools: topics, get-offsets, delete-records, producer-perf-test with {} codecs of \
         {RECORDS} records",
        CODECS.len()
    ));
    Ok(())
}

/// Has the perf test produce records of 500 bytes with a codec.
fn produce(broker: &Served, topic: &str, (records, codec): (usize, &str)) -> Outcome {
    let servers = format!("bootstrap.servers={}", broker.address);
    let compression = format!("compression.type={codec}");
    let produced = tool(
        "producer-perf-test",
        [
            "--topic",
            topic,
            "--num-records",
            &records.to_string(),
            "--record-size",
            "500",
            "--throughput",
            "-1",
            "--producer-props",
            &servers,
            &compression,
            "acks=all",
        ],
    )?;
    expect(&produced, &format!("{records} records sent"))
}

/// Deletes some of a topic's records, then all of them; one offset that there isn't is refused.
fn delete_records(broker: &Served) -> Outcome {
    let at = ["--bootstrap-server", &broker.address];
    let topic = ["--topic", DELETED];
    let new = ["--create", "--partitions", "1"];
    tool("topics", at.iter().chain(&topic).chain(&new))?;
    produce(broker, DELETED, (100, "none"))?;
    let list = broker.directory.path().join("delete.json");
    let file = list.display().to_string();
    for (offset, said) in [
        (40, "low_watermark: 40"),
        (101, "OffsetOutOfRangeException"),
        (-1, "low_watermark: 100"),
    ] {
        let asked = format!(
            "{{\"partitions\":[{{\"topic\":\"{DELETED}\",\"partition\":0,\"offset\":{offset}}}],\
             \"version\":1}}"
        );
        std::fs::write(&list, asked).map_err(|error| format!("{file}: {error}"))?;
        let arguments = at.iter().copied().chain(["--offset-json-file", &file]);
        expect(&tool("delete-records", arguments)?, said)?;
    }
    let earliest = ["--time", "earliest"];
    let begins = tool("get-offsets", at.iter().chain(&topic).chain(&earliest))?;
    expect(&begins, &format!("{DELETED}:0:100"))
}

/// Kafka's dump tool reads every file of every partition and finds nothing wrong.
pub(super) fn dump_logs(data: &Path) -> Outcome {
    let (mut records, mut files) = (0, 0);
    for partition in directories(data)? {
        let name = partition.file_name().unwrap_or_default().to_string_lossy();
        let is_metadata = name == "__cluster_metadata-0";
        let logs_as = if is_metadata {
            "--cluster-metadata-decoder"
        } else {
            "--deep-iteration"
        };
        let logs = with_extension(&partition, &["log"])?;
        let dumped = dump(&logs, &[logs_as])?;
        let valid = dumped.matches("isvalid: true").count();
        if logs.is_empty() || valid == 0 {
            return Err(format!(
                "dump-log finds no batch in {}",
                partition.display()
            ));
        }
        let is_internal = name.starts_with("__");
        if !is_internal && !name.starts_with(DELETED) {
            records += dumped
                .lines()
                .filter(|line| line.starts_with("| offset:"))
                .count();
        }
        let others = with_extension(&partition, &["index", "timeindex", "snapshot"])?;
        dump(&others, &[])?;
        files += logs.len() + others.len();
    }
    if records != RECORDS * CODECS.len() {
        return Err(format!(
            "dump-log finds {records} of {} records",
            RECORDS * CODECS.len()
        ));
    }
    println(&format!(
        "kafka tools: dump-log reads {files} files, {records} records, no complaint"
    ));
    Ok(())
}

/// What the dump tool says of these files; an error when it complains.
fn dump(files: &[PathBuf], how: &[&str]) -> Result<String, String> {
    if files.is_empty() {
        return Ok(String::new());
    }
    let list: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let list = list.join(",");
    let dumped = tool("dump-log", ["--files", &list].iter().chain(how))?;
    for trouble in [
        "isvalid: false",
        "Exception",
        "ismatch",
        "Could not",
        "nvalid bytes",
    ] {
        if let Some(at) = dumped.find(trouble) {
            let from = dumped[..at].rfind('\n').unwrap_or(0);
            return Err(format!(
                "dump-log of {list}:{}",
                first_lines(&dumped[from..])
            ));
        }
    }
    Ok(dumped)
}

/// The end in a line of get-offsets: `topic:partition:offset`.
fn end_of(line: &str) -> Option<usize> {
    line.rsplit(':').next()?.trim().parse().ok()
}

fn directories(data: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = entries(data)?;
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_dir()
            && name
                .rsplit_once('-')
                .is_some_and(|(_, nth)| nth.parse::<u32>().is_ok())
    });
    Ok(found)
}

fn with_extension(partition: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>, String> {
    let mut found = entries(partition)?;
    found.retain(|path| {
        wanted.contains(
            &path
                .extension()
                .unwrap_or_default()
                .to_string_lossy()
                .as_ref(),
        )
    });
    Ok(found)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("cannot list {}: {error}", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        found.push(entry.map_err(failed)?.path());
    }
    found.sort();
    Ok(found)
}

fn tool<S: AsRef<OsStr>>(
    name: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Result<String, String> {
    output(
        Command::new(root().join("xtask/kafka-peer"))
            .args(["run", name])
            .args(arguments),
    )
}

fn expect(output: &str, wanted: &str) -> Outcome {
    if output.contains(wanted) {
        Ok(())
    } else {
        Err(format!(
            "`{wanted}` is missing in:\n{}",
            first_lines(output)
        ))
    }
}

fn first_lines(text: &str) -> String {
    text.lines().take(40).collect::<Vec<_>>().join("\n")
}
