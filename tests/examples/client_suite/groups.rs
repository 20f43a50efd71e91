//! Groups of our members alone: static ones, where a member begins, and how it is moved about.
//!
//! What always holds: offsets are those that the records were acknowledged at, each read by who should.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_client::{
    Admin, Assignor, Cluster, Consumer, ConsumerOptions, GroupOptions, OffsetOf, OffsetOrFind,
    Reset, TopicPartition,
};
use millrace_protocol::error_code::ErrorCode;

use crate::stage::{Stage, from_the_start, is_code, one, same, text};

const PARTITIONS: i32 = 6;

/// A member's options: it says often that it lives, and commits nothing by itself.
pub(crate) fn quick(group: &str, topic: &str) -> GroupOptions {
    GroupOptions {
        session_timeout: Duration::from_secs(20),
        heartbeat_interval: Duration::from_millis(300),
        commit_interval: None,
        ..GroupOptions::new(group, [topic])
    }
}

/// What somebody owns, by number.
pub(crate) fn owned(consumer: &Consumer) -> Vec<i32> {
    let all = consumer.assignment();
    all.into_iter().map(|one| one.partition).collect()
}

/// A static member that comes back has its partitions again and the others notice nothing; two of one
/// name exclude each other.
pub(crate) async fn of_static_members(stage: &Stage) -> crate::Told {
    let cluster = stage.topic("static", PARTITIONS).await?;
    let named = |name: &str| {
        let group = GroupOptions {
            instance_id: Some(name.to_owned()),
            assignors: vec![Assignor::Range],
            ..quick("static-group", "static")
        };
        Consumer::subscribe(&cluster, from_the_start(), group).map_err(text)
    };
    let (one, two) = (named("one")?, named("two")?);
    shared_evenly(stage, &[&one, &two]).await?;
    let (had, before) = (owned(&two), two.membership());
    let generation = before.map(|membership| membership.generation);
    two.close().await.map_err(text)?;
    let back = named("two")?;
    stage
        .until("its partitions again", async || {
            let now = owned(&back);
            Ok((now != had).then(|| format!("it has {now:?}, and had {had:?}")))
        })
        .await?;
    for member in [&one, &back] {
        let now = member.membership().map(|membership| membership.generation);
        same("the generation", now, generation)?;
    }
    stage.produce(&cluster, "static", PARTITIONS, 0..60).await?;
    for member in [&one, &back] {
        let mine = owned(member);
        for record in stage.take(member, 30).await? {
            same("a record's owner", mine.contains(&record.partition), true)?;
        }
    }
    let twin = named("one")?;
    let told = async {
        loop {
            if let Err(error) = one.next().await {
                return error;
            }
        }
    };
    let told = stage
        .within("who has its name no more to hear", told)
        .await?;
    if !is_code(&told, ErrorCode::FencedInstanceId) {
        return Err(format!("the older twin was told: {told}"));
    }
    shared_evenly(stage, &[&twin, &back]).await?;
    twin.close().await.map_err(text)?;
    back.close().await.map_err(text)?;
    let described = Admin::new(&cluster);
    let described = crate::stage::one(described.describe_groups(&["static-group"]).await);
    let members = described.map_err(text)?.members.len();
    same("static members that closed and stay", members, 2)?;
    Ok("60 records; back in its generation, a twin is fenced".to_owned())
}

/// Waits until each has as much as the others, and all together everything.
async fn shared_evenly(stage: &Stage, members: &[&Consumer]) -> Result<(), String> {
    let each = usize::try_from(PARTITIONS).unwrap_or(0) / members.len();
    let shared = stage.until("members that share", async || {
        // Who asks says that it is alive; nothing is there to be read.
        let owned: Vec<_> = members.iter().map(|member| owned(member)).collect();
        let mut all: Vec<i32> = owned.iter().flatten().copied().collect();
        all.sort_unstable();
        let even = owned.iter().all(|one| one.len() == each);
        let whole = all.iter().copied().eq(0..PARTITIONS);
        Ok((!even || !whole).then(|| format!("they have {owned:?}")))
    });
    shared.await
}

