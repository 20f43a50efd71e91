//! The broker's lives: how one begins and ends, what heals meanwhile, and that all get on again.

use std::time::Duration;

use millrace_config::BrokerConfig;
use millrace_server::Broker;
use millrace_sim::faults as counted;

use super::{BROKER, Errors, Failure, Run};
use crate::faults::End;
use crate::liveness;
use crate::planted::Bug;
use crate::workload::Workload;

/// A broker that does not serve by then, in virtual time, stands still.
const START_TIMEOUT: Duration = Duration::from_mins(5);
/// Starts in a row that faults may spoil.
const STARTS_MAX: u32 = 8;

impl Run {
    pub(super) fn errors(&self) -> Errors {
        let count = |name| self.world.count(name);
        let syncs = count(counted::SYNC_ERROR);
        let others = [
            counted::WRITE_ERROR,
            counted::READ_ERROR,
            counted::SYNC_DIR_ERROR,
            counted::NAME_ERROR,
            counted::NO_SPACE,
            counted::SHORT_WRITE,
            counted::WRITE_BACK_ERROR,
        ];
        Errors {
            syncs,
            all: syncs + others.into_iter().map(count).sum::<u64>(),
        }
    }

    /// Begins the broker's next life, again where a fault spoils it.
    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        for _ in 0..STARTS_MAX {
            let reason = match self.try_start().await {
                Ok(broker) => {
                    self.broker = Some(broker);
                    return Ok(());
                }
                Err(reason) => reason,
            };
            self.world.note(&format!("no start: {reason}"));
            let may_fail = self.away.is_some() || self.is_disk_in_trouble();
            if !may_fail {
                return Err(format!("the broker does not start: {reason}").into());
            }
            self.end(End::Kill, 1).await;
        }
        Err("faults that are over keep the broker from starting"
            .to_owned()
            .into())
    }

    /// One start, while what is due heals.
    pub(super) async fn try_start(&mut self) -> Result<Broker, String> {
        let config = self.config()?;
        let mut starting = Box::pin(Broker::start(config, self.broker_host()));
        let deadline = self.world.elapsed() + START_TIMEOUT;
        loop {
            let next = self.next_heal().map_or(deadline, |at| at.min(deadline));
            let wait = next.saturating_sub(self.world.elapsed());
            tokio::select! {
                biased;
                started = &mut starting => return started.map_err(|error| error.to_string()),
                () = self.world.pause(wait) => {}
            }
            if self.world.elapsed() >= deadline {
                return Err("it does not come up".to_owned());
            }
            self.heal_due();
        }
    }

    pub(super) fn config(&self) -> Result<BrokerConfig, String> {
        let pairs = self
            .settings
            .iter()
            .map(|(key, value)| (*key, value.as_str()));
        BrokerConfig::from_pairs(pairs).map_err(|error| error.to_string())
    }

    /// Ends the broker's life; it may already have none. All that was planted for it ends too.
    pub(super) async fn end(&mut self, end: End, away_ms: u64) {
        self.ends[end.index()] += 1;
        let lossy = std::mem::take(&mut self.is_lossy)
            || matches!(end, End::PowerCut { .. })
            || self.errors().syncs > self.errors_before.syncs;
        match end {
            End::PowerCut { flips: true } => self.world.crash_with_flips(BROKER),
            End::PowerCut { flips: false } => self.world.crash(BROKER),
            End::Kill if self.bug == Some(Bug::KillTakesThePageCache) => self.world.crash(BROKER),
            End::Kill => self.world.kill(BROKER),
            End::Stop => {
                // A clean stop ends with a sync; one that hangs would hang it too.
                self.heal_everything();
                if let Some(broker) = self.broker.take() {
                    broker.stop().await;
                }
                // What a process leaves behind when it ends.
                self.world.kill(BROKER);
            }
        }
        self.broker = None;
        if let Some(progress) = &self.progress {
            progress.life_ended(lossy);
        }
        self.heal_everything();
        self.errors_before = self.errors();
        if let Some(directory) = self.away.take() {
            self.world.bring_back(BROKER, &directory);
        }
        self.pause_ms(away_ms).await;
    }

    /// Heals everything, and sees to it that whoever asks is served again, soon.
    pub(super) async fn heal_all(&mut self, workload: &mut Workload) -> Result<(), Failure> {
        self.heal_everything();
        let healed = self.world.elapsed();
        let in_trouble = self.errors() != self.errors_before || self.away.is_some();
        if let Some(directory) = self.away.take_if(|_| self.broker.is_none()) {
            self.world.bring_back(BROKER, &directory);
        }
        if in_trouble && self.broker.is_some() {
            self.end(End::Kill, 0).await;
        }
        if self.broker.is_none() {
            self.start().await?;
        }
        self.alive(workload, healed).await
    }

    /// Fails unless there is progress within the limit from `healed` on.
    pub(super) async fn alive(
        &mut self,
        workload: &mut Workload,
        healed: Duration,
    ) -> Result<(), Failure> {
        let rule = |reason: String| Failure {
            rules: vec!["no progress"],
            reason,
        };
        let passed = self.world.elapsed().saturating_sub(healed);
        let now = self.clients().clock.now().mono;
        let left = liveness::WITHIN.saturating_sub(passed);
        let before = workload.progress.acknowledged();
        self.witness.progress(now + left).await.map_err(rule)?;
        // A connection that went silent is given up after a request's time only.
        let until = self.world.elapsed() + left + self.plan.request_timeout;
        while workload.progress.acknowledged() <= before {
            workload.is_alive()?;
            if self.world.elapsed() > until {
                return Err(rule(format!(
                    "no progress of the producers behind {before}"
                )));
            }
            self.pause_ms(10).await;
        }
        Ok(())
    }

    pub(super) async fn pause_ms(&mut self, ms: u64) {
        let until = self.world.elapsed() + Duration::from_millis(ms);
        self.pause_until(until).await;
    }

    /// Waits, while what is due heals.
    pub(super) async fn pause_until(&mut self, until: Duration) {
        while let Some(next) = self.next_heal().filter(|next| *next < until) {
            let wait = next.saturating_sub(self.world.elapsed());
            self.world.pause(wait).await;
            self.heal_due();
        }
        let wait = until.saturating_sub(self.world.elapsed());
        self.world.pause(wait).await;
    }
}
