//! `kafka-console-producer` and `kafka-console-consumer`: what was typed is what is printed, keys,
//! headers, nulls, offsets and times with it.

use super::{Tools, absent};
use crate::Outcome;

const TOPIC: &str = "con";
/// Lines as they are typed, and as they are printed behind time, partition and offset.
const TYPED: &str = "h1:v1,h2:v2\tk1|one\nh3:v3\tNULL|two\nNULL\tk3|NULL\nx:\t|empty\n";
const PRINTED: [&str; 4] = [
    "h1:v1,h2:v2; k1; one",
    "h3:v3; nil; two",
    "NO_HEADERS; k3; nil",
    "x:; ; empty",
];

pub(super) fn run(tools: &Tools) -> Outcome {
    for topic in [TOPIC, "con-codecs", "con-options"] {
        let new = ["--create", "--topic", topic, "--partitions", "1"];
        tools.ask("topics", &new, &[])?;
        if !tools.whole {
            break;
        }
    }
    typed_and_printed(tools)?;
    if tools.whole {
        codecs(tools)?;
        places(tools)?;
        groups(tools)?;
        producers(tools)?;
        refused(tools)?;
        formatters(tools)?;
    }
    Ok(())
}

/// Has the producer send lines.
fn write(tools: &Tools, topic: &str, how: &[&str], lines: &str) -> Result<String, String> {
    let of = ["--bootstrap-server", &tools.address, "--topic", topic];
    tools.feed(
        "console-producer",
        &[&of[..], how].concat(),
        lines,
        (true, &[]),
    )
}

/// What the consumer prints of so many records, a line each.
fn read(tools: &Tools, how: &[&str], count: usize) -> Result<Vec<String>, String> {
    let number = count.to_string();
    let until = ["--max-messages", &number, "--timeout-ms", "30000"];
    let processed = format!("Processed a total of {count} messages");
    let said = tools.ask("console-consumer", &[how, &until].concat(), &[&processed])?;
    let notice = "The consumer rebalance protocol (KIP-848)";
    let lines = said.lines().filter(|line| !line.starts_with(notice));
    // What ends the output stands behind the last record where records end without a line's end.
    let lines = lines.filter_map(|line| match line.strip_suffix(&processed) {
        Some("") => None,
        Some(record) => Some(record.to_owned()),
        None => Some(line.to_owned()),
    });
    Ok(lines.collect())
}

fn same(found: &[String], wanted: &[&str]) -> Outcome {
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{found:?} in place of {wanted:?}"))
    }
}

/// Everything that the consumer can print of a record.
fn typed_and_printed(tools: &Tools) -> Outcome {
    let with = [
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "key.separator=|",
        "--reader-property",
        "parse.headers=true",
        "--reader-property",
        "null.marker=NULL",
    ];
    write(tools, TOPIC, &with, TYPED)?;
    let mut how = vec!["--topic", TOPIC, "--from-beginning"];
    for property in [
        "print.timestamp=true",
        "print.partition=true",
        "print.offset=true",
        "print.headers=true",
        "print.key=true",
        "key.separator=; ",
        "null.literal=nil",
    ] {
        how.extend(["--formatter-property", property]);
    }
    let lines = read(tools, &how, PRINTED.len())?;
    let mut found = Vec::new();
    for (offset, line) in lines.iter().enumerate() {
        let (time, rest) = line.split_once("; ").unwrap_or_default();
        let ms = time.strip_prefix("CreateTime:").map(str::parse::<u64>);
        let place = format!("Partition:0; Offset:{offset}; ");
        let record = rest.strip_prefix(&place);
        match (ms, record) {
            (Some(Ok(ms)), Some(record)) if ms > 1_700_000_000_000 => found.push(record.to_owned()),
            _ => return Err(format!("not a time and place: {line}")),
        }
    }
    same(&found, &PRINTED)
}

