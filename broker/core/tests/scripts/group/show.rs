//! What groups answer and write, as text.

use std::fmt::Write as _;

use millrace_core::group::{
    Committed, Description, Generation, Joined, Listed, Record, Reply, Text,
};
use millrace_protocol::error_code::ErrorCode;

/// The subscription to `a+b`, version 0; `!` before text stands for bytes that are none.
pub(super) fn subscription(topics: &str) -> Vec<u8> {
    if let Some(opaque) = topics.strip_prefix('!') {
        return opaque.as_bytes().to_vec();
    }
    let topics: Vec<&str> = topics
        .split('+')
        .filter(|topic| !topic.is_empty())
        .collect();
    let mut bytes = vec![0, 0];
    bytes.extend_from_slice(&u32::try_from(topics.len()).expect("few").to_be_bytes());
    for topic in topics {
        bytes.extend_from_slice(&u16::try_from(topic.len()).expect("short").to_be_bytes());
        bytes.extend_from_slice(topic.as_bytes());
    }
    bytes.extend_from_slice(&[0xff; 4]);
    bytes
}

fn bytes(bytes: &[u8]) -> String {
    if let Some(topics) = millrace_protocol::coordinator::subscribed_topics(bytes) {
        return topics.collect::<Vec<_>>().join("+");
    }
    String::from_utf8_lossy(bytes).into_owned()
}

fn name(text: Option<&Text>) -> &str {
    text.map_or("-", |text| text)
}

pub(super) fn record(record: &Record) -> String {
    match record {
        Record::Group(group, None) => format!("{group} is gone"),
        Record::Group(group, Some(kept)) => format!("{group} {}", generation(kept)),
        Record::Offset {
            group,
            topic,
            partition,
            value,
        } => match value {
            None => format!("{group} {topic}-{partition} is gone"),
            Some(value) => format!("{group} {topic}-{partition} {}", committed(value)),
        },
    }
}

fn generation(kept: &Generation) -> String {
    let mut out = format!(
        "generation {} of {:?} by {}, leader {}:",
        kept.generation,
        kept.protocol_type,
        name(kept.protocol.as_ref()),
        name(kept.leader.as_ref())
    );
    for member in &kept.members {
        write!(out, " {}", member.member_id).expect("a string takes text");
        if let Some(instance) = &member.group_instance_id {
            write!(out, "({instance})").expect("a string takes text");
        }
        write!(out, "={}", bytes(&member.assignment)).expect("a string takes text");
    }
    out
}

fn committed(kept: &Committed) -> String {
    let expires = kept
        .expires_at_ms
        .map_or(String::new(), |at| format!(", expires at {at}"));
    format!(
        "at {} {:?} on {}{expires}",
        kept.offset, kept.metadata, kept.committed_at_ms
    )
}

pub(super) fn kept((topic, partition, kept): (&Text, i32, &Committed)) -> String {
    format!("{topic}-{partition} {}\n", committed(kept))
}

pub(super) fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Join(joined) => join(joined),
        Reply::Sync(Ok(assigned)) => format!(
            "{:?} of {} by {}",
            bytes(&assigned.assignment),
            name(assigned.protocol_type.as_ref()),
            name(assigned.protocol.as_ref())
        ),
        Reply::Sync(Err(error)) | Reply::Leave(Err(error)) | Reply::Offsets(Err(error)) => {
            error.name().to_owned()
        }
        Reply::Code(code) => code.name().to_owned(),
        Reply::Leave(Ok(codes)) | Reply::Offsets(Ok(codes)) => {
            let codes: Vec<&str> = codes.iter().map(|code| code.name()).collect();
            codes.join(", ")
        }
    }
}

fn join(joined: &Joined) -> String {
    if joined.error != ErrorCode::None {
        return format!("{} {:?}", joined.error.name(), joined.member_id);
    }
    let mut out = format!(
        "{} is in generation {} of {} by {}, leader {}",
        joined.member_id,
        joined.generation,
        name(joined.protocol_type.as_ref()),
        name(joined.protocol.as_ref()),
        joined.leader
    );
    if joined.skip_assignment {
        out.push_str(", assigns nothing");
    }
    for member in &joined.members {
        write!(out, "; {}", member.member_id).expect("a string takes text");
        if let Some(instance) = &member.group_instance_id {
            write!(out, "({instance})").expect("a string takes text");
        }
        write!(out, "={}", bytes(&member.metadata)).expect("a string takes text");
    }
    out
}

pub(super) fn description(description: Option<Description>) -> String {
    let Some(group) = description else {
        return "no such group\n".to_owned();
    };
    let mut out = format!(
        "{} in generation {} of {:?} by {:?}\n",
        group.state, group.generation, group.protocol_type, group.protocol
    );
    for member in &group.members {
        let instance = member.group_instance_id.as_ref();
        writeln!(
            out,
            "{} ({}) says {:?}, has {:?}",
            member.member_id,
            name(instance),
            bytes(&member.metadata),
            bytes(&member.assignment)
        )
        .expect("a string takes text");
    }
    out
}

pub(super) fn listed(listed: &Listed) -> String {
    format!(
        "{} {:?} {}\n",
        listed.group, listed.protocol_type, listed.state
    )
}
