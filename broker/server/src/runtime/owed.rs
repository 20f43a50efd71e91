//! Partitions to which retention may owe something, open or not.
//!
//! What always holds: every partition that was ever written is looked at by the first check of a
//! run; from then on it is looked at when the schedule says so.

use std::sync::Arc;

use millrace_log::mark::Incarnation;
use millrace_protocol::ids::TopicId;

use super::partition::OpenPartition;
use super::registry::Registry;
use super::schedule::Schedule;
use super::settings::log_settings;

impl Registry {
    /// What is to be looked at, and when.
    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Has the next check of retention look at every partition that was ever written: nobody knows
    /// yet when something of it is due.
    pub(crate) fn check_written(&self) {
        let image = self.cluster.image();
        for partitions in self.directories.values() {
            for incarnation in partitions.dir().written() {
                let topic = TopicId::from_bytes(incarnation.topic_id);
                if image.topic(topic).is_some() {
                    self.schedule.changed(incarnation);
                }
            }
        }
    }

    /// A partition to which retention may owe something, opened if need be; `None` when nothing is
    /// owed to it. One that can't be opened now is looked at by the next check.
    pub(crate) async fn open_to_retain(
        self: &Arc<Self>,
        incarnation: Incarnation,
    ) -> Option<Arc<OpenPartition>> {
        if let Some(open) = self.opened(&incarnation) {
            return Some(open);
        }
        let image = self.cluster.image();
        let topic = image.topic(TopicId::from_bytes(incarnation.topic_id))?;
        let directory = self.directory(topic, incarnation.partition).ok()?;
        directory.dir().entry(&incarnation)?;
        let config = self.topic_config(&image, topic)?;
        let log = log_settings(&config, incarnation);
        // A configuration that changes has it looked at again.
        if !log.delete || (log.retention_ms.is_none() && log.retention_bytes.is_none()) {
            return None;
        }
        let opened = self.get(topic, incarnation.partition).await;
        if opened.as_ref().is_err_and(|why| why.may_pass) {
            self.schedule.changed(incarnation);
        }
        // Why it can't be opened stands in the log.
        opened.ok()
    }
}
