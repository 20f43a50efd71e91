//! Ten thousand creations and deletions in flight at once, and deletions under those who write and
//! read: each request is answered once, in order; the topics are those that the answers say, behind
//! a kill too; nobody reads what is another topic's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_client::{Client, ClientOptions, Error, PartitionReader, Pending, Topic};
use millrace_host::Host;
use millrace_protocol::messages::create_topics_request::CreatableTopic;
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use millrace_protocol::messages::{CreateTopicsRequest, DeleteTopicsRequest};
use millrace_protocol::records;

use crate::stage::{Node, Place, connect, everything, now_ms, produce, record_of, topic};

const CONNECTIONS: usize = 50;
const OF_EACH: usize = 200;
/// Names that a connection has for itself, and names that all of them make and remove.
const OWN_NAMES: u64 = 10;
const SHARED_NAMES: u64 = 5;
const SHARED: &str = "shared-";
const MEMORY_MAX: u64 = 512 << 20;
const EXISTS: i16 = 36;
const UNKNOWN: i16 = 3;

enum Asked {
    Create(String, Pending<CreateTopicsRequest>),
    Delete(String, Pending<DeleteTopicsRequest>),
}

async fn create(client: &Client, name: String) -> Asked {
    let mut topic = CreatableTopic::default();
    topic.name = name.as_str().into();
    topic.num_partitions = 1;
    topic.replication_factor = -1;
    let mut request = CreateTopicsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = 120_000;
    let pending = client.send(&request).await.unwrap();
    Asked::Create(name, pending)
}

async fn delete(client: &Client, name: String) -> Asked {
    let mut state = DeleteTopicState::default();
    state.name = Some(name.as_str().into());
    let mut request = DeleteTopicsRequest::default();
    request.topics = vec![state];
    request.timeout_ms = 120_000;
    let pending = client.send(&request).await.unwrap();
    Asked::Delete(name, pending)
}

impl Asked {
    /// Whose, whether a creation, and the code in the answer.
    async fn told(self) -> (String, bool, i16) {
        match self {
            Self::Create(name, pending) => {
                let answer = pending.wait().await.unwrap();
                let row = answer.read().unwrap().topics.into_iter().next().unwrap();
                assert_eq!(row.name, name);
                (name, true, row.error_code)
            }
            Self::Delete(name, pending) => {
                let answer = pending.wait().await.unwrap();
                let row = answer.read().unwrap().responses.into_iter().next().unwrap();
                assert_eq!(row.name, Some(name.as_str()));
                (name, false, row.error_code)
            }
        }
    }
}

/// The next of a fixed row of numbers.
fn draw(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    *state >> 33
}

async fn names(client: &Client) -> BTreeSet<String> {
    let answer = client.metadata(None).await.unwrap();
    let topics = answer.read().unwrap().topics.into_iter();
    topics.filter_map(|t| t.name.map(str::to_owned)).collect()
}

/// All of them on their way, in the order of sending, by connection.
async fn flood(host: &Host, node: &Node) -> Vec<Vec<Asked>> {
    let options = ClientOptions {
        in_flight_max: OF_EACH,
        request_timeout: Duration::from_mins(5),
        ..ClientOptions::default()
    };
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = Client::connect(host, node.address, options.clone()).await;
        clients.push(client.unwrap());
    }
    let mut seed = 5;
    let mut asked: Vec<Vec<Asked>> = clients.iter().map(|_| Vec::new()).collect();
    for _ in 0..OF_EACH {
        for (number, client) in clients.iter().enumerate() {
            let drawn = draw(&mut seed);
            let name = if drawn.is_multiple_of(10) {
                format!("{SHARED}{}", drawn / 10 % SHARED_NAMES)
            } else {
                format!("of-{number}-{}", drawn / 10 % OWN_NAMES)
            };
            let one = if draw(&mut seed).is_multiple_of(2) {
                create(client, name).await
            } else {
                delete(client, name).await
            };
            asked[number].push(one);
        }
    }
    asked
}

