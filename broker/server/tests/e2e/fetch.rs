//! Fetch without sessions, versions 4–18: what is read, how long it waits, what it refuses.

use std::time::Duration;

use millrace_protocol::api::Api;
use millrace_protocol::messages::fetch_response::PartitionData;
use millrace_protocol::messages::{FetchRequest, FetchResponse, Uuid};

use crate::node::{FETCH, Node, Topic, batch, fetch_request, produce_request, values, with};
use crate::wire::Client;

pub(crate) async fn ask(
    client: &mut Client,
    version: i16,
    request: &FetchRequest,
) -> Vec<PartitionData> {
    let response: FetchResponse = client.ask(Api::Fetch, version, request).await;
    assert_eq!((response.error_code, response.session_id), (0, 0));
    let partitions = response.responses.into_iter().flat_map(|t| t.partitions);
    partitions.collect()
}

/// A topic with `count` batches of two records each.
async fn filled(node: &mut Node, count: i32) -> Topic {
    let topic = node.topic("t", &[]).await;
    for round in 0..count {
        let [a, b] = [format!("{round}a"), format!("{round}b")];
        assert_eq!(node.produce(&topic, batch(&[&a, &b])).await.error_code, 0);
    }
    topic
}

#[test]
fn every_version_reads_from_the_batch_that_holds_the_offset() {
    with(&[], async |mut node| {
        let topic = filled(&mut node, 3).await;
        for version in 4..=FETCH {
            for isolation_level in [0, 1] {
                let mut request = fetch_request(&topic, &[(0, 3)]);
                request.isolation_level = isolation_level;
                let mut rows = ask(&mut node.client, version, &request).await;
                let row = rows.remove(0);
                assert_eq!((row.error_code, row.partition_index), (0, 0));
                assert_eq!((row.high_watermark, row.last_stable_offset), (6, 6));
                let log_start = if version >= 5 { 0 } else { -1 };
                assert_eq!(row.log_start_offset, log_start);
                assert_eq!(row.aborted_transactions.is_some(), isolation_level == 1);
                assert_eq!(row.aborted_transactions.unwrap_or_default(), []);
                assert_eq!(row.preferred_read_replica, -1);
                assert_eq!(values_of(&row.records.unwrap()), ["1a", "1b", "2a", "2b"]);
            }
        }
    });
}

fn values_of(records: &bytes::Bytes) -> Vec<String> {
    let mut row = PartitionData::default();
    row.records = Some(records.clone());
    values(&row)
}

#[test]
fn nothing_to_read_is_empty_records_never_null() {
    with(&[], async |mut node| {
        let topic = filled(&mut node, 1).await;
        for version in 4..=FETCH {
            let row = node.fetch_in(version, &topic, 2).await;
            assert_eq!((row.error_code, row.high_watermark), (0, 2));
            assert_eq!(row.records.as_deref(), Some(&b""[..]));
            for outside in [3, -1, i64::MAX] {
                let row = node.fetch_in(version, &topic, outside).await;
                assert_eq!((row.error_code, row.high_watermark), (1, -1));
                assert_eq!(row.records.as_deref(), Some(&b""[..]));
            }
        }
    });
}

