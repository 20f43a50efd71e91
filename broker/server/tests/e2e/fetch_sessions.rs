//! Fetch sessions (KIP-227), versions 7–18.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::header;
use millrace_protocol::messages::fetch_request::ForgottenTopic;
use millrace_protocol::messages::{self, DecodeLimits, FetchRequest, FetchResponse};

use crate::node::{FETCH, Node, Topic, batch, fetch_request, produce_request, values, with};

/// What a session's answer says: its error, its id, and each partition with its values.
type Said = (i16, i32, Vec<(i32, Vec<String>)>);

async fn said(node: &mut Node, version: i16, request: &FetchRequest) -> Said {
    let response: FetchResponse = node.client.ask(Api::Fetch, version, request).await;
    let rows = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions);
    let rows = rows.map(|row| {
        assert_eq!(row.error_code, 0);
        (row.partition_index, values(row))
    });
    (response.error_code, response.session_id, rows.collect())
}

fn in_session(topic: &Topic, id: i32, epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
    let mut request = fetch_request(topic, partitions);
    if partitions.is_empty() {
        request.topics.clear();
    }
    request.session_id = id;
    request.session_epoch = epoch;
    request
}

async fn put(node: &mut Node, topic: &Topic, partition: i32, value: &str) {
    let request = produce_request(topic, partition, -1, Some(batch(&[value])));
    assert_eq!(node.produce_row(13, &request).await.error_code, 0);
}

fn row(partition: i32, value: &[&str]) -> (i32, Vec<String>) {
    (partition, value.iter().map(ToString::to_string).collect())
}

#[test]
fn a_session_answers_only_what_is_new() {
    for version in 7..=FETCH {
        with(&[], async |mut node| {
            let topic = node.topic_of("t", 3, &[]).await;
            put(&mut node, &topic, 0, "a").await;
            let full = in_session(&topic, 0, 0, &[(0, 0), (1, 0), (2, 0)]);
            let (code, id, rows) = said(&mut node, version, &full).await;
            assert_eq!(code, 0);
            assert!(id > 0, "a session was made");
            assert_eq!(rows, [row(0, &["a"]), row(1, &[]), row(2, &[])]);
            // The client moves on in partition 0.
            let next = in_session(&topic, id, 1, &[(0, 1)]);
            assert_eq!(said(&mut node, version, &next).await, (0, id, vec![]));
            put(&mut node, &topic, 2, "b").await;
            let next = in_session(&topic, id, 2, &[]);
            let expected = vec![row(2, &["b"])];
            assert_eq!(said(&mut node, version, &next).await, (0, id, expected));
            // What was not consumed is still there.
            let next = in_session(&topic, id, 3, &[]);
            let expected = vec![row(2, &["b"])];
            assert_eq!(said(&mut node, version, &next).await, (0, id, expected));
            let next = in_session(&topic, id, 4, &[(2, 1)]);
            assert_eq!(said(&mut node, version, &next).await, (0, id, vec![]));
            // Forgotten partitions are silent, added ones are told.
            let mut next = in_session(&topic, id, 5, &[]);
            let mut forgotten = ForgottenTopic::default();
            forgotten.topic = topic.name.clone();
            forgotten.topic_id = topic.id;
            forgotten.partitions = vec![2];
            next.forgotten_topics_data = vec![forgotten];
            put(&mut node, &topic, 2, "c").await;
            put(&mut node, &topic, 1, "d").await;
            let expected = vec![row(1, &["d"])];
            assert_eq!(said(&mut node, version, &next).await, (0, id, expected));
            let next = in_session(&topic, id, 6, &[(1, 1), (2, 1)]);
            let expected = vec![row(2, &["c"])];
            assert_eq!(said(&mut node, version, &next).await, (0, id, expected));
        });
    }
}

