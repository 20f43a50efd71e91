//! The tasks of a producer: one for each broker that leads something, one that keeps the leaders
//! known, one that gets identities, one that gives up what took too long.
//!
//! What always holds: requests to one broker leave in the order in which they were planned; at most
//! [`REQUESTS_IN_FLIGHT_MAX`] of them are without an answer; every batch that was planned is told of
//! as answered, whatever happens to its request.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use millrace_host::{Mono, Pool};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::core::Core;
use super::request::{Outgoing, Sent};
use crate::cluster::{Cluster, Follower, Metadata, Use, Workers, follow, lock};
use crate::{Acks, Client};

/// Requests to one broker without an answer.
const REQUESTS_IN_FLIGHT_MAX: usize = 5;

/// Between two looks at records in flight that took too long.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a producer's handle and its tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) cluster: Cluster,
    pub(super) acks: Acks,
    pub(super) delivery_timeout: Duration,
    core: Mutex<Core>,
    /// Bytes of the buffer that are free.
    pub(super) room: Semaphore,
    workers: Workers,
    /// What is known of the leaders may be out of date.
    stale: Notify,
    /// A lane needs an identity.
    anonymous: Notify,
}

impl Shared {
    pub(super) fn new(
        cluster: Cluster,
        core: Core,
        acks: Acks,
        delivery_timeout: Duration,
        buffer_bytes_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            acks,
            delivery_timeout,
            core: Mutex::new(core),
            room: Semaphore::new(buffer_bytes_max),
            workers: Workers::default(),
            stale: Notify::new(),
            anonymous: Notify::new(),
        })
    }

    pub(super) fn start(self: &Arc<Self>) {
        let host = self.cluster.host();
        let following = follow(self.cluster.clone(), Arc::clone(self));
        self.workers.spawn(host, "producer's leaders", following);
        let getting = get_identities(Arc::clone(self));
        self.workers.spawn(host, "producer's identities", getting);
        let giving_up = give_up_in_time(Arc::clone(self));
        self.workers.spawn(host, "producer's deadlines", giving_up);
    }

    /// Ends everything; what was not delivered is told so.
    pub(super) fn end(&self) {
        self.workers.end();
        let freed = self.core().close();
        self.room.add_permits(freed);
        self.room.close();
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    pub(super) fn now(&self) -> Mono {
        self.cluster.host().clock.now().mono
    }

    /// Tells a broker's task that there is more.
    pub(super) fn wake(&self, broker: i32) {
        self.workers.wake(broker);
    }

    /// Sees that these brokers have their tasks, and wakes them.
    pub(super) fn serve(self: &Arc<Self>, ids: impl Iterator<Item = i32>) {
        let serving = |id, wake| serve_broker(Arc::clone(self), id, wake);
        let host = self.cluster.host();
        self.workers.serve(host, "producer's broker", ids, serving);
    }

    /// Tells the lanes what became of a request, and whoever has to do something about it.
    pub(super) fn told(&self, broker: i32, sent: Vec<Sent>) {
        let now = self.now();
        let mut freed = 0;
        let mut doubtful = false;
        {
            let mut core = self.core();
            for Sent {
                lane,
                ticket,
                content,
                verdict,
            } in sent
            {
                doubtful |= verdict.doubts_leader();
                let failures = core.failures(lane).saturating_add(1);
                let wait = self
                    .cluster
                    .backoff()
                    .after(failures, &*self.cluster.host().rng);
                freed += core.answered(lane, ticket, content, verdict, now + wait);
            }
        }
        self.room.add_permits(freed);
        if doubtful {
            self.stale.notify_one();
        }
        self.wake(broker);
    }
}

impl Follower for Shared {
    fn lead(self: &Arc<Self>, image: &Metadata) {
        self.core().learn(image, None);
        self.serve(image.brokers.keys().copied());
    }

    fn lacks_leaders(&self) -> bool {
        self.core().lacks_leaders()
    }

    fn topics(&self) -> Vec<Arc<str>> {
        self.core().topic_names()
    }

