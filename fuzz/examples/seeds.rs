//! Writes seeds from Kafka's recorded bytes, from what clients and the broker said to each other
//! (`captured.txt`) and from what the broker writes, to where the fuzzers'
//! next run finds them: `cargo run --example seeds` in this directory, then `cargo xtask fuzz --keep`
//! takes those that reach new code into the corpus.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use millrace_config::{BrokerConfig, TopicOverrides};
use millrace_fuzz::broker_directory;
use millrace_fuzz::disk::Files;
use millrace_fuzz::logs::{self, Ended};
use millrace_fuzz::messages::name;
use millrace_log::{epoch_checkpoint, partition_metadata, producer_snapshot};
use millrace_protocol::api::{Api, TABLE};
use millrace_protocol::header::{self, RequestHeader};
use millrace_protocol::ids::TopicId;
use millrace_protocol::metadata::{
    MetadataRecord, PartitionChangeRecord, PartitionRecord, TopicRecord,
};
use millrace_protocol::producer::{ProducerBatch, ProducerEntry};
use millrace_protocol::records::{Batch, Codec};

const MESSAGES: &str = include_str!("../../protocol/vectors/messages.txt");
const BATCHES: &str = include_str!("../../protocol/tests/data/records/batches.txt");
const CAPTURED: &str = include_str!("../captured.txt");
const METADATA: &str = include_str!("../../protocol/tests/data/records/metadata.txt");

/// Lives that are drawn.
const LIVES: u32 = 400;

/// What says that an input of `log_directory` is a life, and one of `broker_directory` a list of
/// changes; and that the ledger is made anew behind it.
const LIVED: u8 = 1 << 2;
const REBUILT: u8 = 1 << 4;

/// Longer ones are left out.
const SEED_BYTES_MAX: usize = 12 << 10;

/// Seeds by target and name.
#[derive(Default)]
struct Seeds(BTreeMap<(&'static str, String), Vec<u8>>);

impl Seeds {
    fn add(&mut self, target: &'static str, name: &str, parts: &[&[u8]]) {
        let bytes = parts.concat();
        if bytes.len() <= SEED_BYTES_MAX {
            self.0.insert((target, name.to_owned()), bytes);
        }
    }
}

fn main() -> io::Result<()> {
    let mut seeds = Seeds::default();
    messages(&mut seeds);
    captured(&mut seeds);
    sequences(&mut seeds);
    batches(&mut seeds);
    metadata(&mut seeds);
    configuration(&mut seeds);
    small_files(&mut seeds);
    directories(&mut seeds);
    changed_lives(&mut seeds);
    changed_metadata(&mut seeds);
    for ((target, name), bytes) in &seeds.0 {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../target/fuzz-found")
            .join(target)
            .join("grown");
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(format!("seed-{name}")), bytes)?;
    }
    Ok(())
}

fn from_hex(hex: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Bodies as Kafka writes them, the fullest of each message and version; requests in frames.
fn messages(seeds: &mut Seeds) {
    let mut stream = BytesMut::new();
    for line in MESSAGES.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [message, version, kind @ ("filled" | "nulls"), body] = fields[..] else {
            continue;
        };
        let (version, body) = (version.parse().expect("a version"), from_hex(body));
        let request = message.ends_with("Request");
        let stem = message
            .trim_end_matches("Request")
            .trim_end_matches("Response");
        let Some(row) = TABLE.iter().find(|row| row.name == stem) else {
            continue;
        };
        let Some(which) = name(row.api, version) else {
            continue;
        };
        let seed = format!("{message}-{version}-{kind}");
        seeds.add(
            "second_codec",
            &seed,
            &[&[u8::from(!request)], &which, &body],
        );
        let target = if request { "requests" } else { "responses" };
        seeds.add(target, &seed, &[&which, &body]);
        if request && kind == "filled" && version == row.served.max {
            frame(row.api, version, &body, &mut stream);
        }
    }
    for (at, pieces) in [[0; 8], [255; 8], [3, 0, 17, 250, 2, 90, 0, 31]]
        .iter()
        .enumerate()
    {
        for limits in 0..4_u8 {
            let seed = format!("stream-{limits}-{at}");
            seeds.add("frames", &seed, &[&[limits], pieces, &stream]);
        }
    }
}

fn frame(api: Api, version: i16, body: &Bytes, out: &mut BytesMut) {
    let header = RequestHeader {
        api_key: api.key(),
        api_version: version,
        correlation_id: 7,
        client_id: Some(Bytes::from_static(b"rdkafka")),
    };
    let mut frame = BytesMut::new();
    header::encode_request(&header, api.row().is_flexible(version), &mut frame);
    frame.put_slice(body);
    out.put_u32(frame.len() as u32);
    out.put_slice(&frame);
}

/// Frames as clients sent them and the broker answered, each by itself and those of each client in a
/// stream; and the batches in them.
fn captured(seeds: &mut Seeds) {
    let mut streams: BTreeMap<(&str, &str), BytesMut> = BTreeMap::new();
    for (at, line) in CAPTURED.lines().enumerate() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [client, direction, key, version, frame] = fields[..] else {
            continue;
        };
        let Some(api) = key.parse().ok().and_then(Api::from_key) else {
            continue;
        };
        let version: i16 = version.parse().expect("a version");
        let Some(which) = name(api, version) else {
            continue;
        };
        let frame = from_hex(frame);
        let stream = streams.entry((client, direction)).or_default();
        stream.put_u32(frame.len() as u32);
        stream.put_slice(&frame);
        let (mut body, row) = (frame, api.row());
        let (target, read) = if direction == "request" {
            let read = header::decode_request(&mut body, row.is_flexible(version));
            ("requests", read.is_ok())
        } else {
            let has_tags = row.response_header_version(version) == 1;
            let read = header::decode_response(&mut body, has_tags);
            ("responses", read.is_ok())
        };
        assert!(read, "a recorded frame has a header: {line}");
        let seed = format!("captured-{at}");
        seeds.add(target, &seed, &[&which, &body]);
        let is_answer = u8::from(direction != "request");
        seeds.add("second_codec", &seed, &[&[is_answer], &which, &body]);
        // A batch stands behind its base offset, length and epoch: its magic is 2.
        for from in 0..body.len() {
            if let Ok(batch) = Batch::parse(body.slice(from..))
                && batch.verify_crc().is_ok()
            {
                let seed = format!("captured-{at}-{from}");
                seeds.add("records", &seed, &[&[0], &batch.bytes]);
            }
        }
    }
    for ((client, direction), stream) in &streams {
        for limits in [0, 2] {
            let seed = format!("captured-{client}-{direction}-{limits}");
            seeds.add("frames", &seed, &[&[limits], &[255; 8], stream]);
        }
    }
}

