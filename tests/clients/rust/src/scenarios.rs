//! The scenarios, told once for all crates, and the program that runs one of them:
//! `DRIVER BOOTSTRAP SCENARIO PREFIX`.
//!
//! Its last line is `pass`, or `n/a: FUNCTION` for what the client lacks. The line `restart` asks
//! whoever started it to kill the broker and start it again; the answer is a line, too.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::member::{Member, Writer, members_until, share};
use crate::{
    Client, FIRST_TIMESTAMP_MS, FOREVER, Failure, Outcome, Reading, Record, Start, Writing, alike,
    by_place, eventually, expected, placed, poll_until, produce, read, read_all, same, spread,
    until, wrong,
};

/// Runs the scenario that the command line names; `connect` makes the client of a bootstrap.
pub fn main<C: Client>(connect: impl FnOnce(&str) -> Outcome<C>) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, scenario, prefix] = &arguments[..] else {
        eprintln!("usage: BOOTSTRAP SCENARIO PREFIX");
        return ExitCode::from(2);
    };
    let topic = format!("{prefix}-{scenario}");
    match connect(bootstrap).and_then(|client| run(&client, scenario, &topic)) {
        Ok(()) => println!("pass"),
        Err(Failure::Lacks(function)) => println!("n/a: {function}"),
        Err(failure) => {
            eprintln!("{failure:?}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run<C: Client>(client: &C, scenario: &str, topic: &str) -> Outcome<()> {
    match scenario {
        "topics" => topics(client, topic),
        "codecs" => codecs(client, topic),
        "records" => records(client, topic),
        "idempotent" => idempotent(client, topic),
        "assign" => assign(client, topic),
        "group" => group(client, topic, false),
        "cooperative" => group(client, topic, true),
        "static" => fixed(client, topic),
        "offsets" => offsets(client, topic),
        "delete-records" => delete_records(client, topic),
        "large" => large(client, topic),
        "admin" => admin(client, topic),
        "restart" => restart(client, topic),
        other => wrong(format!("no scenario {other}")),
    }
}

/// Does what the client has; what it lacks is said at the end.
fn part(lacks: &mut Option<&'static str>, done: Outcome<()>) -> Outcome<()> {
    match done {
        Err(Failure::Lacks(function)) => {
            lacks.get_or_insert(function);
            Ok(())
        }
        other => other,
    }
}

fn ended(lacks: Option<&'static str>) -> Outcome<()> {
    lacks.map_or(Ok(()), |function| Err(Failure::Lacks(function)))
}

fn topics<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    let (name, years) = (FOREVER.0, "315360000000");
    client.create(topic, 3, FOREVER)?;
    eventually("partitions", || client.partitions(topic), vec![0, 1, 2])?;
    let config = |wanted: &str| eventually(name, || client.config(topic, name), wanted.to_owned());
    let mut lacks = None;
    part(&mut lacks, config(FOREVER.1))?;
    let altered = client.alter(topic, name, years);
    part(&mut lacks, altered.and_then(|()| config(years)))?;
    let grown = || {
        client.grow(topic, 5)?;
        let all = (0..5).collect();
        eventually("partitions", || client.partitions(topic), all)?;
        let sent = spread("topics", 0..50, 5);
        produce(client, topic, &sent, Writing::default())?;
        read(client, topic, 5, &placed(&sent))
    };
    part(&mut lacks, grown())?;
    match client.create(topic, 3, FOREVER) {
        Err(Failure::Exists) => ended(lacks),
        other => wrong(format!("made twice: {other:?}")),
    }
}

fn codecs<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("{topic}-{codec}");
        client.create(&topic, 3, FOREVER)?;
        let sent = spread("codecs", 0..100, 3);
        let how = Writing {
            codec,
            ..Writing::default()
        };
        produce(client, &topic, &sent, how)?;
        read(client, &topic, 3, &placed(&sent))?;
    }
    Ok(())
}