    fn doubt(&self) -> &Notify {
        &self.stale
    }
}

/// Sends to one broker what it leads, for as long as the producer lives.
async fn serve_broker(shared: Arc<Shared>, id: i32, wake: Arc<Notify>) {
    let slots = Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX));
    let mut failures = 0_u32;
    loop {
        if !shared.core().has_work(id) {
            wake.notified().await;
            continue;
        }
        // Before anything is taken out of its lane: what waits can still be given up.
        let client = match shared.cluster.broker(id, Use::Produce).await {
            Ok(client) => client,
            Err(error) => {
                failures = failures.saturating_add(1);
                shared.core().not_reached(id, &error);
                shared.stale.notify_one();
                shared.cluster.pause(failures).await;
                continue;
            }
        };
        failures = 0;
        let slot = Arc::clone(&slots).acquire_owned().await;
        let slot = slot.expect("nobody closes it");
        let plan = shared.core().plan(shared.now(), id);
        if plan.needs_identity {
            shared.anonymous.notify_one();
        }
        if plan.batches.is_empty() {
            drop(slot);
            tokio::select! {
                () = wake.notified() => {}
                () = shared.cluster.sleep_until(plan.next_at) => {}
            }
        } else {
            send(&shared, id, &client, Outgoing::of(plan.batches), slot).await;
        }
    }
}

/// Sends one request, in its turn, and leaves a task behind that waits for the answer.
async fn send(
    shared: &Arc<Shared>,
    id: i32,
    client: &Client,
    outgoing: Outgoing,
    slot: OwnedSemaphorePermit,
) {
    let request = outgoing.request(shared.acks, client.timeout_ms());
    let encoded = client.encode(&request);
    let (call, body) = match encoded {
        Ok(encoded) => encoded,
        Err(error) => return shared.told(id, outgoing.refused(&error)),
    };
    if shared.acks == Acks::None {
        let sent = client.connection().send_without_reply(call, body).await;
        return shared.told(id, outgoing.without_answer(sent));
    }
    match client.connection().send(call, body).await {
        Err(error) => shared.told(id, outgoing.unknown(&error)),
        Ok(reply) => {
            let (shared, client) = (Arc::clone(shared), client.clone());
            let host = shared.cluster.host().clone();
            let answered = async move {
                let told = match reply.wait().await {
                    Ok(body) => outgoing.answered(&client.answer(call, body)),
                    Err(error) => outgoing.unknown(&error),
                };
                drop(slot);
                shared.told(id, told);
            };
            // It ends by itself: a request has a deadline.
            drop(
                host.spawn
                    .spawn(Pool::Data, "producer's answer", Box::pin(answered)),
            );
        }
    }
}

/// Gets a producer id when a lane needs one.
async fn get_identities(shared: Arc<Shared>) {
    let mut failures = 0_u32;
    loop {
        if !shared.core().needs_identity() {
            shared.anonymous.notified().await;
            continue;
        }
        let got = match shared.cluster.any_broker().await {
            Ok(client) => client.init_producer_id().await,
            Err(error) => Err(error),
        };
        match got {
            Ok(identity) => {
                failures = 0;
                let leaders = {
                    let mut core = shared.core();
                    core.identify(identity);
                    core.leaders()
                };
                shared.serve(leaders.into_iter());
            }
            Err(error) => {
                tracing::debug!(%error, "a producer id can't be had");
                failures = failures.saturating_add(1);
                shared.cluster.pause(failures).await;
            }
        }
    }
}

/// Gives up what took longer than the delivery timeout.
async fn give_up_in_time(shared: Arc<Shared>) {
    loop {
        let now = shared.now();
        let (freed, next) = shared.core().expire(now);
        shared.room.add_permits(freed);
        // A record that comes meanwhile is not given up before a whole timeout has passed; one that
        // is in flight is looked at again.
        let next = next.unwrap_or(now + shared.delivery_timeout);
        shared
            .cluster
            .sleep_until(Some(next.max(now + LOOK_AGAIN)))
            .await;
    }
}
