//! `kafka-dump-log` over what the broker left, once it has ended.

use std::path::{Path, PathBuf};

use super::{Tools, absent, entries};
use crate::Outcome;

/// Words of the tool when something is wrong.
const TROUBLE: [&str; 5] = [
    "isvalid: false",
    "Exception",
    "ismatch",
    "Could not",
    "nvalid bytes",
];

pub(super) fn run(tools: &Tools, directory: &Path, has_groups: bool) -> Outcome {
    let (mut logs, mut others, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    let mut metadata = Vec::new();
    for name in ["data", "more"] {
        for partition in entries(&directory.join(name))? {
            if !partition.is_dir() {
                continue;
            }
            let name = partition.file_name().unwrap_or_default().to_string_lossy();
            let keeps_groups = name.starts_with("__consumer_offsets-");
            let is_metadata = partition.ends_with("__cluster_metadata-0");
            for file in entries(&partition)? {
                let extension = file.extension().unwrap_or_default().to_string_lossy();
                match &*extension {
                    "log" if is_metadata => metadata.push(file),
                    "log" if keeps_groups => offsets.push(file),
                    "log" => logs.push(file),
                    "index" | "timeindex" | "snapshot" => others.push(file),
                    _ => {}
                }
            }
        }
    }
    let said = [
        "TOPIC_RECORD",
        "PARTITION_RECORD",
        "REGISTER_BROKER_RECORD",
        "LeaderChange",
    ];
    dump(tools, &metadata, &["--cluster-metadata-decoder"], &said)?;
    dump(tools, &logs, &["--deep-iteration"], &["isvalid: true"])?;
    if has_groups {
        let said = [
            "{\"group\":\"stays\",\"topic\":\"gr\",\"partition\":0}",
            "\"protocolType\":\"consumer\",\"generation\":1,\"protocol\":\"range\"",
        ];
        dump(tools, &offsets, &["--offsets-decoder"], &said)?;
    }
    if tools.whole {
        dump(tools, &logs, &["--print-data-log"], &["payload: "])?;
        dump(
            tools,
            &logs,
            &["--skip-record-metadata"],
            &["isvalid: true"],
        )?;
        dump(tools, &logs, &["--verify-index-only"], &["isvalid: true"])?;
        dump(tools, &others, &[], &[])?;
        dump(tools, &others, &["--index-sanity-check"], &[])?;
    }
    Ok(())
}

fn dump(tools: &Tools, files: &[PathBuf], how: &[&str], said: &[&str]) -> Outcome {
    let list: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let list = list.join(",");
    let told = tools.run("dump-log", &[&["--files", &list], how].concat(), true, said)?;
    TROUBLE.iter().try_for_each(|words| absent(&told, words))
}