fn records<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    client.create(topic, 3, FOREVER)?;
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let make = |i: i32| {
        let mut record = expected("records", i, i * 7 % 3);
        match i % 8 {
            1 => record.key = None,
            2 => record.value = None,
            3 => record.value = Some(Vec::new()),
            4 => record.headers.clear(),
            5 => record.key = Some(Vec::new()),
            6 => record.headers = vec![header("h", b"1"), header("\u{fc}", b"\xff\x00")],
            7 if C::HAS_REPEATED_HEADERS => record.headers.push(header("h", b"2")),
            _ => {}
        }
        record
    };
    let sent: Vec<Record> = (0..120).map(make).collect();
    produce(client, topic, &sent, Writing::default())?;
    read(client, topic, 3, &placed(&sent))
}

fn idempotent<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    let how = Writing {
        is_idempotent: true,
        ..Writing::default()
    };
    client.create(topic, 3, FOREVER)?;
    let sent = spread("idempotent", 0..1000, 3);
    produce(client, topic, &sent, how)?;
    read(client, topic, 3, &placed(&sent))
}

fn assign<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    client.create(topic, 3, FOREVER)?;
    let mut sent = spread("assign", 0..300, 3);
    produce(client, topic, &sent, Writing::default())?;
    read(client, topic, 3, &placed(&sent))?;
    let mut consumer = client.consumer(topic, Reading::default())?;
    consumer.assign(&[(0, Start::End), (1, Start::End), (2, Start::End)])?;
    for partition in 0..3 {
        let position = || {
            same("behind the end", consumer.poll()?.len(), 0)?;
            consumer.position(partition)
        };
        eventually("the end", position, 100)?;
    }
    let later = spread("assign", 300..303, 3);
    produce(client, topic, &later, Writing::default())?;
    sent.extend(later);
    let log = placed(&sent);
    let found = by_place(poll_until(&mut *consumer, "from the end", 3)?);
    let last: Vec<Record> = log.iter().filter(|r| r.offset == 100).cloned().collect();
    alike("from the end", &found, &last)?;
    consumer.assign(&[(1, Start::At(40))])?;
    let found = poll_until(&mut *consumer, "from 40", 61)?;
    alike("from 40", &found, &log[101 + 40..202])?;
    let time = |i: i64| *FIRST_TIMESTAMP_MS + i * 1000;
    let at = |partition, time| consumer.offset_for_time(partition, time);
    same("at its time", at(0, time(150))?, Some(50))?;
    same("between two", at(0, time(150) + 1)?, Some(51))?;
    same("before all", at(2, 0)?, Some(0))?;
    same("behind all", at(2, time(400))?, None)?;
    let from = at(0, time(200))?.unwrap_or_default();
    consumer.assign(&[(0, Start::At(from))])?;
    let found = poll_until(&mut *consumer, "from a time", 34)?;
    alike("from a time", &found, &log[67..101])
}

fn group<C: Client>(client: &C, topic: &str, is_cooperative: bool) -> Outcome<()> {
    client.create(topic, 6, FOREVER)?;
    let how = Reading {
        group: Some(topic.to_owned()),
        is_cooperative,
        ..Reading::default()
    };
    let join = || Member::join(client, topic, how.clone());
    let mut first = join()?;
    members_until("the first has all", &mut [&mut first], |m| share(m, 6))?;
    let mut second = join()?;
    let mut both = [&mut first, &mut second];
    members_until("two share", &mut both, |m| share(m, 6))?;
    if is_cooperative {
        let moved = second.now().partitions;
        same("only what moves is revoked", first.revoked(), moved)?;
    }
    let mut sent = spread("group", 0..600, 6);
    produce(client, topic, &sent, Writing::default())?;
    let mut both = [&mut first, &mut second];
    let all = |count| move |m: &[_]| seen(m).len() >= count;
    members_until("600 records", &mut both, all(600))?;
    let states = [first.now(), second.now()];
    alike("what both read", &seen(&states), &placed(&sent))?;
    for state in &states {
        let mut parts: Vec<i32> = state.seen.iter().map(|r| r.partition).collect();
        parts.sort_unstable();
        parts.dedup();
        same("what one read", &parts, &state.partitions)?;
    }
    second.leave()?;
    members_until("one has all", &mut [&mut first], |m| share(m, 6))?;
    if is_cooperative {
        let stays = |partition: &i32| states[0].partitions.contains(partition);
        let lost: Vec<i32> = first.revoked().into_iter().filter(stays).collect();
        same("nothing that stays is revoked", lost, vec![])?;
    }
    sent.extend(spread("group", 600..660, 6));
    produce(client, topic, &sent[600..], Writing::default())?;
    members_until("60 more", &mut [&mut first, &mut second], all(660))?;
    let read = seen(&[first.now(), second.now()]);
    alike("what one read on", &read, &placed(&sent))?;
    first.leave()?;
    let mut third = join()?;
    members_until("the third has all", &mut [&mut third], |m| share(m, 6))?;
    sent.extend(spread("group", 660..666, 6));
    produce(client, topic, &sent[660..], Writing::default())?;
    members_until("the last 6", &mut [&mut third], all(6))?;
    let last: Vec<_> = placed(&sent)
        .into_iter()
        .filter(|r| r.offset == 110)
        .collect();
    alike("from the commit", &by_place(third.now().seen), &last)?;
    third.leave()
}

