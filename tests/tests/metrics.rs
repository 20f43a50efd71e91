//! The page of metrics, what stands about them in `docs/metrics.md`, and the dashboard and alerts
//! made of them: each names what the other has.

#![expect(
    clippy::unwrap_used,
    reason = "these are tests: an unwrap that fails is a failed test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use bytes::BytesMut;
use millrace_client::{Client, ClientOptions, NewTopic};
use millrace_config::BrokerConfig;
use millrace_host::Piece;
use millrace_host::real::{Options, RealHost};
use millrace_server::Broker;

fn file(name: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("..").join(name)).unwrap()
}

/// One GET of the admin server, head and body.
async fn get(host: &millrace_host::Host, address: std::net::SocketAddr, path: &str) -> String {
    let mut connection = host.net.connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\n\r\n");
    let piece = Piece::Bytes(request.into());
    connection.write.send(vec![piece]).await.unwrap();
    let mut answer = BytesMut::new();
    while connection.read.read(&mut answer, 1 << 16).await.unwrap() > 0 {}
    String::from_utf8(answer.to_vec()).unwrap()
}

/// Names and kinds of the families on both pages of a broker that has served something.
fn families() -> BTreeMap<String, String> {
    let machine = RealHost::start(&Options::default()).unwrap();
    let host = machine.host();
    let data = tempfile::tempdir().unwrap();
    let config = BrokerConfig::from_pairs([
        ("log.dirs", &*data.path().display().to_string()),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("admin.listener", "127.0.0.1:0"),
    ]);
    let pages = machine.block_on(async {
        let broker = Broker::start(config.unwrap(), machine.another_node()).await;
        let broker = broker.unwrap();
        let address = broker.listeners()[0].address;
        let client = Client::connect(&host, address, ClientOptions::default()).await;
        let client = client.unwrap();
        client
            .create_topic(&NewTopic::new("metered", 1))
            .await
            .unwrap();
        // An error, so that its family is there.
        client
            .create_topic(&NewTopic::new("metered", 1))
            .await
            .unwrap_err();
        let admin = broker.admin_address().unwrap();
        let pages = [
            get(&host, admin, "/metrics").await,
            get(&host, admin, "/metrics/partitions").await,
        ];
        broker.stop().await;
        pages.concat()
    });
    let types = pages
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// Every word of a text that looks like one of our series, as the family that it belongs to.
fn named(text: &str, families: &BTreeMap<String, String>) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("millrace_"));
    let family = |word: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        let cut = parts.iter().find_map(|part| word.strip_suffix(part));
        let histogram = cut.filter(|cut| families.get(*cut).is_some_and(|k| k == "histogram"));
        histogram.unwrap_or(word).to_owned()
    };
    ours.map(family).collect()
}

#[test]
fn what_is_shown_is_written_down_and_dashboard_and_alerts_are_made_of_it() {
    let families = families();
    let shown: BTreeSet<String> = families.keys().cloned().collect();
    assert!(shown.len() > 40, "{shown:?}");
    let rows = file("docs/metrics.md");
    let rows = rows.lines().filter(|line| line.starts_with("| `millrace_"));
    let mut written = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        assert_eq!(
            families.get(&name).map(String::as_str),
            Some(cells[2]),
            "{row}"
        );
        assert!(!cells[4].is_empty(), "{row}");
        written.insert(name);
    }
    assert_eq!(
        written, shown,
        "docs/metrics.md lists other metrics than are shown"
    );
    for made_of_them in ["dist/grafana/millrace.json", "dist/prometheus/alerts.yml"] {
        let unknown: Vec<_> = named(&file(made_of_them), &families)
            .difference(&shown)
            .cloned()
            .collect();
        assert!(unknown.is_empty(), "{made_of_them} asks for {unknown:?}");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("dist/grafana/millrace.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(
        panels.iter().all(|panel| panel["title"].is_string()),
        "a panel without a title"
    );
}