#[test]
fn epochs_and_ids_that_do_not_fit_end_the_request_without_partitions() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let full = in_session(&topic, 0, 0, &[(0, 0)]);
        let (_, id, _) = said(&mut node, FETCH, &full).await;
        let wrong_epoch = in_session(&topic, id, 2, &[]);
        assert_eq!(said(&mut node, FETCH, &wrong_epoch).await, (71, 0, vec![]));
        let unknown = in_session(&topic, id ^ 1, 1, &[]);
        assert_eq!(said(&mut node, FETCH, &unknown).await, (70, 0, vec![]));
        let by_name = in_session(&topic, id, 1, &[]);
        assert_eq!(said(&mut node, 12, &by_name).await, (106, 0, vec![]));
        let right = in_session(&topic, id, 1, &[]);
        assert_eq!(said(&mut node, FETCH, &right).await, (0, id, vec![]));
        let closing = in_session(&topic, id, -1, &[(0, 0)]);
        let (code, none, rows) = said(&mut node, FETCH, &closing).await;
        assert_eq!((code, none, rows.len()), (0, 0, 1));
        let gone = in_session(&topic, id, 2, &[]);
        assert_eq!(said(&mut node, FETCH, &gone).await, (70, 0, vec![]));
        let (_, first, _) = said(&mut node, FETCH, &full).await;
        let replaced = in_session(&topic, first, 0, &[(0, 0)]);
        let (_, second, _) = said(&mut node, FETCH, &replaced).await;
        assert_ne!(first, second);
        let gone = in_session(&topic, first, 1, &[]);
        assert_eq!(said(&mut node, FETCH, &gone).await, (70, 0, vec![]));
        assert_eq!(node.metric("millrace_fetch_sessions"), 1);
    });
}

#[test]
fn a_full_cache_gives_no_session_and_serves_nevertheless() {
    let pairs = [("max.incremental.fetch.session.cache.slots", "1")];
    with(&pairs, async |mut node| {
        let topic = node.topic("t", &[]).await;
        let full = in_session(&topic, 0, 0, &[(0, 0)]);
        let (_, first, _) = said(&mut node, FETCH, &full).await;
        assert_ne!(first, 0);
        let (code, second, rows) = said(&mut node, FETCH, &full).await;
        assert_eq!((code, second, rows.len()), (0, 0, 1));
        node.world.pause(Duration::from_secs(130)).await;
        let (_, third, _) = said(&mut node, FETCH, &full).await;
        assert_ne!(third, 0, "the idle one gave way");
    });
}

#[test]
fn a_session_waits_for_any_of_its_partitions() {
    with(&[], async |mut node| {
        let topic = node.topic_of("t", 50, &[]).await;
        let all: Vec<_> = (0..50).map(|partition| (partition, 0)).collect();
        let full = in_session(&topic, 0, 0, &all);
        let (_, id, _) = said(&mut node, FETCH, &full).await;
        let mut moved = Vec::new();
        for (epoch, partition) in (1..).zip([17, 3, 49]) {
            let mut next = in_session(&topic, id, epoch, &moved);
            next.max_wait_ms = 100_000;
            let mut waiting = node.connect().await;
            let start = node.now();
            let producing = async {
                node.world.pause(Duration::from_secs(2)).await;
                put(&mut node, &topic, partition, "x").await;
            };
            let asking = waiting.ask::<_, FetchResponse>(Api::Fetch, FETCH, &next);
            let (response, ()) = tokio::join!(asking, producing);
            let rows = &response.responses[0].partitions;
            assert_eq!((rows.len(), rows[0].partition_index), (1, partition));
            let waited = node.since(start).as_secs();
            assert!((2..3).contains(&waited), "{waited} s");
            moved = vec![(partition, 1)];
        }
    });
}

#[test]
fn what_a_fetch_saw_that_was_never_answered_is_told_by_the_next_one() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let full = in_session(&topic, 0, 0, &[(0, 0)]);
        let (_, id, _) = said(&mut node, FETCH, &full).await;
        put(&mut node, &topic, 0, "a").await;
        // It sees the record and waits for more; its connection goes before there is any.
        let mut waiting = in_session(&topic, id, 1, &[]);
        waiting.min_bytes = 1_000_000;
        waiting.max_wait_ms = 60_000;
        let body = messages::encode(&waiting, FETCH).unwrap();
        let mut other = node.connect().await;
        other
            .send_request(Api::Fetch.key(), FETCH, true, &body)
            .await;
        node.world.pause(Duration::from_secs(1)).await;
        drop(other);
        node.world.pause(Duration::from_secs(1)).await;
        let next = in_session(&topic, id, 2, &[]);
        let expected = vec![row(0, &["a"])];
        assert_eq!(said(&mut node, FETCH, &next).await, (0, id, expected));
        assert_eq!(node.metric("millrace_fetch_sessions"), 1);
        let last = in_session(&topic, id, -1, &[(0, 0)]);
        said(&mut node, FETCH, &last).await;
        assert_eq!(node.metric("millrace_fetch_sessions"), 0);
    });
}