/// What members read together, in the order of the log.
fn seen(members: &[crate::member::State]) -> Vec<Record> {
    by_place(members.iter().flat_map(|m| m.seen.clone()).collect())
}

fn fixed<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    client.create(topic, 6, FOREVER)?;
    let join = |name: &str| {
        let how = Reading {
            group: Some(topic.to_owned()),
            instance: Some(format!("{topic}-{name}")),
            ..Reading::default()
        };
        Member::join(client, topic, how)
    };
    let (mut first, mut second) = (join("a")?, join("b")?);
    let mut both = [&mut first, &mut second];
    members_until("two share", &mut both, |m| share(m, 6))?;
    let mut sent = spread("static", 0..60, 6);
    produce(client, topic, &sent, Writing::default())?;
    let mut both = [&mut first, &mut second];
    members_until("60 records", &mut both, |m| seen(m).len() >= 60)?;
    let (had, changes) = (second.now().partitions, first.changes());
    second.leave()?;
    let mut again = join("b")?;
    let mut both = [&mut first, &mut again];
    members_until("it is back", &mut both, |m| share(m, 6))?;
    same("its partitions", again.now().partitions, had)?;
    sent.extend(spread("static", 60..120, 6));
    produce(client, topic, &sent[60..], Writing::default())?;
    let mut three = [&mut first, &mut second, &mut again];
    members_until("60 more", &mut three, |m| seen(m).len() >= 120)?;
    let read = seen(&[first.now(), second.now(), again.now()]);
    alike("what three read", &read, &placed(&sent))?;
    same("the other's rebalances", first.changes(), changes)?;
    first.leave()?;
    again.leave()
}

