//! Somebody who removes the workload's topic now and then, and makes it again under its name.
//!
//! What always holds: until the removal is asked for, everything promised of an incarnation is
//! owed; once a removal was answered, its id never comes back.

use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Client, Error, Topic};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::DeleteTopicsRequest;
use millrace_protocol::messages::delete_topics_request::DeleteTopicState;
use tokio::sync::watch;

use crate::anomaly::Anomaly;
use crate::ledger::Progress;
use crate::workload::{Incarnation, Plan, Reach, check, make_topic};

/// One who removes and makes.
#[derive(Debug)]
pub struct Churn {
    /// How brokers are reached.
    pub reach: Reach,
    /// Shared with the workload.
    pub progress: Arc<Progress>,
    /// What it makes, and how long a topic lives.
    pub plan: Plan,
    /// Where it tells the others.
    pub topics: watch::Sender<Incarnation>,
}

impl Churn {
    /// Removes and makes until the workload stops; each incarnation lives between half of `span`
    /// and one and a half of it.
    pub async fn run(self, span: Duration) -> Result<(), String> {
        let mut gone = Vec::new();
        while !self.progress.is_stopping() {
            let half_ms = u64::try_from(span.as_millis() / 2).unwrap_or(u64::MAX);
            let draw = self.reach.host.rng.next_u64();
            self.live(Duration::from_millis(half_ms + draw % (2 * half_ms + 1)))
                .await;
            let current = self.topics.borrow().clone();
            if draw.is_multiple_of(3) {
                let report = check(&self.reach, &self.progress, &current).await?;
                let found = report.anomalies.into_iter();
                self.progress.ledger().anomalies.extend(found);
            }
            let id = current.topic.id;
            self.reach
                .retry(async |client| remove(client, id).await)
                .await?;
            gone.push(current.topic.id);
            let made = self
                .reach
                .retry(async |client| make_topic(client, self.plan.topic.clone()).await)
                .await?;
            self.judge(&made, &gone);
            self.topics.send_replace(Incarnation {
                number: current.number + 1,
                topic: made,
            });
        }
        Ok(())
    }

    /// Waits, but not for a workload that stops.
    async fn live(&self, span: Duration) {
        let clock = &self.reach.host.clock;
        let until = clock.now().mono + span;
        while clock.now().mono < until && !self.progress.is_stopping() {
            let next = clock.now().mono + Duration::from_millis(20);
            clock.sleep_until(next.min(until)).await;
        }
    }

    fn judge(&self, made: &Topic, gone: &[TopicId]) {
        if gone.contains(&made.id) {
            let why = format!("{} has the id of one that was removed", made.name);
            self.progress.ledger().anomalies.push(Anomaly::Topic(why));
        }
    }
}

/// Removes the topic by its id; one that is not there is removed.
pub(crate) async fn remove(client: Client, id: TopicId) -> Result<(), Error> {
    let mut topic = DeleteTopicState::default();
    topic.topic_id = id.into();
    let mut request = DeleteTopicsRequest::default();
    request.topics = vec![topic];
    request.timeout_ms = 10_000;
    let answer = client.call(&request).await?;
    let mut results = answer.read()?.responses.into_iter();
    let code = results
        .next()
        .and_then(|result| ErrorCode::from_code(result.error_code))
        .unwrap_or(ErrorCode::UnknownServerError);
    let gone = [
        ErrorCode::None,
        ErrorCode::UnknownTopicId,
        ErrorCode::UnknownTopicOrPartition,
    ];
    if gone.contains(&code) {
        return Ok(());
    }
    Err(Error::Broker {
        what: "to remove the topic".to_owned(),
        code,
    })
}
