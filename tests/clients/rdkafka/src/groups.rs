//! librdkafka's consumer groups: eager, cooperative and static members join, share the partitions,
//! leave and come back; what they commit is where the next one begins.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::{Outcome, PARTITIONS, PATIENCE, RECORDS, block_on, client};

/// A member that has read all there is sees nothing more for that long.
const SILENCE: Duration = Duration::from_secs(1);

/// Groups that read `topic`.
pub(crate) fn run(bootstrap: &str, topic: &str) -> Outcome<()> {
    for strategy in ["range", "cooperative-sticky"] {
        shared(bootstrap, topic, strategy)?;
    }
    fixed(bootstrap, topic)
}

fn member(
    bootstrap: &str,
    topic: &str,
    group: &str,
    more: &[(&str, &str)],
) -> Outcome<BaseConsumer> {
    let mut config = client(bootstrap);
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("heartbeat.interval.ms", "200");
    for (key, value) in more {
        config.set(*key, *value);
    }
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// Has every member poll in turn and commit what it read, until each has as many partitions as is
/// wanted and so many records were read; what was read, in all.
fn until(
    what: &str,
    members: &[&BaseConsumer],
    wanted: &[usize],
    read: &mut usize,
    records: usize,
) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut has = Vec::new();
        for member in members {
            has.push(member.assignment()?.count());
        }
        if has == wanted && *read >= records {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{what}: {has:?} in place of {wanted:?}, {read} read").into());
        }
        for member in members {
            if let Some(message) = member.poll(Duration::from_millis(20)) {
                let message = message?;
                *read += 1;
                member.store_offset_from_message(&message)?;
                member.commit_message(&message, CommitMode::Sync)?;
            }
        }
    }
}

fn shared(bootstrap: &str, topic: &str, strategy: &str) -> Outcome<()> {
    let group = format!("rdkafka {strategy}");
    let how = [
        ("partition.assignment.strategy", strategy),
        ("enable.auto.offset.store", "false"),
    ];
    let join = || member(bootstrap, topic, &group, &how);
    let all = PARTITIONS as usize;
    let mut read = 0;
    let first = join()?;
    until(&group, &[&first], &[all], &mut read, RECORDS)?;
    let second = join()?;
    let share = |has: &[usize]| has.iter().sum::<usize>() == all && !has.contains(&0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let has = [first.assignment()?.count(), second.assignment()?.count()];
        if share(&has) {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!("{group}: two have {has:?}").into());
        }
        for member in [&first, &second] {
            if let Some(message) = member.poll(Duration::from_millis(20)) {
                return Err(format!("{group}: read again: {:?}", message?).into());
            }
        }
    }
    drop(second);
    until(&group, &[&first], &[all], &mut read, RECORDS)?;
    let admin: AdminClient<_> = client(bootstrap).create()?;
    let refused = block_on(admin.delete_groups(&[&group], &AdminOptions::new()))?;
    if refused.iter().all(Result::is_ok) {
        return Err(format!("{group} was deleted with a member").into());
    }
    drop(first);
    if read != RECORDS {
        return Err(format!("{group}: {read} of {RECORDS} were read").into());
    }
    let next = join()?;
    let mut again = 0;
    until(&group, &[&next], &[all], &mut again, 0)?;
    if let Some(message) = next.poll(SILENCE) {
        return Err(format!("{group}: read again: {:?}", message?).into());
    }
    drop(next);
    rewind(bootstrap, topic, &group)?;
    let last = join()?;
    until(&group, &[&last], &[all], &mut again, RECORDS)?;
    drop(last);
    for deleted in block_on(admin.delete_groups(&[&group], &AdminOptions::new()))? {
        deleted.map_err(|(group, code)| format!("{group} was not deleted: {code}"))?;
    }
    Ok(())
}

/// Commits the beginning, as a tool does while nobody is a member.
fn rewind(bootstrap: &str, topic: &str, group: &str) -> Outcome<()> {
    let tool: BaseConsumer = client(bootstrap).set("group.id", group).create()?;
    let mut start = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        start.add_partition_offset(topic, partition, Offset::Offset(0))?;
    }
    tool.commit(&start, CommitMode::Sync)?;
    Ok(())
}

/// A static member that comes back has its part again.
fn fixed(bootstrap: &str, topic: &str) -> Outcome<()> {
    let group = "rdkafka static";
    let join = |name: &str| {
        let how = [
            ("group.instance.id", name),
            ("enable.auto.offset.store", "false"),
        ];
        member(bootstrap, topic, group, &how)
    };
    let all = PARTITIONS as usize;
    let mut read = 0;
    let first = join("one")?;
    until(group, &[&first], &[all], &mut read, RECORDS)?;
    let second = join("two")?;
    until(group, &[&first, &second], &[2, 1], &mut read, RECORDS)?;
    drop(second);
    let back = join("two")?;
    until(group, &[&back], &[1], &mut read, RECORDS)?;
    let listed = first.fetch_group_list(Some(group), PATIENCE)?;
    let found = listed.groups().first();
    let seen = found.map(|group| (group.state().to_owned(), group.members().len()));
    if seen != Some(("Stable".to_owned(), 2)) {
        return Err(format!("{group} is {seen:?}").into());
    }
    Ok(())
}
