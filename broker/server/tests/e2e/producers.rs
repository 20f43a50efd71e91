//! `InitProducerId`, versions 0–5, and how many producers a broker remembers.

use std::collections::BTreeSet;

use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
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
fn an_id_without_an_epoch_or_an_epoch_without_an_id_is_refused() {
    with(&[], async |mut node| {
        for version in [3, 4, 5] {
            for (id, epoch) in [(7, -1), (-1, 7)] {
                let mut request = plain();
                request.producer_id = id;
                request.producer_epoch = epoch;
                let response = ask(&mut node, version, &request).await;
                let answer = (response.producer_id, response.producer_epoch);
                let refused = ErrorCode::InvalidRequest.code();
                assert_eq!((response.error_code, answer), (refused, (-1, -1)));
            }
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
fn who_appended_lately_is_recognised_however_many_others_come() {
    with(&[("producer.ids.max", "3")], async |mut node| {
        let one = node.topic("one", &[]).await;
        let other = node.topic("other", &[]).await;
        let send = async |node: &mut Node, topic: &Topic, producer: i64| {
            let row = node
                .produce(topic, batch_from((producer, 0, 0), &["x"]))
                .await;
            (row.error_code, row.base_offset)
        };
        for (offset, producer) in [10, 11, 12].into_iter().enumerate() {
            assert_eq!(send(&mut node, &one, producer).await, (0, offset as i64));
        }
        // The limit is reached: a partition without any may remember one, and no more.
        assert_eq!(send(&mut node, &other, 20).await, (0, 0));
        let refused = (ErrorCode::NotEnoughReplicas.code(), -1);
        assert_eq!(send(&mut node, &other, 21).await, refused);
        assert_eq!(send(&mut node, &one, 13).await, refused);
        // Nothing was appended, and no retry is taken for something new: not after a start with
        // less room either, after a loss of power no more than after a clean stop.
        node.set("producer.ids.max", "2");
        for cut in [false, true] {
            if cut {
                node.crash().await;
            } else {
                node.restart().await;
            }
            for (offset, producer) in [10, 11, 12].into_iter().enumerate() {
                assert_eq!(send(&mut node, &one, producer).await, (0, offset as i64));
            }
            assert_eq!(send(&mut node, &other, 20).await, (0, 0));
            assert_eq!(send(&mut node, &other, 21).await, refused);
        }
        node.set("producer.ids.max", "6");
        node.restart().await;
        assert_eq!(send(&mut node, &one, 13).await, (0, 3));
        assert_eq!(send(&mut node, &other, 21).await, (0, 1));
    });
}