/// Where a member begins that has no offset, or one that isn't there any more.
pub(crate) async fn resets(stage: &Stage) -> crate::Told {
    let cluster = stage.topic("resets", 1).await?;
    stage.produce(&cluster, "resets", 1, 0..20).await?;
    let admin = Admin::new(&cluster);
    let partition = TopicPartition::new("resets", 0);
    let before = BTreeMap::from([(partition.clone(), Some(12))]);
    let first = one(admin.delete_records(before).await).map_err(text)?;
    same("the first offset left", first, 12)?;
    let member = |group: &str, reset| {
        let options = ConsumerOptions {
            reset,
            ..ConsumerOptions::default()
        };
        Consumer::subscribe(&cluster, options, quick(group, "resets")).map_err(text)
    };
    let earliest = member("resets-earliest", Reset::Earliest)?;
    let read = stage.take(&earliest, 8).await?;
    same("where it begins from the start", read[0].offset, 12)?;
    // In the log no more: it goes on where there is something.
    let to = OffsetOrFind::Offset(3);
    earliest.seek("resets", 0, to).map_err(text)?;
    let read = stage.take(&earliest, 8).await?;
    same("where it goes on from what is deleted", read[0].offset, 12)?;
    let latest = member("resets-latest", Reset::Latest)?;
    stage
        .until("the position at the end", async || {
            let at = latest.position("resets", 0).unwrap_or(None);
            Ok((at != Some(20)).then(|| format!("it is at {at:?}")))
        })
        .await?;
    stage.produce(&cluster, "resets", 1, 20..21).await?;
    let read = stage.take(&latest, 1).await?;
    same("what it reads from the end", read[0].offset, 20)?;
    let fails = member("resets-fail", Reset::Fail)?;
    let told = stage.within("an error", fails.next()).await?;
    let Err(error) = told else {
        return Err("who wants no reset was given records".to_owned());
    };
    same("an error that no retry mends", error.is_retriable(), false)?;
    fails
        .seek("resets", 0, OffsetOrFind::Offset(15))
        .map_err(text)?;
    let read = stage.take(&fails, 6).await?;
    same("where it was told to go on", read[0].offset, 15)?;
    for member in [earliest, latest, fails] {
        member.close().await.map_err(text)?;
    }
    Ok(format!("earliest, latest, and none: {error}"))
}

/// By time, by offset, to the beginning and the end; pauses.
pub(crate) async fn moves(stage: &Stage) -> crate::Told {
    let cluster = stage.topic("moves", 3).await?;
    stage.produce(&cluster, "moves", 3, 0..90).await?;
    let reader = stage.reader(&cluster, "moves", 3, from_the_start()).await?;
    stage.take(&reader, 90).await?;
    by_time(stage, &reader).await?;
    reader
        .seek("moves", 0, OffsetOrFind::Offset(25))
        .map_err(text)?;
    reader
        .seek("moves", 1, OffsetOrFind::Find(OffsetOf::Start))
        .map_err(text)?;
    reader
        .seek("moves", 2, OffsetOrFind::Find(OffsetOf::End))
        .map_err(text)?;
    reader.pause("moves", 1).map_err(text)?;
    let read = stage.take(&reader, 5).await?;
    let all_of_0 = read.iter().all(|record| record.partition == 0);
    same("what is read while another pauses", all_of_0, true)?;
    same("where it goes on", read[0].offset, 25)?;
    reader.resume("moves", 1).map_err(text)?;
    let read = stage.take(&reader, 30).await?;
    let offsets: Vec<_> = read.iter().map(|record| record.offset).collect();
    same("what is read once it goes on", offsets, (0..30).collect())?;
    lags(stage, &cluster, &reader).await?;
    let absent = reader.seek("moves", 9, OffsetOrFind::Offset(0));
    same("a seek in what isn't assigned", absent.is_err(), true)?;
    Ok("90 records by time, offset, beginning, end; one paused".to_owned())
}

async fn by_time(stage: &Stage, reader: &Consumer) -> Result<(), String> {
    let time = |number| OffsetOf::Time(stage.time_of(number));
    let asked = [
        (0, time(45), Some(15)),
        // Between two records the later one counts.
        (1, OffsetOf::Time(stage.time_of(43) + 1), Some(15)),
        (2, time(1000), None),
        (2, OffsetOf::Start, Some(0)),
        (2, OffsetOf::End, Some(30)),
    ];
    for (partition, of, wanted) in asked {
        let found = reader.offset_of("moves", partition, of).await;
        let what = format!("the offset of {of:?} in {partition}");
        same(&what, found.map_err(text)?, wanted)?;
    }
    reader
        .seek("moves", 0, OffsetOrFind::Find(time(45)))
        .map_err(text)?;
    let read = stage.take(reader, 15).await?;
    same("where a time leads to", read[0].offset, 15)?;
    same("its time", read[0].timestamp_ms, stage.time_of(45))
}

async fn lags(stage: &Stage, cluster: &Cluster, reader: &Consumer) -> Result<(), String> {
    for partition in 0..3 {
        let at = reader.position("moves", partition).map_err(text)?;
        same("the position at the end", at, Some(30))?;
        let lag = reader.lag("moves", partition).map_err(text)?;
        same("the lag at the end", lag, Some(0))?;
    }
    reader.pause("moves", 2).map_err(text)?;
    stage.produce(cluster, "moves", 3, 90..93).await?;
    let read = stage.take(reader, 2).await?;
    let one_is_left_out = read.iter().all(|record| record.partition < 2);
    same("what is read while one pauses", one_is_left_out, true)?;
    reader.resume("moves", 2).map_err(text)?;
    let read = stage.take(reader, 1).await?;
    same("what waited", (read[0].partition, read[0].offset), (2, 30))
}
