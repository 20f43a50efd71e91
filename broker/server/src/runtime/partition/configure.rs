//! Configuration that changes while a partition serves.
//!
//! What always holds: a newer configuration is never replaced by an older one; acknowledgements and
//! readers go by a new durability only once the log's mark of it is durable (`durability.md` A3).

use millrace_core::partition::{Event, Settings, Unserved};
use millrace_host::sync::Arc;
use millrace_log::mark::Durability;
use millrace_log::partition::{LogSettings, Switch};

use super::super::settings::core_durability;
use super::OpenPartition;

/// What a partition goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Configuration {
    /// Offset of the newest record that it stands on.
    pub(crate) version: i64,
    /// What the log is told.
    pub(crate) log: LogSettings,
    /// What core is told.
    pub(crate) core: Settings,
}

impl OpenPartition {
    /// Goes by `new` from now on, unless it goes by a newer one. Gives whether its durability has to
    /// be changed for that, by [`Self::change_durability`].
    pub(crate) fn configure(&self, new: &Configuration) -> Result<bool, Unserved> {
        self.with(|state, now, effects| {
            if state.config_version >= new.version {
                return false;
            }
            state.config_version = new.version;
            state.log.configure(new.log);
            self.plan_check(state);
            if *state.core.settings() != new.core {
                let changed = Event::SettingsChanged(new.core);
                state.core.step(now, changed, effects);
            }
            let begins = new.log.durability != state.log.durability() && !state.switching;
            state.switching |= begins;
            begins
        })
    }

    /// Brings the log to the durability that is configured. Appends and reads go on meanwhile.
    pub(crate) async fn change_durability(self: Arc<Self>) {
        while let Ok(Some(switch)) = self.begin_change() {
            if let Err(reason) = self.finish_change(switch).await {
                let partition = self.incarnation();
                tracing::error!(%partition, %reason, "the partition's durability stays as it was");
                self.with(|state, _, _| state.switching = false).ok();
                return;
            }
        }
    }

    /// What is to be run next; nothing when the log is as it should be.
    fn begin_change(&self) -> Result<Option<Switch>, Unserved> {
        self.with(|state, now, effects| {
            let switch = state.log.begin_switch();
            if switch.is_none() {
                // A log without bytes changes at once.
                let durability = core_durability(state.log.durability());
                let changed = Event::DurabilityChanged(durability);
                state.core.step(now, changed, effects);
                state.switching = false;
            }
            switch
        })
    }

    async fn finish_change(&self, switch: Switch) -> Result<(), String> {
        let ran = switch.run().await;
        let finished = self.with(|state, now, effects| {
            let durable = state.log.finish_switch(ran)?;
            if state.log.durability() == Durability::PageCache {
                let changed = core_durability(Durability::PageCache);
                let changed = Event::DurabilityChanged(changed);
                state.core.step(now, changed, effects);
            }
            Ok(durable)
        });
        let finished: Result<_, millrace_log::error::Error> =
            finished.map_err(|unserved| unserved.to_string())?;
        let durable = finished.map_err(|error| error.to_string())?;
        durable.await.map_err(|error| error.to_string())?;
        let told = self.with(|state, now, effects| {
            let durability = core_durability(state.log.durability());
            state
                .core
                .step(now, Event::DurabilityChanged(durability), effects);
        });
        told.map_err(|unserved| unserved.to_string())
    }
}