fn offsets<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    let reading = |group: String, from_end| Reading {
        group: Some(group),
        from_end,
        ..Reading::default()
    };
    let mut consumer = client.consumer(topic, reading(topic.to_owned(), false))?;
    client.create(topic, 3, FOREVER)?;
    let mut sent = spread("offsets", 0..60, 3);
    produce(client, topic, &sent, Writing::default())?;
    consumer.subscribe(Default::default())?;
    // Nothing is committed: it begins where auto.offset.reset says.
    let found = by_place(poll_until(&mut *consumer, "all", 60)?);
    alike("reset", &found, &placed(&sent))?;
    same("no commit yet", consumer.committed(0)?, None)?;
    sent.extend(spread("offsets", 60..66, 3));
    produce(client, topic, &sent[60..], Writing::default())?;
    let log = placed(&sent);
    for (partition, (_, end)) in (0..).zip(client.bounds(topic, 3)?) {
        same("lag", end - consumer.position(partition)?, 2)?;
    }
    let found = by_place(poll_until(&mut *consumer, "more", 6)?);
    let more: Vec<Record> = log.iter().filter(|r| r.offset >= 20).cloned().collect();
    alike("more", &found, &more)?;
    for (partition, (_, end)) in (0..).zip(client.bounds(topic, 3)?) {
        same("no lag", end - consumer.position(partition)?, 0)?;
    }
    consumer.commit(&BTreeMap::from([(0, 5), (2, 20)]))?;
    same("committed", consumer.committed(0)?, Some(5))?;
    consumer.commit_async(&BTreeMap::from([(1, 7)]))?;
    eventually("committed later", || consumer.committed(1), Some(7))?;
    consumer.seek(0, 3)?;
    let found = poll_until(&mut *consumer, "seek", 19)?;
    alike("behind a seek", &found, &log[3..22])?;
    consumer.pause(1)?;
    for partition in 0..3 {
        consumer.seek(partition, 0)?;
    }
    let found = by_place(poll_until(&mut *consumer, "44", 44)?);
    let unpaused = [&log[..22], &log[44..]].concat();
    alike("but the paused", &found, &unpaused)?;
    same("the paused", consumer.poll()?.len(), 0)?;
    consumer.resume(1)?;
    let found = poll_until(&mut *consumer, "22", 22)?;
    alike("resumed", &found, &log[22..44])?;
    consumer.seek(2, 1000)?;
    let found = poll_until(&mut *consumer, "22", 22)?;
    alike("reset from beyond the end", &found, &log[44..])?;
    drop(consumer);
    let mut back = client.consumer(topic, reading(topic.to_owned(), false))?;
    back.subscribe(Default::default())?;
    let found = by_place(poll_until(&mut *back, "34", 34)?);
    let wanted = [&log[5..22], &log[29..44], &log[64..]].concat();
    alike("from the commits", &found, &wanted)?;
    drop(back);
    let mut late = client.consumer(topic, reading(format!("{topic}-late"), true))?;
    late.subscribe(Default::default())?;
    let at_end = || {
        same("behind the end", late.poll()?.len(), 0)?;
        Ok(late.assignment()?.len() == 3 && late.position(0)? == 22)
    };
    until("latest", at_end, String::new)
}

fn delete_records<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    client.create(topic, 3, FOREVER)?;
    let sent = spread("delete-records", 0..60, 3);
    produce(client, topic, &sent, Writing::default())?;
    client.delete_records(topic, 1, 7)?;
    let wanted = vec![(0, 20), (7, 20), (0, 20)];
    eventually("log start", || client.bounds(topic, 3), wanted)?;
    let log = placed(&sent);
    read(client, topic, 3, &[&log[..20], &log[27..]].concat())
}

fn large<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    client.create(topic, 1, FOREVER)?;
    let sized = |i, size: usize| {
        let mut record = expected("large", i, 0);
        record.value = Some((0..size).map(|n| (n % 251) as u8).collect());
        record
    };
    let how = Writing {
        request_bytes_max: 4 << 20,
        ..Writing::default()
    };
    let producer = client.producer(topic, how)?;
    let (passes, after) = (sized(0, 900 << 10), expected("large", 2, 0));
    same("900 KiB", producer.send(&[passes.clone()])?, vec![0])?;
    match producer.send(&[sized(1, 2 << 20)]) {
        Err(Failure::TooLarge) => {}
        other => return wrong(format!("2 MiB: {other:?}")),
    }
    same("the next", producer.send(&[after.clone()])?, vec![1])?;
    read(client, topic, 1, &placed(&[passes, after]))
}

fn admin<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    let other = format!("{topic}-other");
    let both = [topic, &other];
    for name in both {
        client.create(name, 1, FOREVER)?;
    }
    let listed = || {
        let mut listed = client.list_topics()?;
        listed.retain(|name| both.contains(&name.as_str()));
        Ok(listed.len())
    };
    eventually("topics", listed, 2)?;
    let mut lacks = None;
    let cluster = client.describe_cluster();
    let described = cluster.and_then(|(brokers, controller)| {
        same("one broker is the controller", brokers, vec![controller])
    });
    part(&mut lacks, described)?;
    part(&mut lacks, admin_of_group(client, topic))?;
    client.delete_topics(&both)?;
    eventually("topics", listed, 0)?;
    ended(lacks)
}

