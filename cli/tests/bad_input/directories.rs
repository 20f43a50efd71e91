//! Log directories that go away, come back elsewhere or were never there: what was acknowledged is
//! there or its partition is offline and told so; what still has its directory is served.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use millrace_client::{Client, Error, Topic};
use millrace_protocol::error_code::ErrorCode;

use crate::stage::{Node, Place, connect, everything, produce, says, topic};

/// With the metadata, and beside it.
const BOTH: [&str; 2] = ["data", "more"];
/// The exit code where machine or data stand in the way.
const IN_THE_WAY: i32 = 1;

/// Topics of one partition, the first in `data`, the second in `more`.
async fn one_in_each(place: &Place, client: &Client) -> [Topic; 2] {
    let mut found = [None, None];
    for number in 0..100 {
        let name = format!("t{number}");
        let made = topic(client, &name).await;
        produce(client, &made, b"first").await.unwrap();
        let at = usize::from(place.path("more").join(format!("{name}-0")).exists());
        found[at].get_or_insert(made);
        if let [Some(data), Some(more)] = &found {
            return [data.clone(), more.clone()];
        }
    }
    panic!("all topics are in one directory");
}

fn is_storage_error(result: &Result<i64, Error>) -> bool {
    matches!(
        result,
        Err(Error::Broker {
            code: ErrorCode::KafkaStorageError | ErrorCode::NotLeaderOrFollower,
            ..
        })
    )
}

/// One that acknowledges is done with until the directory is back; one that doesn't says so.
async fn is_lost(client: &Client, topic: &Topic) {
    for _ in 0..3 {
        let refused = produce(client, topic, b"lost").await;
        assert!(is_storage_error(&refused), "{refused:?}");
    }
}

async fn serves(client: &Client, topic: &Topic, values: &[&[u8]]) {
    let seen = everything(client, topic).await;
    let seen: Vec<&[u8]> = seen.iter().map(|(_, value)| value.as_slice()).collect();
    assert_eq!(seen, values, "{}", topic.name);
}

/// What somebody does to a directory that is in use.
type Strike = fn(&Path);