/// Long lists of steps for the broker and its model, and choices for messages: any bytes are some.
fn sequences(seeds: &mut Seeds) {
    let mut state = 7_u64;
    let mut draw = || {
        // Knuth's linear congruential generator; its high bits.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    for (target, count, length) in [("broker_requests", 40, 300), ("schemas", 400, 60)] {
        for at in 0..count {
            let bytes: Vec<u8> = (0..length).map(|_| (draw() >> 8) as u8).collect();
            seeds.add(target, &format!("drawn-{at}"), &[&bytes]);
        }
    }
    // Lives of a log directory, each followed by changes of its files.
    for at in 0..LIVES {
        let bytes: Vec<u8> = (0..140).map(|_| (draw() >> 8) as u8).collect();
        let flags = LIVED | (bytes[0] & !REBUILT);
        seeds.add(
            "log_directory",
            &format!("life-{at}"),
            &[&[flags], &bytes[1..]],
        );
    }
}

/// Batches as Kafka writes them, whole and their compressed content alone.
fn batches(seeds: &mut Seeds) {
    for line in BATCHES.lines() {
        let Some((batch, hex)) = line
            .strip_prefix("batch ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let bytes = from_hex(hex);
        for flags in [0_u8, 1] {
            seeds.add("records", &format!("{batch}-{flags}"), &[&[flags], &bytes]);
        }
        let Ok(batch_read) = Batch::parse(bytes) else {
            continue;
        };
        let Ok(codec) = batch_read.header.codec() else {
            continue;
        };
        if codec != Codec::None {
            let head = [codec.id() - 1, 0xff, 0xff];
            seeds.add("decompress", batch, &[&head, batch_read.records()]);
        }
    }
}

/// Records as Kafka writes them, one by one and all together.
fn metadata(seeds: &mut Seeds) {
    let mut all = Vec::new();
    for line in METADATA.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, record, hex] = fields[..] else {
            continue;
        };
        let bytes = from_hex(hex);
        let len = (bytes.len() as u16).to_be_bytes();
        seeds.add("metadata", record, &[&len, &bytes]);
        all.extend_from_slice(&len);
        all.extend_from_slice(&bytes);
    }
    seeds.add("metadata", "all", &[&all]);
    seeds.add("metadata", "epochs-at-their-end", &[&epochs_at_their_end()]);
}

