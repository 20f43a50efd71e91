//! `InitProducerId`, versions 0–5, and how many producers a broker remembers.

use std::collections::BTreeSet;

use millrace_protocol::api::Api;
use millrace_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::node::{Node, Topic, batch_from, with};

async fn ask(
    node: &mut Node,
    version: i16,
    request: &InitProducerIdRequest,
) -> InitProducerIdResponse {
    node.client.ask(Api::InitProducerId, version, request).await
}

fn plain() -> InitProducerIdRequest {
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    request.transaction_timeout_ms = 60_000;
    request
}

#[test]
fn no_producer_id_is_given_out_twice_whatever_happens() {
    with(&[], async |mut node| {
        let mut given = BTreeSet::new();
        for round in 0..3 {
            for version in 0..=5 {
                let response = ask(&mut node, version, &plain()).await;
                assert_eq!((response.error_code, response.producer_epoch), (0, 0));
                assert!(response.producer_id >= 0);
                assert!(given.insert(response.producer_id), "twice");
            }
            if round == 0 {
                node.restart().await;
            } else {
                node.crash().await;
            }
        }
    });
}

#[test]
fn a_client_with_an_id_gets_a_new_one() {
    with(&[], async |mut node| {
        let first = ask(&mut node, 5, &plain()).await;
        let mut again = plain();
        again.producer_id = first.producer_id;
        again.producer_epoch = first.producer_epoch;
        for version in [3, 4, 5] {
            let response = ask(&mut node, version, &again).await;
            assert_eq!(response.error_code, 0);
            assert_ne!(response.producer_id, first.producer_id);
        }
    });
}

#[test]
fn transactional_ids_are_refused_for_good() {
    with(&[], async |mut node| {
        for version in 0..=5 {
            for (id, expected) in [("tx", 53), ("", 42)] {
                let mut request = plain();
                request.transactional_id = Some(id.into());
                let response = ask(&mut node, version, &request).await;
                let answer = (
                    response.error_code,
                    response.producer_id,
                    response.producer_epoch,
                );
                assert_eq!(answer, (expected, -1, -1));
            }
        }
    });
}

#[test]
fn the_producers_of_all_partitions_together_are_bounded_after_a_restart_too() {
    with(&[("producer.ids.max", "3")], async |mut node| {
        let one = node.topic("one", &[]).await;
        let other = node.topic("other", &[]).await;
        let send = async |node: &mut Node, topic: &Topic, producer: i64| {
            let row = node
                .produce(topic, batch_from((producer, 0, 0), &["x"]))
                .await;
            assert_eq!(row.error_code, 0);
            row.base_offset
        };
        for (offset, producer) in [10, 11, 12].into_iter().enumerate() {
            assert_eq!(send(&mut node, &one, producer).await, offset as i64);
        }
        // The limit is reached: a partition without any may remember one, and no more.
        assert_eq!(send(&mut node, &other, 20).await, 0);
        assert_eq!(send(&mut node, &other, 20).await, 0, "recognised");
        assert_eq!(send(&mut node, &other, 21).await, 1);
        assert_eq!(send(&mut node, &other, 20).await, 2, "forgotten");
        // At a start the newest of each partition stay.
        node.set("producer.ids.max", "2");
        node.restart().await;
        assert_eq!(send(&mut node, &one, 12).await, 2, "recognised");
        assert_eq!(send(&mut node, &one, 11).await, 1, "recognised");
        assert_eq!(send(&mut node, &one, 10).await, 3, "forgotten");
        assert_eq!(send(&mut node, &other, 20).await, 2, "recognised");
    });
}
