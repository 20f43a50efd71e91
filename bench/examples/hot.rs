//! Hot paths, each gone as often as is asked for: `hot NAME TIMES`. For counting instructions
//! (`cargo xtask instructions`), so it is the same work every time: one thread, no clock, and where a
//! whole broker answers, the simulated machine, whose own share is in the count.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use millrace_client::{Acks, Call, Client, ClientOptions, NewTopic};
use millrace_config::BrokerConfig;
use millrace_host::{Connection, Host, Piece};
use millrace_protocol::frame::{self, FrameLimits};
use millrace_protocol::header::{RequestHeader, decode_request, encode_request};
use millrace_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millrace_protocol::messages::{self, ApiVersionsRequest, FetchRequest};
use millrace_protocol::records::validate::{Depth, ProduceRules, check_produced};
use millrace_protocol::records::{BatchBuilder, Options, Scratch, TimestampType};
use millrace_protocol::requests::{self, ProduceRequest};
use millrace_server::Broker;
use millrace_sim::{Sim, SimOptions};

/// What goes wrong here goes wrong for a developer.
type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Records of a batch, and bytes of each.
const RECORDS: usize = 10;
const RECORD_BYTES: usize = 100;
/// The time of every record.
const TIMESTAMP_MS: i64 = 1_700_000_000_000;
/// Answers are taken from the machine in pieces of so many bytes.
const PIECE_BYTES: usize = 64 << 10;

fn main() -> Outcome {
    let mut words = std::env::args().skip(1);
    let name = words.next().ok_or("hot NAME TIMES")?;
    let times: u32 = words.next().ok_or("hot NAME TIMES")?.parse()?;
    match &*name {
        "frame-decode" => frame_decode(times),
        "batch-validation" => batch_validation(times),
        "api-versions" | "append" | "fetch" => {
            let sim = Sim::with_options(SimOptions::default());
            sim.block_on(asked(&sim, &name, times))
        }
        other => Err(format!("no path is called {other}").into()),
    }
}

fn batch() -> Result<Bytes, Box<dyn std::error::Error>> {
    let mut builder = BatchBuilder::new(Options::default());
    for _ in 0..RECORDS {
        builder.push(TIMESTAMP_MS, None, Some(&[7; RECORD_BYTES]), &[])?;
    }
    Ok(builder.build())
}

/// A request as it goes over the wire.
fn framed(call: Call, body: &[u8]) -> Result<Bytes, Box<dyn std::error::Error>> {
    let header = RequestHeader {
        api_key: call.api_key,
        api_version: call.api_version,
        correlation_id: 7,
        client_id: Some(Bytes::from_static(b"hot")),
    };
    let mut frame = BytesMut::new();
    encode_request(&header, call.flexible, &mut frame);
    frame.extend_from_slice(body);
    let mut whole = BytesMut::new();
    frame::encode_len(frame.len(), &mut whole).ok_or("a frame that is too long")?;
    whole.extend_from_slice(&frame);
    Ok(whole.freeze())
}

/// A produce request is cut from the stream, its header and its body are read.
fn frame_decode(times: u32) -> Outcome {
    let version = 9;
    let call = Call {
        api_key: 0,
        api_version: version,
        flexible: true,
    };
    let body = messages::encode(&produce_body("topic", batch()?), version)?;
    let wire = framed(call, &body)?;
    let mut buf = BytesMut::new();
    for _ in 0..times {
        buf.extend_from_slice(&wire);
        let decoded = frame::decode(&mut buf, FrameLimits::REQUEST)?;
        let mut frame = decoded.ok_or("a frame that is not whole")?;
        decode_request(&mut frame, call.flexible)?;
        let request: ProduceRequest<'_> = requests::read(version, &frame)?;
        std::hint::black_box(request.topic_data.len());
    }
    Ok(())
}

