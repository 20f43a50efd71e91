//! `DeleteTopics` (key 20), versions 1–6: removes topics, each with its own outcome.
//!
//! - A topic is gone for everyone when the answer leaves; its files go afterwards.
//! - v5: an answer has words. v6: a topic is named by name or by id, exactly one of them.
//! - A topic that is named twice is refused once for both. `timeout_ms` must be above zero, else 7
//!   and nothing goes: what this broker does by itself is waited for in any case.
//! - With `delete.topic.enable=false` every topic is refused with 73 (42 before version 3).

use std::collections::BTreeSet;

use bytes::Bytes;
use millrace_core::cluster::{Refusal, Removal};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::delete_topics_response::DeletableTopicResult;
use millrace_protocol::messages::{DeleteTopicsResponse, StrBytes};
use millrace_protocol::requests::DeleteTopicsRequest;
use millrace_protocol::requests::delete_topics::DeleteTopicState;

use super::answers::Texts;
use super::error::metadata_error;
use super::{Pace, read, reply, slice};
use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Close, Outcome};

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let request: DeleteTopicsRequest<'_> = read(context, &body).await?;
    let mut topics = asked(&request);
    let no_time = request.timeout_ms <= 0;
    let twice = if no_time {
        BTreeSet::new()
    } else {
        once(&mut topics)
    };
    let mut results: Vec<DeletableTopicResult> =
        topics.iter().map(|topic| named(&body, topic)).collect();
    let mut texts = Texts::default();
    let mut pace = Pace::default();
    let mut removals = Vec::new();
    let mut places = Vec::new();
    for (place, topic) in topics.iter().enumerate() {
        let removal = removal(context, topic).and_then(|removal| {
            if no_time {
                Err(refused(
                    ErrorCode::RequestTimedOut,
                    "The request has no time.",
                ))
            } else if twice.contains(&by(topic)) {
                Err(refused(ErrorCode::InvalidRequest, "Duplicate topic."))
            } else {
                Ok(removal)
            }
        });
        match removal {
            Ok(removal) => {
                removals.push(removal);
                places.push(place);
            }
            Err(refusal) => refuse(&mut results[place], refusal, &mut texts),
        }
        pace.step().await;
    }
    match context.node.cluster.delete_topics(&removals).await {
        Ok(outcomes) => {
            // At once, before others run: what the metadata removed is served no more.
            for (id, _) in outcomes.iter().flatten() {
                context.node.partitions.remove_topic(*id);
            }
            context.node.forget_offsets();
            for (place, outcome) in places.into_iter().zip(outcomes) {
                match outcome {
                    Ok((id, name)) => {
                        results[place].topic_id = id.into();
                        results[place].name = Some(StrBytes::from(name));
                    }
                    Err(refusal) => refuse(&mut results[place], refusal, &mut texts),
                }
                pace.step().await;
            }
        }
        Err(error) => {
            let (code, message) = metadata_error(&error);
            for place in places {
                let message = message.clone();
                refuse(&mut results[place], Refusal { code, message }, &mut texts);
                pace.step().await;
            }
        }
    }
    let mut response = DeleteTopicsResponse::default();
    context.count_errors(results.iter().map(|topic| topic.error_code));
    response.responses = results;
    reply(context, &response)
}

/// What is asked for, whichever way the version says it.
fn asked<'a>(request: &DeleteTopicsRequest<'a>) -> Vec<DeleteTopicState<'a>> {
    let names = request.topic_names.into_iter();
    let by_name = names.map(|name| DeleteTopicState {
        name: Some(name),
        topic_id: TopicId::ZERO,
    });
    request.topics.into_iter().chain(by_name).collect()
}

/// How an element names its topic.
fn by<'a>(topic: &DeleteTopicState<'a>) -> (Option<&'a str>, TopicId) {
    (topic.name, topic.topic_id)
}

/// Keeps the first of the elements that are alike, and says which had others.
fn once<'a>(topics: &mut Vec<DeleteTopicState<'a>>) -> BTreeSet<(Option<&'a str>, TopicId)> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    topics.retain(|topic| {
        let first = seen.insert(by(topic));
        if !first {
            twice.insert(by(topic));
        }
        first
    });
    twice
}

fn refused(code: ErrorCode, message: &str) -> Refusal {
    Refusal {
        code,
        message: message.to_owned(),
    }
}

fn named(body: &Bytes, topic: &DeleteTopicState<'_>) -> DeletableTopicResult {
    let mut result = DeletableTopicResult::default();
    result.name = topic.name.map(|name| slice(body, name));
    result.topic_id = topic.topic_id.into();
    result
}

fn removal(context: &RequestContext, topic: &DeleteTopicState<'_>) -> Result<Removal, Refusal> {
    if !context.node.config.topics.delete_enabled {
        let code = if context.api_version < 3 {
            ErrorCode::InvalidRequest
        } else {
            ErrorCode::TopicDeletionDisabled
        };
        return Err(refused(code, "Topic deletion is disabled."));
    }
    let id = topic.topic_id;
    let invalid = |message| refused(ErrorCode::InvalidRequest, message);
    let image = context.node.cluster.image();
    let (name, removal) = match topic.name {
        Some(_) if !id.is_zero() => {
            return Err(invalid("You may not specify both topic name and topic id."));
        }
        None if id.is_zero() => {
            return Err(invalid("Neither topic name nor id were specified."));
        }
        Some(name) => (name.to_owned(), Removal::Name(name.to_owned())),
        None => {
            let name = image
                .topic(id)
                .map(|topic| topic.name.to_string())
                .unwrap_or_default();
            (name, Removal::Id(id))
        }
    };
    if context.authorize(Operation::Delete, Resource::Topic(&name)) {
        Ok(removal)
    } else {
        Err(refused(
            ErrorCode::TopicAuthorizationFailed,
            "Topic authorization failed.",
        ))
    }
}

fn refuse(result: &mut DeletableTopicResult, refusal: Refusal, texts: &mut Texts) {
    result.error_code = refusal.code.code();
    result.error_message = texts.tell().then(|| StrBytes::from(refusal.message));
}
