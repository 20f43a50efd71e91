//! Whom a request belongs to, and when it is asked again.
//!
//! What always holds: every item gets an outcome; an item that was answered for good is not asked
//! again; nothing is asked again after the request's time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::Mono;
use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{self, FindCoordinatorRequest};
use millrace_protocol::responses::Request;

use super::{Admin, Outcomes};
use crate::client::refuse;
use crate::cluster::Metadata;
use crate::{Answer, Call, Client, Error, PendingReply, TopicPartition, Use};

/// The one broker that a request belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    /// Any.
    Any,
    /// The controller, as far as the brokers tell who it is; each of them asks it for us.
    Controller,
    /// This one.
    Broker(i32),
}

/// What to do when no answer came, so that the request may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Ask again: asking twice changes nothing.
    AskAgain,
    /// Tell: what was done already would be refused the second time.
    Tell,
}

/// Something that a broker is responsible for.
pub(super) trait Placed: Ord + Clone + fmt::Display {
    /// The brokers to ask about these.
    fn places(
        admin: &Admin,
        items: &BTreeSet<Self>,
    ) -> impl Future<Output = Result<Outcomes<Self, i32>, Error>> + Send;
}

/// Partitions are their leaders' business.
impl Placed for TopicPartition {
    async fn places(admin: &Admin, items: &BTreeSet<Self>) -> Result<Outcomes<Self, i32>, Error> {
        let names: BTreeSet<&str> = items.iter().map(|item| &*item.topic).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let image = admin.image(Some(&names)).await?;
        let leader = |item: &Self| {
            let refused = |code| Error::Broker {
                what: format!("to say who leads {item}"),
                code,
            };
            let topic = image
                .topic(&item.topic)
                .map_err(|code| refused(code.unwrap_or(ErrorCode::UnknownTopicOrPartition)))?;
            let partition = topic.partition(item.partition);
            let partition = partition.ok_or_else(|| refused(ErrorCode::UnknownTopicOrPartition))?;
            partition
                .leader
                .ok_or_else(|| refused(ErrorCode::LeaderNotAvailable))
        };
        Ok(items
            .iter()
            .map(|item| (item.clone(), leader(item)))
            .collect())
    }
}

/// Groups, by their names, are their coordinators' business.
impl Placed for Arc<str> {
    async fn places(admin: &Admin, items: &BTreeSet<Self>) -> Result<Outcomes<Self, i32>, Error> {
        let client = admin.cluster.any_broker().await?;
        let version = client.call_of::<FindCoordinatorRequest>()?.api_version;
        let mut told = Outcomes::new();
        if version >= FIND_MANY {
            let mut request = FindCoordinatorRequest::default();
            request.coordinator_keys = items.iter().map(|item| (&**item).into()).collect();
            let answer = client.call(&request).await?;
            for found in answer.read()?.coordinators {
                let outcome = refuse(found.error_code, || no_coordinator(found.key));
                told.insert(found.key.into(), outcome.map(|()| found.node_id));
            }
        } else {
            for item in items {
                let mut request = FindCoordinatorRequest::default();
                request.key = (&**item).into();
                let answer = client.call(&request).await?;
                let found = answer.read()?;
                let outcome = refuse(found.error_code, || no_coordinator(item));
                told.insert(Self::clone(item), outcome.map(|()| found.node_id));
            }
        }
        Ok(told)
    }
}

/// From this version on a request asks for several coordinators (KIP-699).
const FIND_MANY: i16 = 4;

fn no_coordinator(group: &str) -> String {
    format!("to say who coordinates group {group}")
}

/// An answer on its way.
struct Sent {
    client: Client,
    call: Call,
    reply: PendingReply,
}