#[test]
fn what_is_not_there_has_its_own_code() {
    with(&[], async |mut node| {
        let topic = filled(&mut node, 1).await;
        let absent = Topic {
            name: "absent".into(),
            id: Uuid::from_bytes([9; 16]),
        };
        for (version, expected) in [(4, 3), (12, 3), (13, 100), (FETCH, 100)] {
            assert_eq!(
                node.fetch_in(version, &absent, 0).await.error_code,
                expected
            );
            let request = fetch_request(&topic, &[(7, 0)]);
            let rows = ask(&mut node.client, version, &request).await;
            assert_eq!(rows[0].error_code, 3);
            assert_eq!(rows[0].aborted_transactions, Some(Vec::new()));
            let request = fetch_request(&topic, &[(0, 77)]);
            let rows = ask(&mut node.client, version, &request).await;
            let told = (rows[0].error_code, rows[0].aborted_transactions.is_some());
            assert_eq!(told, (1, false));
            let mut request = fetch_request(&topic, &[(0, 0)]);
            request.topics[0].partitions[0].current_leader_epoch = i32::MIN;
            let rows = ask(&mut node.client, version, &request).await;
            assert_eq!(rows[0].error_code, 0, "an epoch below 0 is none");
            request.isolation_level = 7;
            let whole: FetchResponse = node.client.ask(Api::Fetch, version, &request).await;
            let top = if version >= 7 { -1 } else { 0 };
            assert_eq!(whole.error_code, top);
            let rows = whole.responses.iter().flat_map(|topic| &topic.partitions);
            let codes: Vec<_> = rows.map(|row| row.error_code).collect();
            let of_rows = if version >= 13 { vec![] } else { vec![-1] };
            assert_eq!(codes, of_rows, "version {version}");
        }
        let mut follower = fetch_request(&topic, &[(0, 0)]);
        follower.replica_id = 2;
        for version in [4, 11, 14] {
            let rows = ask(&mut node.client, version, &follower).await;
            assert_eq!(rows[0].error_code, 31, "version {version}");
        }
        let mut follower = fetch_request(&topic, &[(0, 0)]);
        follower.replica_state.replica_id = 2;
        for version in [15, FETCH] {
            let rows = ask(&mut node.client, version, &follower).await;
            assert_eq!(rows[0].error_code, 31, "version {version}");
        }
    });
}

#[test]
fn leader_epochs_are_compared_and_diverging_ones_told() {
    with(&[], async |mut node| {
        let topic = filled(&mut node, 2).await;
        let at = |current: i32, last: i32, offset: i64| {
            let mut request = fetch_request(&topic, &[(0, offset)]);
            request.topics[0].partitions[0].current_leader_epoch = current;
            request.topics[0].partitions[0].last_fetched_epoch = last;
            request
        };
        for version in 9..=FETCH {
            let newer = ask(&mut node.client, version, &at(1, -1, 0)).await;
            assert_eq!(newer[0].error_code, 75);
            let present = ask(&mut node.client, version, &at(0, -1, 0)).await;
            assert_eq!(present[0].error_code, 0);
        }
        for version in 12..=FETCH {
            let same = ask(&mut node.client, version, &at(0, 0, 4)).await;
            assert_eq!((same[0].error_code, same[0].diverging_epoch.epoch), (0, -1));
            let past = ask(&mut node.client, version, &at(0, 0, 5)).await;
            let diverging = &past[0].diverging_epoch;
            assert_eq!((diverging.epoch, diverging.end_offset), (0, 4));
            assert_eq!(past[0].error_code, 0);
            assert_eq!(past[0].records.as_deref(), Some(&b""[..]));
        }
    });
}

