//! Places in a partition as people name them.

use std::collections::BTreeMap;
use std::str::FromStr;

use millrace_client::{Isolation, OffsetOf, TopicPartition};

use super::{Failure, Session, times};

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// The first record that is there.
    Beginning,
    /// Behind the last.
    End,
    /// This offset.
    Offset(i64),
    /// So many records before the end.
    BeforeEnd(i64),
    /// The first record of this moment or later.
    Moment(String),
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(moment) = text.strip_prefix('@') {
            // Whether it is one is looked at here, what it is when the clock is at hand.
            times::moment(moment, 0)?;
            return Ok(Self::Moment(moment.to_owned()));
        }
        Ok(match (text, text.parse::<i64>()) {
            ("beginning" | "earliest" | "start", _) => Self::Beginning,
            ("end" | "latest", _) => Self::End,
            (_, Ok(before)) if before < 0 => Self::BeforeEnd(-before),
            (_, Ok(offset)) => Self::Offset(offset),
            (_, Err(_)) => {
                return Err(format!(
                    "{text:?} is no place: write beginning, end, an offset, -10 for ten before the end, or @ and a moment"
                ));
            }
        })
    }
}

/// The offsets that partitions begin and end with now.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// First and end of each.
    pub(crate) of: BTreeMap<TopicPartition, (i64, i64)>,
}

impl Session {
    /// First and end of each partition; an error when one of them can't be told.
    pub(crate) async fn bounds(
        &self,
        partitions: &[TopicPartition],
        isolation: Isolation,
    ) -> Result<Bounds, Failure> {
        let starts = self.offsets(partitions, OffsetOf::Start, isolation).await?;
        let ends = self.offsets(partitions, OffsetOf::End, isolation).await?;
        let bounds = starts.into_iter().map(|(partition, start)| {
            let end = ends.get(&partition).copied().flatten();
            let start = start.unwrap_or_default();
            (partition, (start, end.unwrap_or(start)))
        });
        Ok(Bounds {
            of: bounds.collect(),
        })
    }

    /// One offset of each partition.
    pub(crate) async fn offsets(
        &self,
        partitions: &[TopicPartition],
        of: OffsetOf,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, Option<i64>>, Failure> {
        let asked = partitions.iter().map(|partition| (partition.clone(), of));
        let told = self.admin.list_offsets(asked, isolation).await?;
        let mut offsets = BTreeMap::new();
        for (partition, outcome) in told {
            offsets.insert(partition, outcome?.offset);
        }
        Ok(offsets)
    }

    /// The offsets of a place, within what the partitions have; an offset that was named is taken as it
    /// is.
    pub(crate) async fn resolve(
        &self,
        position: &Position,
        bounds: &Bounds,
    ) -> Result<BTreeMap<TopicPartition, i64>, Failure> {
        let mut found = BTreeMap::new();
        if let Position::Moment(text) = position {
            let now_ms = self.host.clock.now().wall_ms;
            let ms = times::moment(text, now_ms).map_err(Failure::usage)?;
            let partitions: Vec<_> = bounds.of.keys().cloned().collect();
            let uncommitted = Isolation::ReadUncommitted;
            let times = self
                .offsets(&partitions, OffsetOf::Time(ms), uncommitted)
                .await?;
            found = times;
        }
        let of = |(partition, (start, end)): (&TopicPartition, &(i64, i64))| {
            let offset = match position {
                Position::Beginning => *start,
                Position::End => *end,
                Position::Offset(offset) => *offset,
                Position::BeforeEnd(records) => end.saturating_sub(*records).max(*start),
                Position::Moment(_) => found.get(partition).copied().flatten().unwrap_or(*end),
            };
            (partition.clone(), offset)
        };
        Ok(bounds.of.iter().map(of).collect())
    }

    /// The partitions of topics: all of each, or those with these numbers.
    pub(crate) async fn partitions(
        &self,
        topics: &[&str],
        numbers: &[i32],
    ) -> Result<Vec<TopicPartition>, Failure> {
        let mut partitions = Vec::new();
        for (topic, described) in self.admin.describe_topics(topics).await? {
            let described = described?;
            let topic: std::sync::Arc<str> = topic.into();
            let numbers = if numbers.is_empty() {
                described
                    .partitions
                    .iter()
                    .map(|partition| partition.index)
                    .collect()
            } else {
                numbers.to_vec()
            };
            for number in numbers {
                if described.partition(number).is_none() {
                    let count = described.partitions.len();
                    let what =
                        format!("topic {topic} has no partition {number}: it has {count}, from 0");
                    return Err(Failure::refused(what));
                }
                partitions.push(TopicPartition::new(std::sync::Arc::clone(&topic), number));
            }
        }
        Ok(partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        for (text, position) in [
            ("beginning", Position::Beginning),
            ("latest", Position::End),
            ("0", Position::Offset(0)),
            ("-10", Position::BeforeEnd(10)),
            ("@-1h", Position::Moment("-1h".to_owned())),
            ("@2026-11-22", Position::Moment("2026-11-22".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(position), "{text}");
        }
        for text in ["", "middle", "@", "@noon", "1.5"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
