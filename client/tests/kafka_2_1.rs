//! The client and a broker of Kafka 2.1: it hears which versions such a broker serves, in that broker's own
//! recorded bytes, keeps to them, and does its work; an API that Kafka 2.1 lacks is named. What is asked at
//! those versions a broker of ours answers, behind a proxy that lets nothing else pass.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use millrace_client::{
    Admin, Cluster, ClusterOptions, ConfigChange, ConfigResource, Consumer, ConsumerOptions, Error,
    GroupOptions, NewTopic, OffsetOf, OffsetOrFind, Producer, ProducerOptions, Record, Records,
    Reset,
};
use millrace_config::BrokerConfig;
use millrace_host::{Connection, Host, Piece, Pool, ReadHalf, WriteHalf};
use millrace_protocol::api::Api;
use millrace_server::Broker;
use millrace_sim::Sim;

const RECORDED: &str = include_str!("data/kafka-2.1.1-api-versions.txt");
/// Where our broker listens, and where it says that it does: the proxy.
const BEHIND: &str = "127.0.0.1:9092";
const PROXY: &str = "127.0.0.1:9093";
const API_VERSIONS: i16 = 18;
const COUNT: usize = 300;

/// The recorded answer of this name.
fn recorded(name: &str) -> Bytes {
    let line = RECORDED
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let hex = line.unwrap().as_bytes();
    hex.chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The ranges of the recorded answer.
fn served() -> BTreeMap<i16, (i16, i16)> {
    let mut body = recorded("0");
    assert_eq!(body.get_i16(), 0);
    let rows = body.get_i32();
    (0..rows)
        .map(|_| (body.get_i16(), (body.get_i16(), body.get_i16())))
        .collect()
}

/// What passed.
#[derive(Debug, Default)]
struct Seen {
    asked: BTreeSet<(i16, i16)>,
    /// Requests that a broker of Kafka 2.1 would end the connection for.
    wrong: Vec<(i16, i16)>,
}

/// Passes connections on to the broker.
async fn proxy(host: Host, seen: Arc<Mutex<Seen>>) {
    let address: SocketAddr = PROXY.parse().unwrap();
    let mut listener = host.net.listen(address, 16).await.unwrap();
    loop {
        let from = listener.accept().await.unwrap();
        let to = host.net.connect(BEHIND.parse().unwrap()).await.unwrap();
        let passing = Box::pin(pass(host.clone(), from, to, Arc::clone(&seen)));
        drop(host.spawn.spawn(Pool::Data, "proxy of one", passing));
    }
}

/// Passes the requests and answers of one connection, until one of both sides ends it.
async fn pass(host: Host, from: Connection, to: Connection, seen: Arc<Mutex<Seen>>) {
    let Connection {
        read: mut requests,
        write: answers,
        ..
    } = from;
    let Connection {
        read: from_broker,
        write: mut to_broker,
        ..
    } = to;
    let answers = Arc::new(tokio::sync::Mutex::new(answers));
    let back = Box::pin(pass_back(from_broker, Arc::clone(&answers)));
    let back = host.spawn.spawn(Pool::Data, "proxy back", back);
    let mut buf = BytesMut::new();
    while let Some(frame) = next_frame(&mut requests, &mut buf).await {
        let (key, version, correlation_id) = {
            let mut head = &frame[4..];
            (head.get_i16(), head.get_i16(), head.get_i32())
        };
        if key == API_VERSIONS {
            let body = recorded(match version {
                0 => "0",
                1 => "1",
                2 => "2",
                _ => "refused",
            });
            let mut answer = BytesMut::new();
            answer.put_i32(4 + body.len() as i32);
            answer.put_i32(correlation_id);
            answer.put_slice(&body);
            let answer = vec![Piece::Bytes(answer.freeze())];
            answers.lock().await.send(answer).await.unwrap();
            continue;
        }
        let range = served().get(&key).copied();
        let is_known = range.is_some_and(|(min, max)| (min..=max).contains(&version));
        {
            let mut seen = seen.lock().unwrap();
            seen.asked.insert((key, version));
            if !is_known {
                seen.wrong.push((key, version));
            }
        }
        if !is_known || to_broker.send(vec![Piece::Bytes(frame)]).await.is_err() {
            break;
        }
    }
    back.abort();
}

async fn pass_back(mut from: Box<dyn ReadHalf>, to: Arc<tokio::sync::Mutex<Box<dyn WriteHalf>>>) {
    let mut buf = BytesMut::new();
    while matches!(from.read(&mut buf, 65_536).await, Ok(1..)) {
        let sent = Piece::Bytes(buf.split().freeze());
        if to.lock().await.send(vec![sent]).await.is_err() {
            return;
        }
    }
}

/// The next whole frame, its length included.
async fn next_frame(read: &mut Box<dyn ReadHalf>, buf: &mut BytesMut) -> Option<Bytes> {
    loop {
        if let Some(length) = buf.first_chunk::<4>() {
            let length = 4 + u32::from_be_bytes(*length) as usize;
            if buf.len() >= length {
                return Some(buf.split_to(length).freeze());
            }
        }
        if !matches!(read.read(buf, 65_536).await, Ok(1..)) {
            return None;
        }
    }
}

/// Runs a test behind the proxy; what passed.
fn behind_kafka_2_1(test: impl AsyncFnOnce(&Cluster)) -> Seen {
    let sim = Sim::new(1);
    let world = sim.world();
    let seen = Arc::new(Mutex::new(Seen::default()));
    sim.block_on(async {
        let pairs = [
            ("listeners".to_owned(), format!("PLAINTEXT://{BEHIND}")),
            (
                "advertised.listeners".to_owned(),
                format!("PLAINTEXT://{PROXY}"),
            ),
            ("log.dirs".to_owned(), "/data".to_owned()),
            ("admin.listener".to_owned(), String::new()),
        ];
        let pairs = pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let config = BrokerConfig::from_pairs(pairs).unwrap();
        let broker = Broker::start(config, world.node("broker")).await.unwrap();
        let proxies = world.node("proxy");
        let passing = Box::pin(proxy(proxies.clone(), Arc::clone(&seen)));
        drop(proxies.spawn.spawn(Pool::Data, "proxy", passing));
        let client = world.node("client");
        let cluster = Cluster::connect(&client, ClusterOptions::new([PROXY])).await;
        test(&cluster.unwrap()).await;
        drop(broker);
    });
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen.wrong, [], "Kafka 2.1 knows nothing of these");
    seen
}

