//! How answers and effects are printed, one line each.

use millrace_core::partition::{Condition, Effect, FetchDecision, Plan, ReadReject, Reject};

pub(crate) fn show_reject(reject: &Reject) -> String {
    format!("{}: {reject}\n", reject.code().name())
}

pub(crate) fn show_read_reject(reject: &ReadReject) -> String {
    format!("{}: {reject}\n", reject.code().name())
}

fn show_condition(condition: Condition) -> String {
    match condition {
        Condition::Written => "once written".to_owned(),
        Condition::Flushed(offset) => format!("once flushed to {offset}"),
        Condition::HighWatermark(offset) => format!("once committed to {offset}"),
        Condition::FlushedHighWatermark(offset) => {
            format!("once flushed and committed to {offset}")
        }
    }
}

pub(crate) fn show_plan(plan: &Plan) -> String {
    let condition = show_condition(plan.condition());
    match plan {
        Plan::Write(write) => {
            let urgent = if write.urgent { ", urgent" } else { "" };
            format!(
                "write {}..={} in epoch {}, reply {condition}{urgent}\n",
                write.base_offset, write.last_offset, write.leader_epoch
            )
        }
        Plan::Duplicate(duplicate) => format!(
            "duplicate of {}..={} (timestamp {}), reply {condition}\n",
            duplicate.base_offset, duplicate.last_offset, duplicate.timestamp_ms
        ),
    }
}

pub(crate) fn show_effect(effect: &Effect) -> String {
    match effect {
        Effect::AckReady { token, result } => match result {
            Ok(_) => format!("ack {}\n", token.0),
            Err(reject) => format!("ack {} {}", token.0, show_reject(reject)),
        },
        Effect::WakeFetch { token } => format!("wake fetch {}\n", token.0),
        Effect::FetchRefused { token } => format!("no place for fetch {}\n", token.0),
        Effect::FlushNow => "flush now\n".to_owned(),
        Effect::ProposeIsr(proposal) => format!(
            "propose isr {:?} on partition epoch {}\n",
            proposal.isr, proposal.partition_epoch
        ),
        Effect::EpochStarted {
            leader_epoch,
            start_offset,
        } => {
            format!("epoch {leader_epoch} starts at {start_offset}\n")
        }
        Effect::NeedsNewEpoch { leader_epoch } => {
            format!("needs an epoch above {leader_epoch}\n")
        }
    }
}

pub(crate) fn show_fetch(decision: Result<FetchDecision, ReadReject>) -> String {
    match decision {
        Ok(FetchDecision::Read { upto, .. }) => format!("read up to {upto}\n"),
        Ok(FetchDecision::Diverging { end, .. }) => {
            format!(
                "diverging: epoch {} ends at {}\n",
                end.epoch, end.end_offset
            )
        }
        Err(reject) => show_read_reject(&reject),
    }
}
