//! Keeping what is known of the leaders good enough for whoever works with them.
//!
//! What always holds: it is asked for again when somebody doubts it, when it is old, and for as long as
//! something waits for a leader; never more often than the waits between retries allow.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Cluster, Metadata};

/// Whoever works with leaders.
pub(crate) trait Follower: Send + Sync + 'static {
    /// Takes in what is known now.
    fn lead(self: &Arc<Self>, image: &Metadata);

    /// Whether something waits for a leader that isn't known.
    fn lacks_leaders(&self) -> bool;

    /// The topics it works with.
    fn topics(&self) -> Vec<Arc<str>>;

    /// Rung when what is known may be out of date.
    fn doubt(&self) -> &Notify;
}

/// Does so until it is dropped.
pub(crate) async fn follow<F: Follower>(cluster: Cluster, follower: Arc<F>) {
    let clock = &cluster.host().clock;
    loop {
        let image = cluster.metadata();
        follower.lead(&image);
        let old = clock.now().mono + cluster.options().metadata_age_max;
        if !follower.lacks_leaders() {
            tokio::select! {
                () = follower.doubt().notified() => {}
                () = clock.sleep_until(old) => {}
            }
        }
        cluster.keep(&follower.topics());
        // Whoever waits hears why when it is given up; a refresh waits longer after each failure.
        if let Err(error) = cluster.refresh(image.generation).await {
            tracing::debug!(%error, "the cluster's metadata can't be had");
        }
    }
}