const STRIKES: &[(&str, Strike)] = &[
    ("renamed", |path| {
        fs::rename(path, path.with_extension("gone")).unwrap();
    }),
    ("removed and made again", |path| {
        fs::rename(path, path.with_extension("gone")).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("replaced by a file", |path| {
        fs::rename(path, path.with_extension("gone")).unwrap();
        fs::write(path, "not a directory").unwrap();
    }),
    ("replaced by a name that leads nowhere", |path| {
        fs::rename(path, path.with_extension("gone")).unwrap();
        symlink("nowhere", path).unwrap();
    }),
];

fn put_back(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|there| there.is_dir()) {
        fs::remove_dir(path).unwrap();
    } else if fs::symlink_metadata(path).is_ok() {
        fs::remove_file(path).unwrap();
    }
    fs::rename(path.with_extension("gone"), path).unwrap();
}

#[test]
fn a_directory_that_goes_away_takes_nothing_more_and_all_is_there_when_it_is_back() {
    for (what, strike) in STRIKES {
        let place = Place::new();
        let node = place.start(&BOTH);
        let host = place.host();
        let [kept, lost] = place.block_on(async {
            let client = connect(&host, &node).await;
            let [kept, lost] = one_in_each(&place, &client).await;
            strike(&place.path("more"));
            is_lost(&client, &lost).await;
            produce(&client, &kept, b"second").await.unwrap();
            // New topics go where they can be written.
            for number in 0..4 {
                let new = topic(&client, &format!("new{number}")).await;
                produce(&client, &new, b"first").await.unwrap();
            }
            serves(&client, &kept, &[b"first", b"second"]).await;
            [kept, lost]
        });
        assert_eq!(
            node.metric("millrace_log_directories_offline", ""),
            1,
            "{what}"
        );
        says(
            &node.log(),
            &["log directory is offline", "removed, renamed or replaced"],
        );
        node.stop();
        put_back(&place.path("more"));
        let node = place.start(&BOTH);
        place.block_on(async {
            let client = connect(&host, &node).await;
            serves(&client, &kept, &[b"first", b"second"]).await;
            // What was refused may be there, as behind any error that leaves it open, once.
            let seen = everything(&client, &lost).await;
            assert_eq!(seen[0], (0, b"first".to_vec()), "{what}");
            assert!(seen.len() <= 2, "{what}: {seen:?}");
            produce(&client, &lost, b"second").await.unwrap();
        });
        node.stop();
    }
}

#[test]
fn the_directory_with_the_metadata_takes_the_process_with_it_also_when_nobody_asks() {
    for (what, strike) in STRIKES {
        let place = Place::new();
        let mut node = place.start(&["data"]);
        strike(&place.path("data"));
        let mut status = None;
        place.block_on(place.until("the end of the process", async || {
            status = node.ended();
            status.is_some()
        }));
        assert_eq!(status.unwrap().code(), Some(IN_THE_WAY), "{what}");
        let words = ["holds the cluster's metadata", "then start again"];
        says(&node.log(), &words);
    }
}

#[test]
fn removed_with_all_its_files_it_acknowledges_nothing_more() {
    let place = Place::new();
    let node = place.start(&BOTH);
    let host = place.host();
    let [kept, lost] = place.block_on(async {
        let client = connect(&host, &node).await;
        let [kept, lost] = one_in_each(&place, &client).await;
        fs::remove_dir_all(place.path("more")).unwrap();
        is_lost(&client, &lost).await;
        produce(&client, &kept, b"second").await.unwrap();
        [kept, lost]
    });
    node.kill();
    // Missing at the start, then an empty one in its place: neither is begun anew.
    for _ in 0..2 {
        let node = place.start(&BOTH);
        place.block_on(async {
            let client = connect(&host, &node).await;
            serves(&client, &kept, &[b"first", b"second"]).await;
            is_lost(&client, &lost).await;
        });
        assert_eq!(node.metric("millrace_log_directories_offline", ""), 1);
        assert!(node.metric("millrace_partitions_offline", "") >= 1);
        says(&node.log(), &["is missing", "mount"]);
        node.stop();
        let more = place.path("more");
        fs::create_dir_all(&more).unwrap();
        assert_eq!(fs::read_dir(&more).unwrap().count(), 0);
    }
}

#[test]
fn directories_exchanged_between_two_starts_are_known_by_what_they_hold() {
    let place = Place::new();
    let node = place.start(&BOTH);
    let host = place.host();
    let topics = place.block_on(async {
        let client = connect(&host, &node).await;
        one_in_each(&place, &client).await
    });
    node.kill();
    let [data, more, aside] = [BOTH[0], BOTH[1], "aside"].map(|name| place.path(name));
    for names in [BOTH, ["more", "data"]] {
        fs::rename(&data, &aside).unwrap();
        fs::rename(&more, &data).unwrap();
        fs::rename(&aside, &more).unwrap();
        let node = place.start(&names);
        place.block_on(async {
            let client = connect(&host, &node).await;
            for topic in &topics {
                assert_eq!(everything(&client, topic).await[0].1, b"first");
                produce(&client, topic, b"more").await.unwrap();
            }
        });
        node.kill();
    }
}

#[test]
fn a_directory_of_another_broker_is_refused_and_its_owner_goes_on() {
    let place = Place::new();
    let owner = place.start(&["shared"]);
    let host = place.host();
    let in_use = ["shared", "in use", "log.dirs"];
    Place::refuses(place.serve(&["shared"], &[]), IN_THE_WAY, &in_use);
    Place::refuses(
        place.serve(&["own", "shared"], &[]),
        IN_THE_WAY,
        &["shared"],
    );
    Place::refuses(
        place.serve(&["shared", "own"], &[]),
        IN_THE_WAY,
        &["shared"],
    );
    place.block_on(async {
        let client = connect(&host, &owner).await;
        let made = topic(&client, "t").await;
        produce(&client, &made, b"first").await.unwrap();
        serves(&client, &made, &[b"first"]).await;
    });
    owner.stop();
    place.start(&["shared"]).stop();
}

#[test]
fn a_name_that_leads_to_a_directory_is_as_good_and_two_to_one_are_refused() {
    let place = Place::new();
    fs::create_dir(place.path("disk")).unwrap();
    symlink("disk", place.path("data")).unwrap();
    let host = place.host();
    let node = place.start(&["data"]);
    let made = place.block_on(async {
        let client = connect(&host, &node).await;
        let made = topic(&client, "t").await;
        produce(&client, &made, b"first").await.unwrap();
        made
    });
    node.kill();
    let twice = ["disk", "data"];
    Place::refuses(
        place.serve(&twice, &[]),
        IN_THE_WAY,
        &["disk", "data", "log.dirs"],
    );
    // Led elsewhere while it serves, it is not where it was opened.
    let mut node = place.start(&["data"]);
    fs::create_dir(place.path("other")).unwrap();
    fs::remove_file(place.path("data")).unwrap();
    symlink("other", place.path("data")).unwrap();
    place.block_on(place.until("its end", async || node.ended().is_some()));
    assert_eq!(fs::read_dir(place.path("other")).unwrap().count(), 0);
    let node = place.start(&["disk"]);
    place.block_on(async {
        let client = connect(&host, &node).await;
        serves(&client, &made, &[b"first"]).await;
    });
    node.stop();
}

#[test]
fn a_file_in_the_place_of_one_of_several_leaves_the_others_served() {
    let place = Place::new();
    let host = place.host();
    let node = place.start(&BOTH);
    let [kept, lost] = place.block_on(async {
        let client = connect(&host, &node).await;
        one_in_each(&place, &client).await
    });
    node.stop();
    let more = place.path("more");
    fs::rename(&more, more.with_extension("gone")).unwrap();
    fs::write(&more, "a file").unwrap();
    let node = place.start(&BOTH);
    place.block_on(async {
        let client = connect(&host, &node).await;
        serves(&client, &kept, &[b"first"]).await;
        is_lost(&client, &lost).await;
    });
    says(&node.log(), &[&more.display().to_string()]);
    node.stop();
    assert_eq!(fs::read_to_string(&more).unwrap(), "a file");
    put_back(&more);
    let node = place.start(&BOTH);
    place.block_on(async {
        let client = connect(&host, &node).await;
        serves(&client, &lost, &[b"first"]).await;
    });
    node.stop();
}

/// Runs a line of shell where the broker sees its files; whether it succeeded.
fn where_it_is(node: &Node, script: &str, path: &Path) -> bool {
    let id = node.id().to_string();
    let mut command = Command::new("nsenter");
    command.args([
        "-t",
        &id,
        "-U",
        "-m",
        "--preserve-credentials",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    command
        .arg(path)
        .status()
        .is_ok_and(|status| status.success())
}

/// A broker whose `more` is a file system of its own; `None`, with a word, where that can't be had.
fn with_a_file_system(place: &Place, size: &str, sets: &[&str]) -> Option<Node> {
    let mount = r#"mount -t tmpfs -o size=1m tmpfs "$1""#;
    fs::create_dir_all(place.path("more")).unwrap();
    let tried = Command::new("unshare")
        .args(["-rm", "sh", "-c", mount, "sh"])
        .arg(place.path("more"))
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("no mount namespace here: nothing is proven");
        return None;
    }
    let served = place.serve(&BOTH, sets);
    let more = place.path("more");
    let script = format!(
        r#"mount -t tmpfs -o size={size} tmpfs {} && exec "$@""#,
        more.display()
    );
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c", &script, "sh"])
        .arg(served.get_program());
    command.args(served.get_args());
    Some(Node::start(place, command))
}

#[test]
fn a_directory_that_is_mounted_over_is_not_the_one_that_was_opened() {
    let place = Place::new();
    let Some(node) = with_a_file_system(&place, "64m", &[]) else {
        return;
    };
    let host = place.host();
    place.block_on(async {
        let client = connect(&host, &node).await;
        let mut topics = Vec::new();
        for number in 0..16 {
            let made = topic(&client, &format!("t{number}")).await;
            produce(&client, &made, b"first").await.unwrap();
            topics.push(made);
        }
        let over = r#"mount -t tmpfs -o size=64m tmpfs "$1""#;
        assert!(where_it_is(&node, over, &place.path("more")));
        let mut lost = 0;
        for made in &topics {
            let told = produce(&client, made, b"second").await;
            lost += usize::from(is_storage_error(&told));
        }
        assert!(lost > 0 && lost < topics.len(), "{lost}");
    });
    assert_eq!(node.metric("millrace_log_directories_offline", ""), 1);
    node.stop();
}
