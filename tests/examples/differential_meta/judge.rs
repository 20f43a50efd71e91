//! Whether the differential would be red: an outcome held against the record, with the masks and the
//! differences that stay.

use millrace_differential::differences::{Staying, between, of_one};
use millrace_differential::instance::Key;
use millrace_differential::masks::Masks;
use millrace_differential::record::{self, Recorded};
use millrace_differential::run::Outcome;
use serde_json::Value;

/// Says of an outcome whether the differential would be red.
pub(crate) struct Judge {
    recorded: Recorded,
    masks: Masks,
    staying: Staying,
}

impl Judge {
    /// With the record as it stands in the tree, and its tables.
    pub(crate) fn read() -> Result<Self, String> {
        let masks = Masks::read()?;
        let recorded = record::read()?.into_iter();
        let recorded = recorded
            .map(|(key, outcome)| (key, masked(&masks, outcome)))
            .collect();
        Ok(Self {
            recorded,
            masks,
            staying: Staying::read()?,
        })
    }

    /// Whether an outcome differs from the record; whoever comes to none does.
    pub(crate) fn is_red(&self, key: &Key, outcome: Result<Outcome, String>) -> bool {
        let (Some(recorded), Ok(outcome)) = (self.recorded.get(key), outcome) else {
            return true;
        };
        let differences = between(recorded, &masked(&self.masks, outcome));
        let mut differences = differences.iter();
        differences.any(|difference| self.staying.find(key, difference).is_none())
    }

    /// Whether the answers alone differ from the record.
    pub(crate) fn is_red_already(&self, key: &Key, asked: &[Value]) -> bool {
        let after = self
            .recorded
            .get(key)
            .map(|recorded| recorded.after.clone());
        let outcome = Outcome {
            asked: asked.to_vec(),
            after: after.unwrap_or_default(),
        };
        self.is_red(key, Ok(outcome))
    }

    /// Whether something that is looked at is as it was recorded.
    pub(crate) fn is_settled(&self, key: &Key, place: usize, seen: &Value) -> bool {
        let recorded = self.recorded.get(key);
        let recorded = recorded.and_then(|recorded| recorded.after.get(place));
        let mut seen = seen.clone();
        self.masks.clone().apply(&mut seen);
        let differences = of_one(recorded.unwrap_or(&Value::Null), &seen);
        let mut differences = differences.iter();
        differences.all(|difference| self.staying.find(key, difference).is_some())
    }
}

fn masked(masks: &Masks, mut outcome: Outcome) -> Outcome {
    let mut masks = masks.clone();
    let answers = outcome.asked.iter_mut().chain(&mut outcome.after);
    answers.for_each(|answer| masks.apply(answer));
    outcome
}
