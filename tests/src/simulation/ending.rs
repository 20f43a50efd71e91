//! The end of a run whose disk rots: what is durable is harmed, and a start is judged on top of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use millrace_client::Topic;
use millrace_sim::{DiskEffect, DiskFault, DiskOp, FlipAt, When};

use super::{BROKER, Failure, Run};
use crate::faults::rot::{self, Excused, Fate, Reading};
use crate::faults::{End, What};
use crate::shape::Row;

/// For how long writes rot before the workload ends.
const WRITE_ROT_MS: u64 = 300;

impl Run {
    /// Lets writes rot from now on if the list says so; whether anything will rot.
    pub(super) async fn begin_rot(&mut self) -> bool {
        for fault in &self.faults {
            let What::WriteRot {
                misdirected,
                per_mille,
            } = fault.what
            else {
                continue;
            };
            let effect = if misdirected {
                DiskEffect::Misdirect
            } else {
                DiskEffect::FlipBit
            };
            let fault = DiskFault {
                op: DiskOp::Write,
                path_contains: String::new(),
                when: When::PerMille(per_mille),
                effect,
            };
            self.world.inject(BROKER, fault);
        }
        let rots = !self.faults.is_empty();
        if rots {
            self.pause_ms(WRITE_ROT_MS).await;
        }
        rots
    }

    /// Reads everything, ends the broker's life, flips bits, starts, reads again.
    pub(super) async fn rot(&mut self, topic: &Topic) -> Result<BTreeMap<Fate, u32>, Failure> {
        let topics: Vec<Topic> = [Some(topic), self.witness.topic()]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let mut before = self.read_all(&topics).await;
        // Its front may leave while it is read.
        let leaves = self.front_leaves();
        before.retain(|(of, _), reading| !(leaves && *of == 0 && reading.broken.is_some()));
        if let Some((place, reading)) = before.iter().find(|(_, reading)| reading.broken.is_some())
        {
            let why = reading.broken.as_deref().unwrap_or_default();
            return Err(format!("{place:?} can't be read before anything shows: {why}").into());
        }
        let end =
            [End::PowerCut { flips: false }, End::Kill, End::Stop][self.world.draw(3) as usize];
        let is_power_cut = matches!(end, End::PowerCut { .. });
        self.end(end, 0).await;
        self.flip_all();
        match self.try_start().await {
            Ok(broker) => self.broker = Some(broker),
            Err(reason) => {
                // It refuses to serve rather than to serve something else.
                self.world.note(&format!("no start: {reason}"));
                return Ok(BTreeMap::from([(Fate::Unavailable, before.len() as u32)]));
            }
        }
        let after = self.read_all(&topics).await;
        let mut fates = BTreeMap::new();
        for ((of, partition), was) in &before {
            let page_cache = self.plan.terms.page_cache && *of == 0;
            let excused = Excused {
                end: page_cache && is_power_cut,
                front: *of == 0 && leaves,
            };
            let now = after.get(&(*of, *partition)).cloned().unwrap_or_default();
            let name = format!("{}-{partition}", topics[*of].name);
            let wrong = |why: String| Failure {
                rules: vec!["rot"],
                reason: format!("{name}: {why}"),
            };
            let fate = match rot::judge(was, &now, excused).map_err(wrong)? {
                Some(fate) => fate,
                None if rot::refuses(&self.witness, &topics[*of], *partition).await => {
                    Fate::Shorter
                }
                None => {
                    let why = format!(
                        "{} records were there, {} are shown, and nobody says so",
                        was.records.len(),
                        now.records.len()
                    );
                    return Err(wrong(why));
                }
            };
            self.world.note(&format!("{name}: {fate:?}"));
            *fates.entry(fate).or_default() += 1;
        }
        Ok(fates)
    }

    /// Whether records leave the workload's topic at the front.
    fn front_leaves(&self) -> bool {
        let rows = [Row::RetentionMs, Row::RetentionBytes, Row::DeleteRecords];
        rows.contains(&self.row)
    }

    async fn read_all(&self, topics: &[Topic]) -> BTreeMap<(usize, i32), Reading> {
        let mut all = BTreeMap::new();
        for (of, topic) in topics.iter().enumerate() {
            for partition in 0..topic.partitions {
                let reading = rot::read(&self.witness, topic, partition).await;
                all.insert((of, partition), reading);
            }
        }
        all
    }

    /// Flips the bits that the list names, in files that hold something.
    fn flip_all(&mut self) {
        let mut files: Vec<(PathBuf, u64)> = self.world.files(BROKER);
        files.retain(|(_, len)| *len > 0);
        for fault in std::mem::take(&mut self.faults) {
            let What::Flip {
                file,
                place,
                bit,
                everywhere,
            } = fault.what
            else {
                continue;
            };
            if files.is_empty() {
                return;
            }
            let (path, len) = &files[(file % files.len() as u64) as usize];
            let at = if everywhere {
                FlipAt::Everywhere
            } else {
                FlipAt::Device
            };
            let offset = place * (len - 1) / 1_000_000;
            self.world.flip_bit(BROKER, path, offset, bit, at);
        }
    }
}