async fn read_all(consumer: &Consumer) -> Vec<Vec<u8>> {
    let mut scratch = Records::scratch();
    let mut values = Vec::new();
    while values.len() < COUNT {
        let records = consumer.next().await.unwrap();
        let read = records.read_records(&mut scratch, |record| {
            values.push(record.value.unwrap_or_default().to_vec());
        });
        read.unwrap();
    }
    values
}

#[test]
fn producing_consuming_and_groups_keep_to_the_versions_of_kafka_2_1() {
    let seen = behind_kafka_2_1(async |cluster| {
        let admin = Admin::new(cluster);
        let made = admin.create_topics(&[NewTopic::new("t", 1)]).await.unwrap();
        for outcome in made.into_values() {
            outcome.unwrap();
        }
        let producer = Producer::new(cluster, &ProducerOptions::default()).unwrap();
        let mut deliveries = Vec::new();
        let expected: Vec<_> = (0..COUNT).map(|at| at.to_string().into_bytes()).collect();
        for value in &expected {
            let record = Record::to("t").value(value);
            deliveries.push(producer.send(&record).await.unwrap());
        }
        producer.flush().await;
        for (at, delivery) in (0..).zip(deliveries) {
            assert_eq!(delivery.wait().await.unwrap().offset, Some(at));
        }

        let consumer = Consumer::new(cluster, ConsumerOptions::default());
        let begin = OffsetOrFind::Find(OffsetOf::Start);
        consumer.assign([("t", 0, begin)]).await.unwrap();
        assert_eq!(read_all(&consumer).await, expected);

        let options = ConsumerOptions {
            reset: Reset::Earliest,
            ..ConsumerOptions::default()
        };
        let group = GroupOptions::new("g", ["t"]);
        let member = Consumer::subscribe(cluster, options, group).unwrap();
        assert_eq!(read_all(&member).await, expected);
        member.commit().await.unwrap();
        member.close().await.unwrap();
    });
    let asked = |api: Api| {
        seen.asked
            .iter()
            .filter(|(key, _)| *key == api.key())
            .count()
    };
    for api in [
        Api::Produce,
        Api::Fetch,
        Api::InitProducerId,
        Api::JoinGroup,
        Api::OffsetCommit,
    ] {
        assert!(asked(api) > 0, "{api:?} was not asked");
    }
}

#[test]
fn administration_works_or_names_what_kafka_2_1_lacks() {
    behind_kafka_2_1(async |cluster| {
        let admin = Admin::new(cluster);
        admin.create_topics(&[NewTopic::new("t", 1)]).await.unwrap();
        let resource = ConfigResource::Topic("t".to_owned());
        let described = admin
            .describe_configs(std::slice::from_ref(&resource), None, false)
            .await
            .unwrap();
        assert!(!described[&resource].as_ref().unwrap().is_empty());
        let change = ConfigChange::Set("retention.ms".to_owned(), "1000".to_owned());
        let changes = BTreeMap::from([(resource, vec![change])]);
        let named = |error: &Error, name: &str| {
            assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
            assert!(!error.is_retriable());
        };
        match admin.alter_configs(&changes, false).await {
            Err(error) => named(&error, "IncrementalAlterConfigs"),
            Ok(outcomes) => {
                for outcome in outcomes.into_values() {
                    named(&outcome.unwrap_err(), "IncrementalAlterConfigs");
                }
            }
        }
        named(
            &admin.describe_quorum().await.unwrap_err(),
            "DescribeQuorum",
        );
        let deleted = admin.delete_topics(&["t"]).await.unwrap();
        for outcome in deleted.into_values() {
            outcome.unwrap();
        }
    });
}

#[test]
fn the_recorded_ranges_are_those_of_kafka_2_1() {
    let served = served();
    assert_eq!(served.len(), 43);
    assert_eq!(served[&Api::Produce.key()], (0, 7));
    assert_eq!(served[&Api::Fetch.key()], (0, 10));
    assert!(!served.contains_key(&Api::IncrementalAlterConfigs.key()));
}
