//! Fetch sessions (KIP-227): one at a time, made, continued, asked with a wrong epoch, given up.

use std::collections::BTreeMap;

use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::fetch_request::ForgottenTopic;
use millrace_protocol::messages::{FetchRequest, FetchResponse, Uuid};

use super::Run;
use super::fetch::{Ask, PLENTY, Wanted};
use super::text;
use crate::input::Input;

/// First version with sessions, and that names topics by id.
const SESSIONS_FROM: i16 = 7;
const IDS_FROM: i16 = 13;

/// What both sides remember.
#[derive(Clone, Debug)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    by_id: bool,
    asks: BTreeMap<(&'static str, [u8; 16], i32), Ask>,
}

fn key(version: i16, ask: &Ask) -> (&'static str, [u8; 16], i32) {
    if version >= IDS_FROM {
        ("", ask.id.to_bytes(), ask.partition)
    } else {
        (ask.name, [0; 16], ask.partition)
    }
}

impl Run<'_> {
    /// One fetch within a session, or that makes one.
    pub(super) async fn fetch_in_session(&mut self, input: &mut Input<'_>) {
        let range = 18 - SESSIONS_FROM + 1;
        let version = SESSIONS_FROM + i16::from(input.byte()) % range;
        let how = input.byte();
        match self.model.session.take() {
            Some(session) if !how.is_multiple_of(8) => {
                self.continue_session(session, (version, how), input).await;
            }
            before => self.make_session(before, (version, how), input).await,
        }
    }

    fn asks(&mut self, version: i16, input: &mut Input<'_>) -> Vec<Ask> {
        let mut asks: Vec<Ask> = Vec::new();
        for _ in 0..input.byte() % 4 {
            let mut ask = self.ask(version, input);
            ask.max_bytes = PLENTY;
            if asks
                .iter()
                .all(|other| key(version, other) != key(version, &ask))
            {
                asks.push(ask);
            }
        }
        asks
    }

    async fn make_session(
        &mut self,
        before: Option<Session>,
        (version, how): (i16, u8),
        input: &mut Input<'_>,
    ) {
        let asks = self.asks(version, input);
        let mut request = request(version, &asks, how);
        // A new one, in the place of the old one.
        request.session_id = before.map_or(0, |session| session.id);
        request.session_epoch = 0;
        let answer: Option<FetchResponse> = self.wire.ask((Api::Fetch, version), &request).await;
        let answer = answer.expect("it is answered");
        assert_eq!(answer.error_code, 0);
        assert_eq!(
            answer.session_id > 0,
            !asks.is_empty(),
            "a session of something"
        );
        let asks: BTreeMap<_, _> = asks
            .into_iter()
            .map(|ask| (key(version, &ask), ask))
            .collect();
        let session = Session {
            id: answer.session_id,
            epoch: 1,
            by_id: version >= IDS_FROM,
            asks,
        };
        self.check_rows(version, &session, &answer, true);
        self.model.session = (session.id != 0).then_some(session);
    }

    async fn continue_session(
        &mut self,
        mut session: Session,
        (mut version, how): (i16, u8),
        input: &mut Input<'_>,
    ) {
        // Mostly as it began.
        if how & 0x80 == 0 && session.by_id != (version >= IDS_FROM) {
            version = if session.by_id {
                IDS_FROM
            } else {
                SESSIONS_FROM
            };
        }
        let asks = self.asks(version, input);
        let mut request = request(version, &asks, how);
        (request.session_id, request.session_epoch) = (session.id, session.epoch);
        if how % 8 == 1 {
            request.session_epoch += 1;
        } else if how % 8 == 2 {
            request.session_id = session.id.wrapping_add(1) & i32::MAX;
        }
        let mut forgotten = Vec::new();
        if how % 8 == 3 && session.by_id == (version >= IDS_FROM) {
            let count = usize::from(input.byte()) % (session.asks.len() + 1);
            forgotten = session.asks.keys().take(count).copied().collect();
        }
        for (name, id, partition) in &forgotten {
            let mut topic = ForgottenTopic::default();
            if session.by_id {
                topic.topic_id = Uuid::from_bytes(*id);
            } else {
                topic.topic = text(name);
            }
            topic.partitions = vec![*partition];
            request.forgotten_topics_data.push(topic);
        }
        let answer: Option<FetchResponse> = self.wire.ask((Api::Fetch, version), &request).await;
        let answer = answer.expect("it is answered");
        let code = if request.session_id != session.id {
            ErrorCode::FetchSessionIdNotFound
        } else if request.session_epoch != session.epoch {
            ErrorCode::InvalidFetchSessionEpoch
        } else if session.by_id != (version >= IDS_FROM) {
            ErrorCode::FetchSessionTopicIdError
        } else {
            ErrorCode::None
        };
        assert_eq!(answer.error_code, code.code(), "{answer:?}");
        if !code.is_none() {
            assert!(answer.responses.is_empty());
            self.model.session = Some(session);
            return;
        }
        session.epoch += 1;
        session
            .asks
            .extend(asks.into_iter().map(|ask| (key(version, &ask), ask)));
        for key in forgotten {
            session.asks.remove(&key);
        }
        if session.asks.is_empty() {
            assert_eq!(answer.session_id, 0, "a session of nothing is over");
            assert!(answer.responses.is_empty());
            return;
        }
        assert_eq!(answer.session_id, session.id);
        self.check_rows(version, &session, &answer, false);
        self.model.session = Some(session);
    }

    /// Rows are of the session's partitions, each at most once, and right; whatever has an error or
    /// something to read is among them, and in a `full` answer all.
    fn check_rows(&mut self, version: i16, session: &Session, answer: &FetchResponse, full: bool) {
        let mut left = session.asks.clone();
        for topic in &answer.responses {
            for row in &topic.partitions {
                let key = (
                    &*topic.topic,
                    topic.topic_id.to_bytes(),
                    row.partition_index,
                );
                let found = left.keys().find(|k| (k.0, k.1, k.2) == key).copied();
                let ask = found.and_then(|key| left.remove(&key));
                let ask = ask.expect("a row of the session, once");
                self.model
                    .check_row((version, &ask), row, (true, PLENTY, true));
            }
        }
        for ask in left.values() {
            assert!(!full, "{ask:?} has no row");
            let asked = (version, ask);
            assert_eq!(
                self.model.wanted(asked),
                Wanted::Records,
                "{ask:?} has no row"
            );
            let readable = self.model.readable(asked);
            assert!(
                ask.offset >= readable,
                "{ask:?} has no row, {readable} is readable"
            );
        }
    }
}

fn request(version: i16, asks: &[Ask], how: u8) -> FetchRequest {
    let mut request = FetchRequest::default();
    request.max_wait_ms = [0, 20][usize::from(how / 16 % 2)];
    request.min_bytes = 1;
    request.max_bytes = PLENTY;
    request.topics = asks.iter().map(|ask| ask.topic(version)).collect();
    request
}