/// A change to a partition whose epochs can't grow any more.
fn epochs_at_their_end() -> Vec<u8> {
    let topic_id = TopicId::from_bytes([7; 16]);
    let topic = TopicRecord {
        name: "t".to_owned(),
        topic_id,
    };
    let partition = PartitionRecord {
        partition_id: 0,
        topic_id,
        replicas: vec![1],
        isr: vec![1],
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader: 1,
        leader_recovery_state: 0,
        leader_epoch: i32::MAX,
        partition_epoch: i32::MAX,
        directories: vec![topic_id],
    };
    let change = PartitionChangeRecord {
        topic_id,
        leader: Some(-1),
        ..PartitionChangeRecord::default()
    };
    let records = [
        MetadataRecord::Topic(topic),
        MetadataRecord::Partition(partition),
        MetadataRecord::PartitionChange(change),
    ];
    let framed = records.iter().flat_map(|record| {
        let bytes = record.encode();
        [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
    });
    framed.collect()
}

/// Every key with its value when nobody sets it, in each form.
fn configuration(seeds: &mut Seeds) {
    let broker = BrokerConfig::default();
    let lines = |quote: &str, described: Vec<millrace_config::Described>| {
        let described = described
            .into_iter()
            .filter_map(|row| Some((row.key.name, row.value?)));
        described.fold(String::new(), |text, (name, value)| {
            format!("{text}{name}={quote}{value}{quote}\n")
        })
    };
    let (properties, toml) = (lines("", broker.describe()), lines("\"", broker.describe()));
    let topic = broker
        .describe_topic(&TopicOverrides::new())
        .expect("a topic without its own");
    let topic = lines("", topic);
    seeds.add(
        "configuration",
        "properties",
        &[&[0], properties.as_bytes()],
    );
    seeds.add("configuration", "toml", &[&[1], toml.as_bytes()]);
    seeds.add("configuration", "set", &[&[2], properties.as_bytes()]);
    seeds.add("configuration", "topic", &[&[3], topic.as_bytes()]);
    for (at, line) in properties.lines().enumerate() {
        let form = (at % 3) as u8;
        seeds.add(
            "configuration",
            &format!("line-{at}"),
            &[&[form], line.as_bytes()],
        );
    }
}

fn small_files(seeds: &mut Seeds) {
    let epochs = epoch_checkpoint::encode(&[(0, 0), (3, 100), (4, 250)]);
    seeds.add("small_files", "epochs", &[&[0], epochs.as_bytes()]);
    let identity = partition_metadata::encode([7; 16]);
    seeds.add("small_files", "identity", &[&[1], identity.as_bytes()]);
    let batch = ProducerBatch {
        first_sequence: 5,
        last_sequence: 7,
        last_offset: 42,
        offset_delta: 2,
        timestamp_ms: 1000,
    };
    let producer = |producer_id| ProducerEntry {
        producer_id,
        producer_epoch: 2,
        coordinator_epoch: -1,
        open_txn_first_offset: Some(9),
        last_seen_ms: 1000,
        batches: vec![batch; 3],
    };
    let snapshot = producer_snapshot::encode(77, &[producer(9), producer(10)]).bytes;
    for kind in [2, 0x82] {
        let seed = format!("producers-{kind}");
        seeds.add("small_files", &seed, &[&[kind], &snapshot]);
    }
    let mut slot = BytesMut::new();
    for sequence in [1_u64, 2] {
        slot.put_slice(b"MRsl\x01\0\0\0");
        slot.put_u64_le(sequence);
        slot.put_u32_le(5);
        slot.put_u32_le(0);
        slot.put_slice(b"state");
        slot.resize(slot.len().next_multiple_of(4096), 0);
    }
    for kind in [3, 0x83] {
        let seed = format!("slots-{kind}");
        seeds.add("small_files", &seed, &[&[kind], &slot]);
    }
    // Every call on the file fails once; the third byte of what is drawn says which.
    for op in 0..8 {
        for nth in [0, 1, 2, 0x81, 0xc1] {
            let seed = format!("slots-fail-{op}-{nth}");
            seeds.add("small_files", &seed, &[&[0x43, op, 12, nth], &slot[3..]]);
        }
    }
}

/// One life with every kind of step, killed at its end; then one change of its journals or ledgers,
/// with right checksums.
fn changed_lives(seeds: &mut Seeds) {
    let steps: [[u8; 2]; 36] = [
        [0, 40],
        [1, 61],
        [2, 80],
        [19, 8],
        [6, 0],
        [3, 40],
        [9, 0],
        [19, 8],
        [0, 250],
        [4, 250],
        [1, 251],
        [19, 9],
        [9, 1],
        [19, 9],
        [12, 0],
        [7, 4],
        [1, 60],
        [8, 8],
        [19, 8],
        [10, 1],
        [15, 1],
        [3, 41],
        [13, 20],
        [0, 30],
        [19, 8],
        [14, 1],
        [1, 70],
        [7, 134],
        [5, 40],
        [11, 1],
        [15, 1],
        [0, 21],
        [6, 1],
        [2, 91],
        [19, 4],
        [0, 40],
    ];
    let life = [&[steps.len() as u8, 3], steps.as_flattened(), &[1]].concat();
    let mut place = 7_u16;
    for (how, count) in [(133_u8, 160_u16), (128, 160), (135, 60), (136, 60)] {
        for at in 0..count {
            place = place.wrapping_mul(2053).wrapping_add(13849);
            let [high, low] = place.to_be_bytes();
            // The journals and the ledgers stand behind the lock.
            let edit = [1, 1 + (at % 4) as u8, how, high, low, (at / 4) as u8];
            let flags = LIVED | u8::from(at % 8 == 0) | if at % 3 == 0 { 0x28 } else { 0 };
            let seed = format!("changed-{how}-{at}");
            seeds.add("log_directory", &seed, &[&[flags], &life, &edit]);
        }
    }
    // The disk fails under a start, or both ledgers are gone.
    for op in 0..8_u8 {
        for path in 0..13_u8 {
            for nth in [1_u8, 2, 0x81] {
                let seed = format!("fails-{op}-{path}-{nth}");
                let flags = LIVED | 0x68 | (nth & 1);
                let fault = [op, path, nth];
                seeds.add("log_directory", &seed, &[&[flags], &fault, &life, &[0]]);
                let flags = LIVED | 0x68;
                seeds.add("broker_directory", &seed, &[&[flags], &fault, &[0]]);
            }
        }
        let flags = LIVED | REBUILT | (op & 1);
        let cut = &life[2..life.len() - 1 - 4 * usize::from(op)];
        let steps = [&[(cut.len() / 2) as u8, op], cut, &[op]].concat();
        seeds.add(
            "log_directory",
            &format!("rebuilt-{op}"),
            &[&[flags], &steps, &[0]],
        );
    }
}

/// Small changes of the metadata's snapshots, log and hard state, with right checksums.
fn changed_metadata(seeds: &mut Seeds) {
    let files = broker_directory::image(true);
    let is_metadata = |path: &Path| {
        let text = path.to_string_lossy();
        text.ends_with(".checkpoint") || text.ends_with("quorum-state") || {
            text.contains("__cluster_metadata") && text.ends_with(".log")
        }
    };
    let mut place = 7_u16;
    for (at, (path, _)) in files.iter().enumerate() {
        let Ok(at) = u8::try_from(at) else { break };
        if !is_metadata(path) {
            continue;
        }
        for how in [135_u8, 136, 128, 129, 130, 131] {
            for count in 0..60_u8 {
                place = place.wrapping_mul(2053).wrapping_add(13849);
                // As often near the front, where the headers are.
                let near = if count % 2 == 0 { place % 90 } else { place };
                let [high, low] = near.to_be_bytes();
                let edit = [1, at, how, high, low, count, 3, 7, 9, count];
                let flags = LIVED | 2;
                let seed = format!("metadata-{at}-{how}-{count}");
                seeds.add("broker_directory", &seed, &[&[flags], &edit]);
            }
        }
    }
}

/// Every file of every image, hurt.
fn directories(seeds: &mut Seeds) {
    for (flags, ended) in [(0_u8, Ended::Killed), (2, Ended::Closed)] {
        hurt(
            seeds,
            "broker_directory",
            flags,
            &broker_directory::image(flags != 0),
        );
        let image = logs::image(ended);
        hurt(seeds, "log_directory", flags, &image.files);
        let batch = &image.files.iter().find(|(path, _)| {
            path.to_string_lossy()
                .ends_with("/t-0/00000000000000000000.log")
        });
        let batch = &batch.expect("the first segment is there").1;
        for flags in 0..16_u8 {
            let seed = format!("{flags}");
            seeds.add("log_segment", &seed, &[&[flags, 0, 0], &batch[..500]]);
        }
    }
}

/// Every file with its own front, one byte changed in the middle, emptied, and cut in the middle;
/// the checksums as they were, and made right.
fn hurt(seeds: &mut Seeds, target: &'static str, flags: u8, files: &Files) {
    for (at, (path, content)) in files.iter().enumerate() {
        let Ok(at) = u8::try_from(at) else { break };
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let seed = |what: &str| format!("{flags}-{at}-{file}-{what}");
        let middle = ((content.len() / 2) as u16).to_be_bytes();
        for sealed in [0, 0x80] {
            let front = &content[..content.len().min(2000)];
            let as_it_is = [flags, at, 1 | sealed, 0, 0];
            seeds.add(
                target,
                &seed(&format!("front-{sealed}")),
                &[&as_it_is, front],
            );
            let changed = [flags | 1, at, 1 | sealed];
            seeds.add(
                target,
                &seed(&format!("changed-{sealed}")),
                &[&changed, &middle, &[0xff]],
            );
        }
        seeds.add(target, &seed("empty"), &[&[flags, at, 0, 0, 0]]);
        seeds.add(target, &seed("cut"), &[&[flags | 1, at, 2], &middle]);
    }
}
