//! Data directories that a node must not serve: it says why, names what to do, and changes nothing.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use millrace_config::BrokerConfig;
use millrace_host::real::{Options, RealHost};
use millrace_protocol::records::{CHECKED_FROM, checksum};
use millrace_server::{Broker, StartError};
use tempfile::TempDir;

/// A machine and a directory for data.
struct Place {
    machine: RealHost,
    data: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            machine: RealHost::start(&Options::default()).unwrap(),
            data: TempDir::new().unwrap(),
        }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    async fn start(&self, dirs: &[&Path], pairs: &[(&str, &str)]) -> Result<Broker, StartError> {
        let dirs: Vec<&str> = dirs.iter().map(|dir| dir.to_str().unwrap()).collect();
        let dirs = dirs.join(",");
        let own = [
            ("log.dirs", dirs.as_str()),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("admin.listener", ""),
        ];
        let config = BrokerConfig::from_pairs(own.into_iter().chain(pairs.iter().copied()));
        Broker::start(config.unwrap(), self.machine.another_node()).await
    }

    /// The words with which a start fails.
    async fn refusal(&self, dirs: &[&Path], pairs: &[(&str, &str)]) -> String {
        let refused = self.start(dirs, pairs).await.unwrap_err();
        assert!(matches!(refused, StartError::Storage(_)), "{refused:?}");
        refused.to_string()
    }
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn a_directory_in_use_is_refused_and_its_owner_goes_on() {
    let place = Place::new();
    let dir = place.dir("a");
    place.machine.block_on(async {
        let owner = place.start(&[&dir], &[]).await.unwrap();
        let message = place.refusal(&[&dir], &[]).await;
        says(&message, &[dir.to_str().unwrap(), "in use", "log.dirs"]);
        owner.stop().await;
        let next = place.start(&[&dir], &[]).await.unwrap();
        next.stop().await;
    });
}

#[test]
fn a_directory_of_another_node_is_refused() {
    let place = Place::new();
    let dir = place.dir("a");
    place.machine.block_on(async {
        let first = place.start(&[&dir], &[("node.id", "1")]).await.unwrap();
        first.stop().await;
        let message = place.refusal(&[&dir], &[("node.id", "2")]).await;
        says(&message, &[dir.to_str().unwrap(), "node"]);
        let again = place.start(&[&dir], &[("node.id", "1")]).await.unwrap();
        again.stop().await;
    });
}

#[test]
fn a_directory_of_another_cluster_is_refused() {
    let place = Place::new();
    let [a, b] = ["a", "b"].map(|name| place.dir(name));
    place.machine.block_on(async {
        for dir in [&a, &b] {
            place.start(&[dir], &[]).await.unwrap().stop().await;
        }
        let message = place.refusal(&[&a, &b], &[]).await;
        says(&message, &[b.to_str().unwrap(), "cluster"]);
    });
}

#[test]
fn a_directory_of_a_newer_format_is_refused() {
    let place = Place::new();
    let dir = place.dir("a");
    place.machine.block_on(async {
        place.start(&[&dir], &[]).await.unwrap().stop().await;
        let path = dir.join("millrace.format");
        let mut newer = std::fs::read(&path).unwrap();
        // After the magic: the number of the format. At the end: the checksum.
        newer[4..8].copy_from_slice(&99_u32.to_le_bytes());
        let end = newer.len() - 4;
        let as_in_a_batch = [&[0; CHECKED_FROM][..], &newer[..end]].concat();
        newer[end..].copy_from_slice(&checksum(&as_in_a_batch).to_le_bytes());
        std::fs::write(&path, &newer).unwrap();
        let message = place.refusal(&[&dir], &[]).await;
        says(&message, &[dir.to_str().unwrap(), "format 99", "newer"]);
        assert_eq!(std::fs::read(&path).unwrap(), newer);
    });
}

#[test]
fn a_directory_without_the_right_to_write_is_refused() {
    let place = Place::new();
    let dir = place.dir("a");
    place.machine.block_on(async {
        place.start(&[&dir], &[]).await.unwrap().stop().await;
        let mode = |mode| std::fs::set_permissions(&dir, Permissions::from_mode(mode)).unwrap();
        mode(0o500);
        // The superuser may write everywhere.
        let may_write = std::fs::write(dir.join("probe"), "").is_ok();
        let started = place.start(&[&dir], &[]).await;
        mode(0o700);
        match started {
            Ok(broker) => {
                assert!(may_write, "started without the right to write");
                broker.stop().await;
            }
            Err(refused) => says(&refused.to_string(), &[dir.to_str().unwrap(), "mode"]),
        }
    });
}

#[test]
fn a_file_in_the_place_of_a_directory_is_refused() {
    let place = Place::new();
    let file = place.dir("file");
    std::fs::write(&file, "not a directory").unwrap();
    place.machine.block_on(async {
        let message = place.refusal(&[&file], &[]).await;
        says(&message, &[file.to_str().unwrap()]);
        let below = file.join("below");
        let message = place.refusal(&[&below], &[]).await;
        says(&message, &[file.to_str().unwrap()]);
    });
}

#[test]
fn foreign_files_are_left_alone() {
    let place = Place::new();
    let dir = place.dir("photos");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("holiday.jpg"), "picture").unwrap();
    place.machine.block_on(async {
        let started = place.start(&[&dir], &[]).await;
        if let Ok(broker) = started {
            broker.stop().await;
        }
        let picture = std::fs::read_to_string(dir.join("holiday.jpg")).unwrap();
        assert_eq!(picture, "picture");
    });
}

#[test]
fn a_failed_start_frees_its_ports() {
    let place = Place::new();
    let file = place.dir("file");
    std::fs::write(&file, "not a directory").unwrap();
    let dir = place.dir("a");
    place.machine.block_on(async {
        let free = place.start(&[&dir], &[]).await.unwrap();
        let address = free.listeners()[0].address;
        free.stop().await;
        let listeners = format!("PLAINTEXT://{address}");
        let pairs = [("listeners", listeners.as_str())];
        place.refusal(&[&file], &pairs).await;
        let host = place.machine.host();
        let connected = host.net.connect(address).await;
        if let Ok(mut connection) = connected {
            let mut nothing = BytesMut::new();
            let read = connection.read.read(&mut nothing, 1).await;
            assert_eq!(read.unwrap_or(0), 0, "nobody serves it");
        }
        let next = place.start(&[&dir], &pairs).await.unwrap();
        next.stop().await;
    });
}