fn admin_of_group<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    let how = Reading {
        group: Some(topic.to_owned()),
        ..Reading::default()
    };
    let mut member = Member::join(client, topic, how)?;
    members_until("it has all", &mut [&mut member], |m| share(m, 1))?;
    produce(
        client,
        topic,
        &[expected("admin", 0, 0)],
        Writing::default(),
    )?;
    let commit = BTreeMap::from([(0, 1)]);
    members_until("a commit", &mut [&mut member], |m| m[0].committed == commit)?;
    let is_listed = || Ok(client.list_groups()?.iter().any(|group| group == topic));
    same("listed", is_listed()?, true)?;
    let stable = ("Stable".to_owned(), 1);
    same("described", client.describe_group(topic)?, stable)?;
    member.leave()?;
    let empty = ("Empty".to_owned(), 0);
    same("without members", client.describe_group(topic)?, empty)?;
    client.delete_group(topic)?;
    eventually("groups", is_listed, false)
}

fn restart<C: Client>(client: &C, topic: &str) -> Outcome<()> {
    client.create(topic, 2, FOREVER)?;
    let mut writers = vec![Writer::start(
        client.producer(topic, Writing::default())?,
        0,
    )];
    let mut lacks = None;
    let sure = Writing {
        is_idempotent: true,
        ..Writing::default()
    };
    match client.producer(topic, sure) {
        Ok(producer) => writers.push(Writer::start(producer, 1)),
        Err(failure) => part(&mut lacks, Err(failure))?,
    }
    let how = Reading {
        group: Some(topic.to_owned()),
        ..Reading::default()
    };
    let mut member = match Member::join(client, topic, how) {
        Ok(member) => Some(member),
        Err(failure) => {
            part(&mut lacks, Err(failure))?;
            None
        }
    };
    progress(&mut writers, member.as_mut(), 200)?;
    let before = member.as_ref().map(Member::now);
    println!("restart");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    same("the frame's answer", answer.as_str(), "restarted\n")?;
    progress(&mut writers, member.as_mut(), 200)?;
    for writer in &mut writers {
        writer.end()?;
    }
    let log = read_all(client, topic, 2)?;
    if let (Some(mut member), Some(before)) = (member, before) {
        went_on(&mut member, &before, &log)?;
    }
    let kept = |partition| {
        log.iter()
            .filter(move |r| r.partition == partition)
            .cloned()
    };
    let plain: Vec<Record> = kept(0).collect();
    for record in writers[0].acknowledged() {
        let found = plain.get(record.offset as usize);
        same("acknowledged", found, Some(&record))?;
    }
    if let Some(sure) = writers.get(1) {
        let kept: Vec<Record> = kept(1).collect();
        alike("each once", &kept, &sure.acknowledged())?;
    }
    ended(lacks)
}

/// Waits until each writer has so many more acknowledgements, and the member has committed.
fn progress(writers: &mut [Writer], member: Option<&mut Member>, count: usize) -> Outcome<()> {
    for writer in &mut *writers {
        let wanted = writer.count()? + count;
        until(
            "acknowledgements",
            || Ok(writer.count()? >= wanted),
            String::new,
        )?;
    }
    let Some(member) = member else {
        return Ok(());
    };
    let partitions = writers.len();
    members_until("commits", &mut [member], |m| {
        m[0].committed.len() == partitions
    })
}

/// The group has read all, and nothing that was committed before the kill.
fn went_on(member: &mut Member, before: &crate::member::State, log: &[Record]) -> Outcome<()> {
    let ends: BTreeMap<i32, i64> = log.iter().map(|r| (r.partition, r.offset + 1)).collect();
    members_until("all is committed", &mut [member], |m| {
        m[0].committed == ends
    })?;
    member.leave()?;
    let now = member.now();
    for record in &now.seen[before.seen.len()..] {
        if record.offset < before.committed[&record.partition] {
            return wrong(format!("{record:?} was committed before"));
        }
    }
    let mut once = by_place(now.seen);
    once.dedup();
    alike("what the group read", &once, log)
}