const REMEMBERED: &str = "millrace_fetch_session_partitions";
const REFUSED: &str = "millrace_fetch_sessions_refused_total";

#[test]
fn past_the_limit_of_partitions_a_fetch_is_served_without_a_session() {
    with(
        &[("fetch.session.partitions.max", "3")],
        async |mut node| {
            let topic = node.topic_of("t", 4, &[]).await;
            let two = in_session(&topic, 0, 0, &[(0, 0), (1, 0)]);
            let (_, first, _) = said(&mut node, FETCH, &two).await;
            assert_ne!(first, 0);
            for version in 7..=FETCH {
                let (code, none, rows) = said(&mut node, version, &two).await;
                assert_eq!((code, none, rows.len()), (0, 0, 2), "version {version}");
            }
            assert_eq!(node.metric(REMEMBERED), 2);
            assert_eq!(node.metric(REFUSED), 12);
            // There is room for one more; and for two, when an idle one gives way.
            let one = in_session(&topic, 0, 0, &[(3, 0)]);
            let (_, second, _) = said(&mut node, FETCH, &one).await;
            assert_ne!(second, 0);
            node.world.pause(Duration::from_secs(100)).await;
            let next = in_session(&topic, second, 1, &[]);
            assert_eq!(said(&mut node, FETCH, &next).await, (0, second, vec![]));
            node.world.pause(Duration::from_secs(30)).await;
            let (_, third, _) = said(&mut node, FETCH, &two).await;
            assert_ne!(third, 0, "the idle one gave way");
            let next = in_session(&topic, second, 2, &[]);
            assert_eq!(said(&mut node, FETCH, &next).await, (0, second, vec![]));
            assert_eq!(node.metric(REMEMBERED), 3);
            assert_eq!(node.metric("millrace_fetch_sessions"), 2);
        },
    );
}

#[test]
fn a_session_that_grows_past_the_limit_is_gone_and_its_client_begins_anew() {
    with(
        &[("fetch.session.partitions.max", "3")],
        async |mut node| {
            let topic = node.topic_of("t", 4, &[]).await;
            let full = in_session(&topic, 0, 0, &[(0, 0), (1, 0)]);
            let (_, id, _) = said(&mut node, FETCH, &full).await;
            let grown = in_session(&topic, id, 1, &[(2, 0)]);
            let expected = vec![row(2, &[])];
            assert_eq!(said(&mut node, FETCH, &grown).await, (0, id, expected));
            assert_eq!(node.metric(REMEMBERED), 3);
            // One goes, one comes.
            let mut forgotten = ForgottenTopic::default();
            forgotten.topic = topic.name.clone();
            forgotten.topic_id = topic.id;
            forgotten.partitions = vec![0];
            let mut changed = in_session(&topic, id, 2, &[(3, 0)]);
            changed.forgotten_topics_data = vec![forgotten];
            let expected = vec![row(3, &[])];
            assert_eq!(said(&mut node, FETCH, &changed).await, (0, id, expected));
            assert_eq!(node.metric(REMEMBERED), 3);
            // A partition that no topic has is remembered like any other.
            let grown = in_session(&topic, id, 3, &[(77, 0)]);
            assert_eq!(said(&mut node, FETCH, &grown).await, (70, 0, vec![]));
            assert_eq!(node.metric(REMEMBERED), 0);
            assert_eq!(node.metric(REFUSED), 1);
            let next = in_session(&topic, id, 4, &[]);
            assert_eq!(said(&mut node, FETCH, &next).await, (70, 0, vec![]));
            let all = in_session(&topic, 0, 0, &[(0, 0), (1, 0), (2, 0), (3, 0)]);
            let (code, none, rows) = said(&mut node, FETCH, &all).await;
            assert_eq!((code, none, rows.len()), (0, 0, 4));
            let (_, again, _) = said(&mut node, FETCH, &full).await;
            assert_ne!(again, 0);
        },
    );
}