/// The topics that there are by the answers, each of which must be right by those before it.
async fn there_by_the_answers(asked: Vec<Vec<Asked>>) -> BTreeSet<String> {
    let mut there = BTreeSet::new();
    let mut made_less_removed = BTreeMap::new();
    for one in asked.into_iter().flatten() {
        let (name, is_creation, code) = one.told().await;
        if name.starts_with(SHARED) {
            let count: &mut i32 = made_less_removed.entry(name).or_default();
            *count += match (is_creation, code) {
                (true, 0) => 1,
                (false, 0) => -1,
                (true, EXISTS) | (false, UNKNOWN) => 0,
                other => panic!("{other:?}"),
            };
            continue;
        }
        let expected = match (is_creation, there.contains(&name)) {
            (true, true) => EXISTS,
            (false, false) => UNKNOWN,
            _ => 0,
        };
        assert_eq!(code, expected, "{name}, a creation: {is_creation}");
        if is_creation {
            there.insert(name);
        } else {
            there.remove(&name);
        }
    }
    for (name, count) in made_less_removed {
        assert!((0..=1).contains(&count), "{name}: {count}");
        there.extend((count == 1).then_some(name));
    }
    there
}

#[test]
fn ten_thousand_creations_and_deletions_at_once_leave_what_their_answers_say() {
    let place = Place::new();
    let node = place.start(&["data"]);
    let host = place.host();
    let there = place.block_on(async {
        let beside = connect(&host, &node).await;
        let witness = topic(&beside, "beside").await;
        let asked = flood(&host, &node).await;
        // All are on their way, and others are served meanwhile.
        for number in 0..20 {
            let offset = produce(&beside, &witness, b"served").await.unwrap();
            assert_eq!(offset, number);
        }
        let mut there = there_by_the_answers(asked).await;
        there.insert("beside".to_owned());
        assert_eq!(names(&beside).await, there);
        there
    });
    let peak = node.peak_memory();
    assert!(peak < MEMORY_MAX, "{peak} bytes");
    node.kill();
    let node = place.start(&["data"]);
    place.block_on(async {
        let client = connect(&host, &node).await;
        assert_eq!(names(&client).await, there, "behind a kill");
        for name in there {
            let topic = client.topic(&name).await.unwrap();
            produce(&client, &topic, b"served").await.unwrap();
        }
    });
    node.stop();
}

#[test]
fn a_topic_that_is_deleted_under_writers_and_readers_is_gone_and_the_next_one_is_itself() {
    let place = Place::new();
    let node = place.start(&["data"]);
    let host = place.host();
    place.block_on(async {
        let admin = connect(&host, &node).await;
        let writer = connect(&host, &node).await;
        let reader = connect(&host, &node).await;
        for life in 0..30 {
            let made = topic(&admin, "often").await;
            let value = format!("of life {life}").into_bytes();
            let mut first = None;
            // While the last one's data are being removed it is refused, to be tried again.
            place
                .until("room for the next", async || {
                    let told = produce(&writer, &made, &value).await;
                    assert!(
                        told.as_ref().map_or_else(Error::is_retriable, |_| true),
                        "{told:?}"
                    );
                    first = told.ok();
                    first.is_some()
                })
                .await;
            assert_eq!(first, Some(0), "life {life} begins anew");
            let (mut on_its_way, mut taken) = (Vec::new(), 0);
            for _ in 0..40 {
                let batch = record_of(now_ms(), &value);
                on_its_way.push(writer.send_batch(&made, 0, batch).await.unwrap());
            }
            let gone = delete(&admin, "often".to_owned()).await;
            for one in on_its_way {
                match one.wait().await {
                    Ok(_) => taken += 1,
                    Err(error) => assert!(error.is_retriable(), "{error}"),
                }
            }
            let seen = read_while_it_is_there(&reader, &made).await;
            assert!(seen.iter().all(|one| *one == value), "life {life}");
            assert_eq!(gone.told().await.2, 0);
            assert!(taken <= 40 && produce(&writer, &made, &value).await.is_err());
        }
        let last = topic(&admin, "often").await;
        assert!(everything(&reader, &last).await.is_empty());
    });
    node.stop();
}

/// What is seen of it, as long as it is there.
async fn read_while_it_is_there(client: &Client, topic: &Topic) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    let Ok(mut reader) = PartitionReader::new(client, topic, 0).await else {
        return seen;
    };
    let mut scratch = records::Scratch::new(1 << 20);
    while let Ok(batches) = reader.next().await {
        if batches.is_empty() {
            break;
        }
        for batch in &batches {
            for record in records::record_iter(batch, &mut scratch).unwrap() {
                seen.push(record.unwrap().value.unwrap().to_vec());
            }
        }
    }
    seen
}
