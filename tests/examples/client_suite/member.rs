//! A member of a load's group: life after life it takes what it is given, and notes it.
//!
//! What always holds: what [`Consumer::next`] gave is in the journal before it is asked again, so that
//! nothing is committed that the journal doesn't know.

use std::sync::Arc;
use std::time::Duration;

use millrace_client::{
    Assignor, Cluster, Consumer, ConsumerOptions, GroupOptions, OffsetAndMetadata, Rebalance,
    RebalanceListener, Records, TopicPartition,
};
use millrace_host::BoxFuture;

use crate::load::{Loaded, lock};
use crate::stage::{from_the_start, text};

/// Tells the journal what becomes of one life's partitions.
#[derive(Debug)]
struct Life {
    loaded: Arc<Loaded>,
    number: u64,
}

fn numbers(rebalance: &Rebalance) -> Vec<i32> {
    let partitions = rebalance.partitions.iter();
    partitions.map(|one| one.partition).collect()
}

impl RebalanceListener for Life {
    fn assigned<'a>(&'a self, now: &'a Rebalance) -> BoxFuture<'a, ()> {
        let mut journal = lock(&self.loaded.journal);
        journal.assigned(self.number, &now.member_id, now.generation, &numbers(now));
        Box::pin(std::future::ready(()))
    }

    fn revoked<'a>(
        &'a self,
        gone: &'a Rebalance,
    ) -> BoxFuture<'a, Vec<(TopicPartition, OffsetAndMetadata)>> {
        lock(&self.loaded.journal).revoked(self.number, &numbers(gone));
        Box::pin(std::future::ready(Vec::new()))
    }

    fn lost<'a>(&'a self, gone: &'a Rebalance) -> BoxFuture<'a, ()> {
        lock(&self.loaded.journal).lost(self.number, &numbers(gone));
        Box::pin(std::future::ready(()))
    }
}

/// How members of a load behave: sessions shorter than pauses are long.
fn options(loaded: &Arc<Loaded>, number: u64, assignors: &[Assignor]) -> GroupOptions {
    GroupOptions {
        assignors: assignors.to_vec(),
        session_timeout: Duration::from_secs(8),
        heartbeat_interval: Duration::from_secs(1),
        poll_interval_max: Duration::from_mins(1),
        commit_interval: Some(Duration::from_millis(300)),
        listener: Some(Arc::new(Life {
            loaded: Arc::clone(loaded),
            number,
        })),
        ..GroupOptions::new(loaded.group(), [loaded.topic.as_str()])
    }
}

/// Lives until the load's members are to end. Each life but the last ends when it is told to; every
/// second one without saying so.
pub(crate) async fn attend(
    loaded: Arc<Loaded>,
    cluster: Cluster,
    member: usize,
    assignors: Vec<Assignor>,
) -> Result<(), String> {
    let fetching = ConsumerOptions {
        fetch_wait_max: Duration::from_millis(200),
        ..from_the_start()
    };
    let mut scratch = Records::scratch();
    for life in 0.. {
        let number = life * 100 + member as u64;
        let group = options(&loaded, number, &assignors);
        let consumer = Consumer::subscribe(&cluster, fetching.clone(), group).map_err(text)?;
        loop {
            let records = tokio::select! {
                biased;
                () = loaded.life_ends(member) => break,
                records = consumer.next() => records.map_err(text)?,
            };
            let mut offsets = Vec::new();
            records
                .read_records(&mut scratch, |record| offsets.push(record.offset))
                .map_err(text)?;
            lock(&loaded.journal).give(number, records.partition(), &offsets);
        }
        if loaded.members_end() {
            return consumer.close().await.map_err(text);
        }
        if (life + member as u64) % 2 == 1 {
            consumer.close().await.map_err(text)?;
        } else {
            drop(consumer);
            lock(&loaded.journal).vanished(number);
        }
    }
    Ok(())
}
