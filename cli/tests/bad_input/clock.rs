//! A clock that is a year off at a start, in both directions: no segment is deleted early, no leader
//! changes, no record is lost, and what comes later is taken.

use std::path::PathBuf;
use std::process::Command;

use millrace_client::{Client, NewTopic, OffsetOf, Topic};

use crate::stage::{Node, Place, connect, everything, now_ms, produce_batch, record_of};

/// Shifts what a process is told of the wall clock; linked before the C library's own.
const SHIFT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int told = real(id, at);
    if (told == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        at->tv_sec += atoll(getenv("SHIFT_S"));
    return told;
}
"#;
const YEAR_S: i64 = 366 * 24 * 60 * 60;
/// The segments of a topic are at least that long.
const SEGMENT: usize = 1 << 20;
/// Passes of retention come this often.
const OFTEN: &str = "log.retention.check.interval.ms=50";
/// What is removed goes from the disk at once.
const AT_ONCE: &str = "log.segment.delete.delay.ms=1";

fn shim(place: &Place) -> PathBuf {
    let (source, built) = (place.path("shift.c"), place.path("shift.so"));
    std::fs::write(&source, SHIFT).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&built);
    compiler.arg(&source).arg("-ldl");
    assert!(
        compiler.status().unwrap().success(),
        "a C compiler is needed"
    );
    built
}

/// A broker that believes it is so many seconds later.
fn start(place: &Place, shim: &PathBuf, shift_s: i64) -> Node {
    let mut command = place.serve(&["data"], &[OFTEN, AT_ONCE]);
    command.env("LD_PRELOAD", shim);
    command.env("SHIFT_S", shift_s.to_string());
    Node::start(place, command)
}

/// Has a record of the machine's time acknowledged, which is the broker's and its clients'.
async fn append(client: &Client, topic: &Topic, shift_s: i64, value: &[u8]) -> i64 {
    let batch = record_of(now_ms() + shift_s * 1000, value);
    produce_batch(client, topic, batch).await.unwrap()
}

async fn fill(client: &Client, topic: &Topic, shift_s: i64, segments: usize) {
    for _ in 0..segments * 2 {
        append(client, topic, shift_s, &vec![b'v'; SEGMENT * 3 / 4]).await;
    }
}

/// Its leader and the leader's epoch.
async fn led_by(client: &Client, topic: &Topic) -> (i32, i32) {
    let answer = client.metadata(Some(&[&topic.name])).await.unwrap();
    let row = answer.read().unwrap().topics.into_iter().next().unwrap();
    let row = row.partitions.into_iter().next().unwrap();
    (row.leader_id, row.leader_epoch)
}

#[test]
fn a_year_off_deletes_nothing_elects_nobody_and_loses_nothing() {
    for ending in ["stopped", "killed"] {
        let place = Place::new();
        let shim = shim(&place);
        let host = place.host();
        let node = start(&place, &shim, 0);
        let wish = |name: &str| NewTopic::new(name, 1).with("segment.bytes", SEGMENT.to_string());
        let (by_time, leader) = place.block_on(async {
            let client = connect(&host, &node).await;
            // A day: far below a year, far above the test.
            let wish = wish("by-time").with("retention.ms", "86400000");
            let topic = client.create_topic(&wish).await.unwrap();
            fill(&client, &topic, 0, 3).await;
            let leader = led_by(&client, &topic).await;
            (topic, leader)
        });
        let mut node = node;
        let mut count = 6;
        for shift_s in [YEAR_S, 0, -YEAR_S, 0] {
            if ending == "killed" {
                node.kill();
            } else {
                node.stop();
            }
            node = start(&place, &shim, shift_s);
            place.block_on(async {
                let client = connect(&host, &node).await;
                assert_eq!(
                    led_by(&client, &by_time).await,
                    leader,
                    "{ending}, {shift_s}"
                );
                // Another topic's retention by size shows that passes have been made meanwhile.
                let witness = format!("by-size{shift_s}-{count}");
                let wish = wish(&witness).with("retention.bytes", "1");
                let wish = wish.with("message.timestamp.type", "LogAppendTime");
                let witness = client.create_topic(&wish).await.unwrap();
                for passes in 1..=3 {
                    fill(&client, &witness, shift_s, 1).await;
                    place
                        .until("a pass of retention", async || {
                            let start = client.list_offset(&witness, 0, OffsetOf::Start).await;
                            start.unwrap() >= Some(passes * 2 - 1)
                        })
                        .await;
                }
                // What the broker stamps shows which time it believes it is.
                let hour_ms = 3_600_000;
                for (away_ms, is_later) in [(-hour_ms, true), (hour_ms, false)] {
                    let time = OffsetOf::Time(now_ms() + shift_s * 1000 + away_ms);
                    let found = client.list_offset(&witness, 0, time).await.unwrap();
                    assert_eq!(found.is_some(), is_later, "{shift_s}");
                }
                let doubted = node.metric("millrace_log_directory_clock_doubted", "");
                assert_eq!(doubted, u64::from(shift_s != 0), "{shift_s}");
                let seen = everything(&client, &by_time).await;
                let offsets: Vec<i64> = seen.iter().map(|(offset, _)| *offset).collect();
                let expected: Vec<i64> = (0..count).collect();
                assert_eq!(offsets, expected, "{ending}, {shift_s}");
                assert_eq!(append(&client, &by_time, shift_s, b"later").await, count);
                count += 1;
            });
        }
        assert!(node.log().contains("the wall clock stepped"));
        node.stop();
    }
}