/// Each codec and kind of acks; what is printed is in the order in which it was typed.
fn codecs(tools: &Tools) -> Outcome {
    let mut wanted = Vec::new();
    for (codec, acks) in [
        ("none", "1"),
        ("gzip", "all"),
        ("snappy", "-1"),
        ("lz4", "1"),
        ("zstd", "all"),
    ] {
        let how = [
            "--compression-codec",
            codec,
            "--request-required-acks",
            acks,
        ];
        let sync = ["--sync", "--command-property", "linger.ms=1"];
        let lines = format!("{codec} 1\n{codec} 2\n");
        write(tools, "con-codecs", &[&how[..], &sync].concat(), &lines)?;
        wanted.extend(lines.lines().map(str::to_owned));
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let found = read(tools, &["--topic", "con-codecs", "--from-beginning"], 10)?;
    same(&found, &wanted)?;
    let again = ["--include", "con-co.*", "--from-beginning"];
    let committed = ["--isolation-level", "read_committed"];
    same(
        &read(tools, &[&again[..], &committed].concat(), 10)?,
        &wanted,
    )
}

/// From a partition's offset on; from the end nothing.
fn places(tools: &Tools) -> Outcome {
    let at = |offset| ["--topic", TOPIC, "--partition", "0", "--offset", offset];
    same(&read(tools, &at("1"), 1)?, &["two"])?;
    same(&read(tools, &at("earliest"), 2)?, &["one", "two"])?;
    let until = ["--timeout-ms", "3000"];
    let said = tools.ask(
        "console-consumer",
        &[&at("latest")[..], &until].concat(),
        &["Processed a total of 0 messages"],
    )?;
    absent(&said, "empty")?;
    // Past the end: the client goes where it is told to.
    let reset = ["--command-property", "auto.offset.reset=earliest"];
    same(
        &read(tools, &[&at("99")[..], &reset].concat(), 1)?,
        &["one"],
    )
}

/// A group goes on where its last member stopped.
fn groups(tools: &Tools) -> Outcome {
    let of = ["--topic", TOPIC, "--group", "con-group"];
    let first = [&of[..], &["--from-beginning"]].concat();
    same(&read(tools, &first, 2)?, &["one", "two"])?;
    same(&read(tools, &of, 2)?, &["null", "empty"])?;
    let how = [
        "--formatter",
        "org.apache.kafka.tools.consumer.OffsetsMessageFormatter",
    ];
    let from = ["--topic", "__consumer_offsets", "--from-beginning"];
    let until = ["--timeout-ms", "20000"];
    let wanted = [
        "{\"key\":{\"type\":1,\"data\":{\"group\":\"con-group\",\"topic\":\"con\",\"partition\":0}}",
        "\"data\":{\"offset\":2,",
        "\"data\":{\"offset\":4,",
    ];
    tools.ask(
        "console-consumer",
        &[&from[..], &how, &until].concat(),
        &wanted,
    )?;
    let how = [
        "--formatter",
        "org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter",
    ];
    let wanted = [
        "{\"key\":{\"type\":2,\"data\":{\"group\":\"con-group\"}}",
        "\"protocolType\":\"consumer\",\"generation\":1,\"protocol\":\"range\"",
    ];
    tools
        .ask(
            "console-consumer",
            &[&from[..], &how, &until].concat(),
            &wanted,
        )
        .map(drop)
}

/// The rest of the producer's options; a line without its separator.
fn producers(tools: &Tools) -> Outcome {
    let all = "--batch-size 100 --max-memory-bytes 1000000 --max-partition-memory-bytes 1000 \
               --timeout 10 --message-send-max-retries 5 --metadata-expiry-ms 60000 \
               --max-block-ms 30000 --retry-backoff-ms 50 --request-timeout-ms 20000 \
               --socket-buffer-size 65536";
    let all: Vec<&str> = all.split_ascii_whitespace().collect();
    write(tools, "con-options", &all, "1\n2\n3\n")?;
    let keys = ["--reader-property", "parse.key=true"];
    let ignored = ["--reader-property", "ignore.error=true"];
    write(
        tools,
        "con-options",
        &[&keys[..], &ignored].concat(),
        "k\tv\nno key\n",
    )?;
    let file = tools.file("reader.properties", "parse.key=true\nkey.separator==\n")?;
    let client = tools.file("producer.properties", "compression.type=gzip\n")?;
    let files = ["--reader-config", &file, "--command-config", &client];
    write(tools, "con-options", &files, "a=b\n")?;
    let how = ["--topic", "con-options", "--from-beginning"];
    let key = ["--formatter-property", "print.key=true"];
    let found = read(tools, &[&how[..], &key].concat(), 6)?;
    let wanted = [
        "null\t1",
        "null\t2",
        "null\t3",
        "k\tv",
        "null\tno key",
        "a\tb",
    ];
    same(&found, &wanted)?;
    let of = [
        "--bootstrap-server",
        &tools.address,
        "--topic",
        "con-options",
    ];
    let said = (
        false,
        &["No key separator found on line number 1: 'no key'"][..],
    );
    let broken = tools.feed(
        "console-producer",
        &[&of[..], &keys].concat(),
        "no key\n",
        said,
    );
    broken.map(drop)
}

/// A record that is too large, and a name that no topic may have.
fn refused(tools: &Tools) -> Outcome {
    let new = ["--create", "--topic", "con-little", "--partitions", "1"];
    let limit = ["--config", "max.message.bytes=200"];
    tools.ask("topics", &[&new[..], &limit].concat(), &[])?;
    let (large, too_large) = (format!("{}\n", "x".repeat(300)), "RecordTooLargeException");
    let at = ["--bootstrap-server", &tools.address];
    // Who waits for each record ends with the first that is refused; who doesn't logs it and goes on.
    tools.feed(
        "console-producer",
        &[&at[..], &["--topic", "con-little", "--sync"]].concat(),
        &format!("{large}never sent\n"),
        (false, &[too_large]),
    )?;
    let said = write(tools, "con-little", &[], &large)?;
    if !said.contains(too_large) {
        return Err(format!("not refused as too large:\n{said}"));
    }
    write(tools, "con-little", &[], "fits\n")?;
    same(
        &read(tools, &["--topic", "con-little", "--from-beginning"], 1)?,
        &["fits"],
    )?;
    let said = write(tools, "con little", &["--max-block-ms", "5000"], "x\n")?;
    if said.contains("InvalidTopicException") {
        return Ok(());
    }
    Err(format!("a name that no topic may have:\n{said}"))
}

/// Other ways to print.
fn formatters(tools: &Tools) -> Outcome {
    let of = ["--topic", TOPIC, "--partition", "0", "--offset", "0"];
    let no_value = [
        "--formatter-property",
        "print.value=false",
        "--formatter-property",
        "print.key=true",
    ];
    same(
        &read(tools, &[&of[..], &no_value].concat(), 2)?,
        &["k1", "null"],
    )?;
    let nothing = [
        "--formatter",
        "org.apache.kafka.tools.consumer.NoOpMessageFormatter",
    ];
    same(&read(tools, &[&of[..], &nothing].concat(), 4)?, &[])?;
    let file = tools.file(
        "formatter.properties",
        "print.offset=true\nline.separator=/\n",
    )?;
    let in_one = read(
        tools,
        &[&of[..], &["--formatter-config", &file]].concat(),
        2,
    );
    // Its last line goes on with what it processed.
    match in_one {
        Ok(found) => same(&found, &["Offset:0\tone/Offset:1\ttwo/"]),
        Err(said) if said.contains("Offset:0\tone/Offset:1\ttwo/") => Ok(()),
        Err(said) => Err(said),
    }
}