impl Admin {
    /// Asks one broker until it answers for good or the request's time is over.
    pub(super) async fn call<R: Request, T>(
        &self,
        to: To,
        lost: Lost,
        request: impl Fn(i16) -> R,
        read: impl Fn(&Answer<R>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let deadline = self.deadline();
        let mut failures = 0;
        loop {
            let seen = self.cluster.metadata().generation;
            let error = match self.ask_one(to, &request).await {
                Ok(answer) => match read(&answer) {
                    Ok(read) => return Ok(read),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if !may_ask_again(&error, lost) || self.is_past(deadline) {
                return Err(error);
            }
            failures += 1;
            self.cluster.pause(failures).await;
            if !matches!(to, To::Any) {
                // What it says decides whom to ask; when it can't be had the next attempt tells why.
                drop(self.cluster.refresh(seen).await);
            }
        }
    }

    /// Asks about each item whom it belongs to, all of them at once.
    pub(super) async fn spread<K: Placed, R: Request, V>(
        &self,
        items: impl IntoIterator<Item = K>,
        lost: Lost,
        request: impl Fn(i16, &[K]) -> R,
        read: impl Fn(&Answer<R>, &mut Outcomes<K, V>) -> Result<(), Error>,
    ) -> Result<Outcomes<K, V>, Error> {
        let deadline = self.deadline();
        let mut left: BTreeSet<K> = items.into_iter().collect();
        let mut outcomes = Outcomes::new();
        let mut failures = 0;
        while !left.is_empty() {
            let last = failures > 0 && self.is_past(deadline);
            let mut batches = BTreeMap::<i32, Vec<K>>::new();
            match K::places(self, &left).await {
                Ok(places) => {
                    for (item, place) in places {
                        match place {
                            Ok(broker) => batches.entry(broker).or_default().push(item),
                            Err(error) => {
                                if !may_pass(&error) {
                                    left.remove(&item);
                                }
                                outcomes.insert(item, Err(error));
                            }
                        }
                    }
                }
                Err(error) if last || !may_pass(&error) => return Err(error),
                Err(_) => {}
            }
            for (item, outcome) in self.ask_batches(batches, &request, &read).await {
                let again = outcome
                    .as_ref()
                    .is_err_and(|error| may_ask_again(error, lost));
                if !again {
                    left.remove(&item);
                }
                outcomes.insert(item, outcome);
            }
            if last {
                break;
            }
            if !left.is_empty() {
                failures += 1;
                self.cluster.pause(failures).await;
            }
        }
        Ok(outcomes)
    }

    async fn ask_batches<K: Placed, R: Request, V>(
        &self,
        batches: BTreeMap<i32, Vec<K>>,
        request: impl Fn(i16, &[K]) -> R,
        read: impl Fn(&Answer<R>, &mut Outcomes<K, V>) -> Result<(), Error>,
    ) -> Outcomes<K, V> {
        let mut sent = Vec::with_capacity(batches.len());
        for (broker, items) in batches {
            let of_items = |version| request(version, &items);
            let asked = self.send(To::Broker(broker), &of_items).await;
            sent.push((items, asked));
        }
        let mut outcomes = Outcomes::new();
        for (items, asked) in sent {
            let mut told = Outcomes::new();
            let answered = match asked {
                Ok(sent) => wait(sent).await.and_then(|answer| {
                    read(&answer, &mut told).map(|()| answer.address().to_owned())
                }),
                Err(error) => Err(error),
            };
            for item in items {
                let outcome = told.remove(&item).unwrap_or_else(|| {
                    Err(match &answered {
                        Ok(address) => Error::Malformed {
                            address: address.clone(),
                            reason: format!("{item} is missing in it"),
                        },
                        Err(error) => error.clone(),
                    })
                });
                outcomes.insert(item, outcome);
            }
        }
        outcomes
    }

    /// Asks each broker, all of them at once; an error of one is the error of all.
    pub(super) async fn call_brokers<R: Request, T>(
        &self,
        request: impl Fn(i16) -> R,
        read: impl Fn(&Answer<R>) -> Result<T, Error>,
    ) -> Result<Vec<(i32, T)>, Error> {
        let image = self.image(Some(&[])).await?;
        let mut all = Vec::with_capacity(image.brokers.len());
        for broker in image.brokers.keys() {
            let told = self.call(To::Broker(*broker), Lost::AskAgain, &request, &read);
            all.push((*broker, told.await?));
        }
        Ok(all)
    }

    /// What any broker says of these topics now, or of all; makes none.
    pub(super) async fn image(&self, topics: Option<&[&str]>) -> Result<Metadata, Error> {
        let deadline = self.deadline();
        let mut failures = 0;
        loop {
            let asked = async {
                let client = self.cluster.any_broker().await?;
                let answer = client.metadata(topics).await?;
                Ok(Metadata::default().after(&answer.read()?, None))
            };
            match asked.await {
                Err(error) if may_pass(&error) && !self.is_past(deadline) => {}
                told => return told,
            }
            failures += 1;
            self.cluster.pause(failures).await;
        }
    }

    async fn ask_one<R: Request>(
        &self,
        to: To,
        request: &impl Fn(i16) -> R,
    ) -> Result<Answer<R>, Error> {
        wait(self.send(to, request).await?).await
    }

    async fn send<R: Request>(&self, to: To, request: &impl Fn(i16) -> R) -> Result<Sent, Error> {
        let controller = self.cluster.metadata().controller;
        let client = match (to, controller) {
            (To::Broker(id), _) | (To::Controller, Some(id)) => {
                self.cluster.broker(id, Use::Ask).await?
            }
            (To::Any, _) | (To::Controller, None) => self.cluster.any_broker().await?,
        };
        let mut call = client.call_of::<R>()?;
        let newest = newest_by_name(R::API);
        if call.api_version > newest {
            call.api_version = newest;
            call.flexible = R::API.row().is_flexible(newest);
        }
        let body = messages::encode(&request(call.api_version), call.api_version)?;
        let reply = client.connection().send(call, body).await?;
        Ok(Sent {
            client,
            call,
            reply,
        })
    }

    /// How long the broker may take for its part, in milliseconds.
    pub(super) fn timeout_ms(&self) -> i32 {
        let timeout = self.cluster.options().connection.request_timeout;
        i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
    }

    fn deadline(&self) -> Mono {
        let timeout = self.cluster.options().connection.request_timeout;
        self.cluster.host().clock.now().mono + timeout
    }

    fn is_past(&self, deadline: Mono) -> bool {
        self.cluster.host().clock.now().mono >= deadline
    }
}

async fn wait<R: Request>(sent: Sent) -> Result<Answer<R>, Error> {
    let body: Bytes = sent.reply.wait().await?;
    Ok(sent.client.answer::<R>(sent.call, body))
}

/// The newest version in which topics have names. Offsets of a topic that was deleted stay with their
/// group, and its id tells nobody what it was called.
fn newest_by_name(api: Api) -> i16 {
    if matches!(api, Api::OffsetFetch | Api::OffsetCommit) {
        9
    } else {
        i16::MAX
    }
}

/// Whether the same request may be sent again.
fn may_ask_again(error: &Error, lost: Lost) -> bool {
    let may_have_taken_effect = matches!(
        error,
        Error::Disconnected { .. }
            | Error::Garbled { .. }
            | Error::Timeout { .. }
            // The broker began it and did not see its end in time.
            | Error::Broker {
                code: ErrorCode::RequestTimedOut,
                ..
            }
    );
    // Who wants to wait for a topic that is being made knows of it.
    let is_unknown = matches!(
        error,
        Error::Broker {
            code: ErrorCode::UnknownTopicOrPartition,
            ..
        }
    );
    if may_have_taken_effect {
        lost == Lost::AskAgain
    } else {
        error.is_retriable() && !is_unknown
    }
}

/// Whether what only reads may be asked again.
fn may_pass(error: &Error) -> bool {
    may_ask_again(error, Lost::AskAgain)
}