fn produce_body(topic: &str, batch: Bytes) -> messages::ProduceRequest {
    use messages::produce_request::{PartitionProduceData, TopicProduceData};
    let mut data = PartitionProduceData::default();
    data.records = Some(batch);
    let mut of_topic = TopicProduceData::default();
    of_topic.name = topic.into();
    of_topic.partition_data = vec![data];
    let mut request = messages::ProduceRequest::default();
    request.transactional_id = None;
    request.acks = 1;
    request.timeout_ms = 30_000;
    request.topic_data = vec![of_topic];
    request
}

/// A batch is held to Kafka's rules, every record of it.
fn batch_validation(times: u32) -> Outcome {
    let batch = batch()?;
    let rules = ProduceRules {
        depth: Depth::Full,
        batch_bytes_max: 1 << 20,
        inflated_bytes_max: 1 << 24,
        compacted: false,
        zstd_allowed: true,
        transactional_allowed: false,
        timestamp_type: TimestampType::CreateTime,
        now_ms: TIMESTAMP_MS,
        before_max_ms: i64::MAX,
        after_max_ms: i64::MAX,
    };
    let mut scratch = Scratch::new(1 << 24);
    for _ in 0..times {
        check_produced(&batch, &rules, &mut scratch)?;
    }
    Ok(())
}

/// One connection to a broker, asked the same again and again.
async fn asked(sim: &Sim, name: &str, times: u32) -> Outcome {
    let address = SocketAddr::from(([127, 0, 0, 1], 9092));
    let config = BrokerConfig::from_pairs([
        ("listeners", "PLAINTEXT://127.0.0.1:9092"),
        ("log.dirs", "/data"),
        ("admin.listener", ""),
    ])?;
    let broker = Broker::start(config, sim.node("broker")).await?;
    let host = sim.node("client");
    let client = Client::connect(&host, address, ClientOptions::default()).await?;
    let new = NewTopic::new("hot", 1).with("retention.ms", "-1");
    let topic = client
        .create_topic(&new.with("durability", "page-cache"))
        .await?;
    let (call, body) = match name {
        "api-versions" => {
            let mut request = ApiVersionsRequest::default();
            request.client_software_name = "hot".into();
            request.client_software_version = "1".into();
            client.encode(&request)?
        }
        "append" => client.encode(&client.produce_request(&topic, 0, Acks::Leader, batch()?))?,
        _ => {
            client.produce(&topic, 0, Acks::All, batch()?).await?;
            let mut partition = FetchPartition::default();
            partition.current_leader_epoch = -1;
            partition.partition_max_bytes = 1 << 20;
            let mut of_topic = FetchTopic::default();
            of_topic.topic_id = topic.id.into();
            of_topic.partitions = vec![partition];
            let mut request = FetchRequest::default();
            request.max_bytes = 1 << 20;
            request.session_epoch = -1;
            request.topics = vec![of_topic];
            client.encode(&request)?
        }
    };
    let wire = framed(call, &body)?;
    ask(&host, address, &wire, times).await?;
    drop(broker);
    Ok(())
}

async fn ask(host: &Host, address: SocketAddr, wire: &Bytes, times: u32) -> Outcome {
    let mut connection = host.net.connect(address).await?;
    let mut buf = BytesMut::new();
    for _ in 0..times {
        let request = vec![Piece::Bytes(wire.clone())];
        connection.write.send(request).await?;
        answer(&mut connection, &mut buf).await?;
    }
    Ok(())
}

/// Takes one answer, whatever it says.
async fn answer(connection: &mut Connection, buf: &mut BytesMut) -> Outcome {
    loop {
        if let Some(length) = buf.first_chunk::<4>() {
            let whole = 4 + u32::from_be_bytes(*length) as usize;
            if buf.len() >= whole {
                buf.advance(whole);
                return Ok(());
            }
        }
        if connection.read.read(buf, PIECE_BYTES).await? == 0 {
            return Err("the broker closed the connection".into());
        }
    }
}