#[test]
fn an_epoch_that_is_over_is_fenced() {
    with(&[("log.flush.lag.ms", "60000")], async |mut node| {
        let configs = [("durability", "page-cache")];
        let topic = node.topic("t", &configs).await;
        assert_eq!(node.produce(&topic, batch(&["a"])).await.error_code, 0);
        node.restart().await;
        assert_eq!(node.produce(&topic, batch(&["b"])).await.error_code, 0);
        // Records that were acknowledged from the page cache may be gone: a new epoch begins.
        node.crash().await;
        assert_eq!(node.produce(&topic, batch(&["c"])).await.error_code, 0);
        let mut request = fetch_request(&topic, &[(0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = 0;
        let rows = ask(&mut node.client, FETCH, &request).await;
        assert_eq!(rows[0].error_code, 74);
    });
}

#[test]
fn an_epoch_is_over_even_if_the_whole_partition_was_lost() {
    with(&[("log.flush.lag.ms", "60000")], async |mut node| {
        let configs = [("durability", "page-cache")];
        let topic = node.topic("t", &configs).await;
        assert_eq!(node.produce(&topic, batch(&["a"])).await.error_code, 0);
        node.crash().await;
        assert_eq!(node.produce(&topic, batch(&["b"])).await.error_code, 0);
        let mut request = fetch_request(&topic, &[(0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = 0;
        let rows = ask(&mut node.client, FETCH, &request).await;
        assert_eq!(rows[0].error_code, 74);
    });
}

#[test]
fn a_fetch_waits_until_there_is_something() {
    with(&[], async |mut node| {
        let topic = filled(&mut node, 1).await;
        for version in 4..=FETCH {
            let end = node.fetch(&topic, 0).await.high_watermark;
            let mut request = fetch_request(&topic, &[(0, end)]);
            request.max_wait_ms = 60_000;
            let start = node.now();
            let mut waiting = node.connect().await;
            let producing = async {
                node.world.pause(Duration::from_secs(3)).await;
                node.produce(&topic, batch(&["news"])).await
            };
            let (rows, produced) = tokio::join!(ask(&mut waiting, version, &request), producing);
            assert_eq!(produced.error_code, 0);
            assert_eq!(values(&rows[0]), ["news"]);
            let waited = node.since(start);
            assert!((3..4).contains(&waited.as_secs()), "{waited:?}");
        }
    });
}

#[test]
fn a_fetch_ends_after_its_time_with_what_there_is() {
    with(&[("request.wait.max.ms", "120000")], async |mut node| {
        let topic = filled(&mut node, 1).await;
        let mut request = fetch_request(&topic, &[(0, 0)]);
        request.min_bytes = 1_000_000;
        for (asked_ms, expected_s) in [(5000, 5), (0, 0), (-1, 0), (i32::MAX, 120)] {
            request.max_wait_ms = asked_ms;
            let start = node.now();
            let rows = ask(&mut node.client, FETCH, &request).await;
            assert_eq!(values(&rows[0]), ["0a", "0b"]);
            let waited = node.since(start).as_millis();
            let expected = expected_s * 1000;
            assert!((expected..expected + 500).contains(&waited), "{waited} ms");
        }
        let mut nothing = fetch_request(&topic, &[]);
        nothing.max_wait_ms = 60_000;
        let start = node.now();
        assert_eq!(ask(&mut node.client, FETCH, &nothing).await.len(), 0);
        let mut error = fetch_request(&topic, &[(0, 0), (8, 0)]);
        error.max_wait_ms = 60_000;
        error.min_bytes = 1_000_000;
        let rows = ask(&mut node.client, FETCH, &error).await;
        assert_eq!(rows[1].error_code, 3);
        assert!(node.since(start) < Duration::from_secs(1), "nobody waited");
    });
}

#[test]
fn min_bytes_are_of_all_partitions_together() {
    with(&[], async |mut node| {
        let topic = node.topic_of("t", 2, &[]).await;
        let size = i32::try_from(batch(&["x"]).len()).unwrap();
        let mut request = fetch_request(&topic, &[(0, 0), (1, 0)]);
        request.min_bytes = 3 * size;
        request.max_wait_ms = 600_000;
        let mut waiting = node.connect().await;
        let start = node.now();
        let producing = async {
            for partition in [0, 1, 1] {
                node.world.pause(Duration::from_secs(2)).await;
                let request = produce_request(&topic, partition, -1, Some(batch(&["x"])));
                assert_eq!(node.produce_row(13, &request).await.error_code, 0);
            }
        };
        let (rows, ()) = tokio::join!(ask(&mut waiting, FETCH, &request), producing);
        assert_eq!((values(&rows[0]).len(), values(&rows[1]).len()), (1, 2));
        let waited = node.since(start).as_secs();
        assert!((6..7).contains(&waited), "{waited} s");
    });
}

#[test]
fn limits_on_bytes_hold_but_for_one_batch() {
    with(&[], async |mut node| {
        let topic = node.topic_of("t", 3, &[]).await;
        let size = i32::try_from(batch(&["x"]).len()).unwrap();
        for partition in 0..3 {
            for _ in 0..4 {
                let request = produce_request(&topic, partition, -1, Some(batch(&["x"])));
                assert_eq!(node.produce_row(13, &request).await.error_code, 0);
            }
        }
        let read = async |node: &mut Node, version: i16, max: i32, partition_max: i32| {
            let mut request = fetch_request(&topic, &[(2, 0), (0, 0), (1, 0)]);
            request.max_bytes = max;
            for partition in &mut request.topics[0].partitions {
                partition.partition_max_bytes = partition_max;
            }
            let rows = ask(&mut node.client, version, &request).await;
            let order: Vec<i32> = rows.iter().map(|row| row.partition_index).collect();
            assert_eq!(order, [2, 0, 1]);
            rows.iter().map(|row| values(row).len()).collect::<Vec<_>>()
        };
        for version in [4, 11, FETCH] {
            // One batch of the first partition whatever the limits, whole ones else.
            assert_eq!(read(&mut node, version, 1, 1).await, [1, 0, 0]);
            assert_eq!(read(&mut node, version, 0, 0).await, [1, 0, 0]);
            assert_eq!(read(&mut node, version, 100 * size, 1).await, [1, 0, 0]);
            let two = 2 * size + 1;
            assert_eq!(read(&mut node, version, 100 * size, two).await, [2, 2, 2]);
            let all = 4 * size;
            assert_eq!(read(&mut node, version, 6 * size, all).await, [4, 2, 0]);
        }
    });
}

#[test]
fn records_are_shown_only_when_they_are_durable() {
    with(&[("log.flush.lag.ms", "1000")], async |mut node| {
        let topic = node.topic("t", &[]).await;
        let written = node.produce_in(13, &topic, 1, Some(batch(&["x"]))).await;
        assert_eq!((written.error_code, written.base_offset), (0, 0));
        let row = node.fetch(&topic, 0).await;
        assert_eq!((row.high_watermark, values(&row).len()), (0, 0));
        let beyond = node.fetch(&topic, 1).await;
        assert_eq!(beyond.error_code, 0, "between high watermark and log end");
        node.world.pause(Duration::from_secs(3)).await;
        assert_eq!(node.values(&topic, 0).await, ["x"]);
    });
}

#[test]
fn records_that_nobody_waits_for_are_shown_after_the_flush_lag() {
    with(&[], async |mut node| {
        let topic = node.topic("t", &[]).await;
        for (offset, len) in [(1, 10), (2, 10_000), (3, 100_000), (4, 900_000)] {
            let records = Some(batch(&[&"v".repeat(len)]));
            assert_eq!(node.produce_in(13, &topic, 1, records).await.error_code, 0);
            node.world.pause(Duration::from_millis(200)).await;
            let row = node.fetch(&topic, offset).await;
            assert_eq!((row.error_code, row.high_watermark), (0, offset), "{len}");
        }
    });
}

#[test]
fn a_wait_ends_when_the_topic_is_deleted_or_the_node_stops() {
    with(&[], async |mut node| {
        let topic = filled(&mut node, 1).await;
        let mut request = fetch_request(&topic, &[(0, 2)]);
        request.max_wait_ms = 250_000;
        let mut waiting = node.connect().await;
        let start = node.now();
        let deleting = async {
            node.world.pause(Duration::from_secs(1)).await;
            crate::topics::delete(&mut node, 6, &["t"], &[]).await;
        };
        let (rows, ()) = tokio::join!(ask(&mut waiting, FETCH, &request), deleting);
        assert!([3, 100].contains(&rows[0].error_code));
        assert!(node.since(start) < Duration::from_secs(2));
        let again = node.topic("t", &[]).await;
        let mut request = fetch_request(&again, &[(0, 0)]);
        request.max_wait_ms = 250_000;
        let broker = node.broker.take().unwrap();
        let stopping = async {
            node.world.pause(Duration::from_secs(1)).await;
            broker.stop().await;
        };
        let (rows, ()) = tokio::join!(ask(&mut waiting, FETCH, &request), stopping);
        assert_eq!(rows[0].error_code, 0);
        assert!(node.since(start) < Duration::from_secs(4));
    });
}