#[test]
fn a_session_that_forgot_all_its_partitions_is_closed() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let full = in_session(&topic, 0, 0, &[(0, 0)]);
        let (_, id, _) = said(&mut node, FETCH, &full).await;
        let mut forgotten = ForgottenTopic::default();
        forgotten.topic_id = topic.id;
        forgotten.partitions = vec![0];
        let mut last = in_session(&topic, id, 1, &[]);
        last.forgotten_topics_data = vec![forgotten];
        assert_eq!(said(&mut node, FETCH, &last).await, (0, 0, vec![]));
        assert_eq!(node.metric("millrace_fetch_sessions"), 0);
        assert_eq!(node.metric(REMEMBERED), 0);
    });
}

#[test]
fn what_a_waiting_fetch_remembers_counts_until_it_ends() {
    with(
        &[("fetch.session.partitions.max", "2")],
        async |mut node| {
            let topic = node.topic_of("t", 2, &[]).await;
            let full = in_session(&topic, 0, 0, &[(0, 0), (1, 0)]);
            let (_, id, _) = said(&mut node, FETCH, &full).await;
            let mut waiting = in_session(&topic, id, 1, &[]);
            waiting.max_wait_ms = 10_000;
            let body = messages::encode(&waiting, FETCH).unwrap();
            let mut other = node.connect().await;
            other
                .send_request(Api::Fetch.key(), FETCH, true, &body)
                .await;
            node.world.pause(Duration::from_secs(1)).await;
            let closing = in_session(&topic, id, -1, &[(0, 0)]);
            said(&mut node, FETCH, &closing).await;
            assert_eq!(node.metric("millrace_fetch_sessions"), 0);
            assert_eq!(node.metric(REMEMBERED), 2);
            let (_, none, _) = said(&mut node, FETCH, &full).await;
            assert_eq!(none, 0);
            assert!(other.reply().await.is_some());
            assert_eq!(node.metric(REMEMBERED), 0);
            let (_, some, _) = said(&mut node, FETCH, &full).await;
            assert_ne!(some, 0);
        },
    );
}

#[test]
fn two_fetches_of_one_session_are_answered_one_after_the_other() {
    with(&[], async |mut node| {
        let topic = node.topic_of("t", 2, &[]).await;
        put(&mut node, &topic, 1, "a").await;
        let full = in_session(&topic, 0, 0, &[(0, 0)]);
        let (_, id, _) = said(&mut node, FETCH, &full).await;
        // The first adds a partition with a record, and so many others that the second, which is
        // there at once, comes while it does.
        let others = (2..1500).map(|partition| (partition, 0));
        let added: Vec<_> = [(1, 0)].into_iter().chain(others).collect();
        let first = in_session(&topic, id, 1, &added);
        let second = in_session(&topic, id, 2, &[(1, 1)]);
        let mut one = node.connect().await;
        let mut other = node.connect().await;
        assert!(one.is_served().await && other.is_served().await);
        node.world.partition("client", "broker");
        for (client, request) in [(&mut one, &first), (&mut other, &second)] {
            let body = messages::encode(request, FETCH).unwrap();
            client
                .send_request(Api::Fetch.key(), FETCH, true, &body)
                .await;
        }
        node.world.pause(Duration::from_secs(1)).await;
        node.world.heal_net();
        let mut rows: Vec<Vec<(i32, Vec<String>)>> = Vec::new();
        for client in [&mut one, &mut other] {
            let mut reply = client.reply().await.unwrap();
            header::decode_response(&mut reply, true).unwrap();
            let response: FetchResponse =
                messages::decode(FETCH, reply, &DecodeLimits::default()).unwrap();
            assert_eq!((response.error_code, response.session_id), (0, id));
            let all = response.responses.iter().flat_map(|t| &t.partitions);
            let there = all.filter(|p| p.error_code == 0);
            rows.push(there.map(|p| (p.partition_index, values(p))).collect());
        }
        assert_eq!(rows, [vec![row(1, &["a"])], vec![]]);
    });
}
