//! The tasks of a consumer: one for each broker that leads something it reads, one that keeps the
//! leaders known.
//!
//! What always holds: one request at a time to a broker for records, so that a partition's answers
//! come in order; every question that was planned is told of as answered, whatever happens to it.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use super::core::{Core, Plan};
use super::locating::Told;
use super::options::ConsumerOptions;
use super::reading::Outcome;
use super::session::Session;
use super::{fetching, locating};
use crate::Client;
use crate::cluster::{Cluster, Follower, Metadata, Use, Workers, follow, lock};
use crate::group::Group;

/// What a consumer's handle and its tasks share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) options: ConsumerOptions,
    /// The group that it is a member of, if it is.
    pub(crate) group: Option<Group>,
    core: Mutex<Core>,
    workers: Workers,
    /// What is known of the leaders may be out of date.
    pub(crate) stale: Notify,
    /// The application has news.
    pub(crate) news: Notify,
}

impl Shared {
    pub(super) fn start(
        cluster: Cluster,
        options: ConsumerOptions,
        group: Option<Group>,
    ) -> Arc<Self> {
        let core = Core::new(cluster.host().clock.now().mono);
        let shared = Arc::new(Self {
            cluster,
            options,
            group,
            core: Mutex::new(core),
            workers: Workers::default(),
            stale: Notify::new(),
            news: Notify::new(),
        });
        let following = follow(shared.cluster.clone(), Arc::clone(&shared));
        let host = shared.cluster.host();
        shared.workers.spawn(host, "consumer's leaders", following);
        shared
    }

    /// Takes part in the group that it is a member of.
    pub(super) fn attend(&self, membership: impl Future<Output = ()> + Send + 'static) {
        let host = self.cluster.host();
        self.workers.spawn(host, "consumer's group", membership);
    }

    pub(super) fn end(&self) {
        self.workers.end();
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// Brokers may be asked for more.
    pub(super) fn wake(&self) {
        self.workers.wake_all();
    }

    /// Tells the readings what became of their questions.
    fn told(&self, outcomes: Vec<Told>) {
        let now = self.cluster.host().clock.now().mono;
        let (mut news, mut doubtful, mut moves) = (false, false, false);
        {
            let mut core = self.core();
            for (key, turn, outcome) in outcomes {
                if let Outcome::Again(error) = &outcome {
                    doubtful |= error.asks_for_metadata();
                }
                // Another broker's task may have to ask now.
                moves |= matches!(
                    outcome,
                    Outcome::Again(_) | Outcome::Prefers(..) | Outcome::OutOfRange(_)
                );
                let failures = core.failures(&key).saturating_add(1);
                let wait = self
                    .cluster
                    .backoff()
                    .after(failures, &*self.cluster.host().rng);
                news |= core.answered(&key, turn, outcome, now + wait);
            }
        }
        if doubtful {
            self.stale.notify_one();
        }
        if news {
            self.news.notify_one();
        }
        if moves {
            self.wake();
        }
    }
}

impl Follower for Shared {
    fn lead(self: &Arc<Self>, image: &Metadata) {
        self.core().learn(image);
        let serving = |id, wake| serve_broker(Arc::clone(self), id, wake);
        let (host, ids) = (self.cluster.host(), image.brokers.keys().copied());
        self.workers.serve(host, "consumer's broker", ids, serving);
    }

    fn lacks_leaders(&self) -> bool {
        self.core().lacks_leaders()
    }

    fn topics(&self) -> Vec<Arc<str>> {
        let mut topics = self.core().topics();
        topics.extend(self.group.iter().flat_map(Group::topics));
        topics
    }

    fn doubt(&self) -> &Notify {
        &self.stale
    }
}

/// Asks one broker what is read of it, for as long as the consumer lives.
async fn serve_broker(shared: Arc<Shared>, id: i32, wake: Arc<Notify>) {
    let mut failures = 0_u32;
    let mut session = Session::default();
    loop {
        if !shared.core().has_work(id) {
            wake.notified().await;
            continue;
        }
        let client = match shared.cluster.broker(id, Use::Fetch).await {
            Ok(client) => client,
            Err(error) => {
                tracing::debug!(%error, "a broker can't be asked");
                failures = failures.saturating_add(1);
                shared.core().not_reached(id);
                shared.wake();
                shared.stale.notify_one();
                shared.cluster.pause(failures).await;
                continue;
            }
        };
        failures = 0;
        let now = shared.cluster.host().clock.now().mono;
        let plan = shared.core().plan(now, id, &shared.options);
        for other in &plan.wakes {
            shared.workers.wake(*other);
        }
        if plan.is_empty() {
            tokio::select! {
                () = wake.notified() => {}
                () = shared.cluster.sleep_until(plan.next_at) => {}
            }
            continue;
        }
        carry_out(&shared, &client, &mut session, plan).await;
    }
}

async fn carry_out(shared: &Shared, client: &Client, session: &mut Session, plan: Plan) {
    if !plan.find.is_empty() {
        shared.told(locating::find(client, &plan.find, shared.options.isolation).await);
    }
    if !plan.check.is_empty() {
        shared.told(locating::check(client, &plan.check).await);
    }
    if !plan.fetch.is_empty() {
        let by = fetching::By {
            cluster: &shared.cluster,
            options: &shared.options,
        };
        let outcomes = fetching::fetch(by, client, session, &plan).await;
        let is_short = shared.core().fetch_ended(plan.bytes_max);
        shared.told(outcomes);
        if is_short {
            shared.wake();
        }
    }
}
