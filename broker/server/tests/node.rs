//! A whole node on the real machine, over loopback, spoken to byte by byte: what it answers before
//! a client knows any version, how it starts, stops and is killed, and what operators ask it.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod wire;

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use millrace_config::BrokerConfig;
use millrace_host::Host;
use millrace_host::real::{Options, RealHost};
use millrace_protocol::api::{Api, TABLE};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::api_versions_response::ApiVersion;
use millrace_protocol::messages::{
    self, ApiVersionsRequest, ApiVersionsResponse, DecodeLimits, DescribeClusterRequest,
    DescribeClusterResponse, FindCoordinatorRequest, FindCoordinatorResponse, StrBytes,
};
use millrace_server::{Broker, StartError};
use tempfile::TempDir;
use wire::Client;

/// A machine, and a directory for data.
struct Place {
    machine: RealHost,
    data: TempDir,
}

impl Place {
    fn new() -> Self {
        let machine = RealHost::start(&Options::default()).unwrap();
        Self {
            machine,
            data: TempDir::new().unwrap(),
        }
    }

    fn config(&self, pairs: &[(&str, &str)]) -> BrokerConfig {
        let data = self.data.path().to_str().unwrap();
        let given = |key: &str| pairs.iter().any(|(given, _)| *given == key);
        let defaults = [
            ("log.dirs", data),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("admin.listener", "127.0.0.1:0"),
        ];
        let defaults = defaults.into_iter().filter(|(key, _)| !given(key));
        BrokerConfig::from_pairs(defaults.chain(pairs.iter().copied())).unwrap()
    }

    /// Starts a node and runs `test` with it and the host of a client.
    fn with_node<F: Future>(
        &self,
        pairs: &[(&str, &str)],
        test: impl FnOnce(Broker, Host) -> F,
    ) -> F::Output {
        let config = self.config(pairs);
        self.machine.block_on(async {
            let broker = Broker::start(config, self.machine.another_node())
                .await
                .unwrap();
            test(broker, self.machine.host()).await
        })
    }
}

/// What a response advertises: key, lowest, highest version.
fn rows(response: &ApiVersionsResponse) -> Vec<(i16, i16, i16)> {
    let row = |row: &ApiVersion| (row.api_key, row.min_version, row.max_version);
    response.api_keys.iter().map(row).collect()
}

fn address(broker: &Broker) -> SocketAddr {
    broker.listeners()[0].address
}

#[test]
fn every_version_of_api_versions_is_answered() {
    Place::new().with_node(&[], async |broker, host| {
        let mut client = Client::connect(&host, address(&broker)).await;
        let expected: Vec<_> = TABLE
            .iter()
            .map(|row| (row.api.key(), row.advertised.min, row.advertised.max))
            .collect();
        for version in 0..=4 {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request.client_software_name = StrBytes::from("test-client");
                request.client_software_version = StrBytes::from("1.0");
            }
            let response: ApiVersionsResponse =
                client.ask(Api::ApiVersions, version, &request).await;
            assert_eq!(response.error_code, 0);
            assert_eq!(rows(&response), expected);
        }
        let mut unnamed = ApiVersionsRequest::default();
        unnamed.client_software_name = StrBytes::from("two words");
        unnamed.client_software_version = StrBytes::from("1.0");
        let response: ApiVersionsResponse = client.ask(Api::ApiVersions, 3, &unnamed).await;
        assert_eq!(response.error_code, ErrorCode::InvalidRequest.code());
        assert_eq!(rows(&response), []);
        for version in [5, 99, i16::MAX] {
            client
                .send_request(18, version, true, b"what a later version may send")
                .await;
            let mut reply = client.reply().await.unwrap();
            assert_eq!(reply.get_i32(), 7);
            let response: ApiVersionsResponse =
                messages::decode(0, reply, &DecodeLimits::default()).unwrap();
            assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
            assert_eq!(rows(&response), [(18, 0, 4)]);
        }
        broker.stop().await;
    });
}

#[test]
fn this_node_coordinates_groups_and_transactional_ids_are_refused_for_good() {
    Place::new().with_node(&[], async |broker, host| {
        let mut client = Client::connect(&host, address(&broker)).await;
        let port = i32::from(address(&broker).port());
        for version in 0..=6 {
            let mut request = FindCoordinatorRequest::default();
            if version >= 4 {
                request.coordinator_keys = vec![StrBytes::from("g"), StrBytes::from("h")];
            } else {
                request.key = StrBytes::from("g");
            }
            let response: FindCoordinatorResponse =
                client.ask(Api::FindCoordinator, version, &request).await;
            if version >= 4 {
                let rows = response.coordinators.iter();
                let told = rows.map(|c| (c.key.as_str(), c.error_code, c.node_id, c.port));
                assert!(told.eq([("g", 0, 1, port), ("h", 0, 1, port)]));
            } else {
                let told = (response.error_code, response.node_id, response.port);
                assert_eq!(told, (0, 1, port));
                assert_eq!(response.host.as_str(), "127.0.0.1");
            }
        }
        let mut request = FindCoordinatorRequest::default();
        request.key = StrBytes::from("t");
        request.key_type = 1;
        let response: FindCoordinatorResponse = client.ask(Api::FindCoordinator, 2, &request).await;
        let code = ErrorCode::TransactionalIdAuthorizationFailed;
        assert_eq!(response.error_code, code.code());
        assert!(!code.is_retriable());
        broker.stop().await;
    });
}

#[test]
fn each_listener_tells_its_own_address() {
    let listeners = [
        ("listeners", "IN://127.0.0.1:0,OUT://127.0.0.1:0"),
        ("advertised.listeners", "OUT://broker.example:4000"),
        (
            "listener.security.protocol.map",
            "IN:PLAINTEXT,OUT:PLAINTEXT",
        ),
        ("node.id", "5"),
        ("broker.rack", "r1"),
    ];
    Place::new().with_node(&listeners, async |broker, host| {
        let bound = broker.listeners();
        let told = [
            ("127.0.0.1", bound[0].address.port()),
            ("broker.example", 4000),
        ];
        for (listener, (name, port)) in bound.iter().zip(told) {
            let mut client = Client::connect(&host, listener.address).await;
            for version in 0..=2 {
                let request = DescribeClusterRequest::default();
                let response: DescribeClusterResponse =
                    client.ask(Api::DescribeCluster, version, &request).await;
                assert_eq!(response.error_code, 0);
                assert_eq!(response.cluster_id.len(), 22);
                let node = &response.brokers[0];
                let seen = (
                    node.broker_id,
                    node.host.as_str(),
                    node.port,
                    node.rack.as_deref(),
                );
                assert_eq!(seen, (5, name, i32::from(port), Some("r1")));
            }
            let mut controllers = DescribeClusterRequest::default();
            controllers.endpoint_type = 2;
            let response: DescribeClusterResponse =
                client.ask(Api::DescribeCluster, 1, &controllers).await;
            assert_eq!(
                response.error_code,
                ErrorCode::MismatchedEndpointType.code()
            );
        }
        broker.stop().await;
    });
}

#[test]
fn what_is_not_served_closes_the_connection_and_nobody_elses() {
    Place::new().with_node(&[], async |broker, host| {
        let mut other = Client::connect(&host, address(&broker)).await;
        assert!(other.is_served().await);
        // ConsumerGroupHeartbeat, an unknown key, Produce 2, Metadata 99, and a body that cannot be read.
        for (key, version) in [
            (68, 0),
            (999, 0),
            (-1, 0),
            (0, 2),
            (3, 99),
            (3, -1),
            (10, 0),
        ] {
            let mut client = Client::connect(&host, address(&broker)).await;
            client
                .send_request(key, version, false, b"\xff\xff\xff")
                .await;
            assert_eq!(client.reply().await, None, "{key} {version}");
        }
        assert!(other.is_served().await);
        let text = broker.metrics_text();
        assert!(
            text.contains("closes_total{reason=\"unsupported\"} 6"),
            "{text}"
        );
        assert!(
            text.contains("closes_total{reason=\"unparsable\"} 1"),
            "{text}"
        );
        broker.stop().await;
    });
}

#[test]
fn connections_over_the_limit_are_closed_at_once() {
    Place::new().with_node(&[("max.connections.per.ip", "2")], async |broker, host| {
        let mut first = Client::connect(&host, address(&broker)).await;
        let mut second = Client::connect(&host, address(&broker)).await;
        assert!(first.is_served().await);
        assert!(second.is_served().await);
        let mut third = Client::connect(&host, address(&broker)).await;
        assert_eq!(third.reply().await, None);
        broker.stop().await;
    });
}

#[test]
fn a_port_that_is_taken_is_named_with_a_way_out() {
    let place = Place::new();
    place.with_node(&[], async |broker, _| {
        let taken = address(&broker).port();
        let listeners = format!("PLAINTEXT://127.0.0.1:{taken}");
        let config = place.config(&[("listeners", &listeners)]);
        let error = Broker::start(config, place.machine.another_node())
            .await
            .unwrap_err();
        assert!(matches!(error, StartError::Listen(_)));
        let message = error.to_string();
        assert!(message.contains(&format!("port {taken} ")), "{message}");
        assert!(
            message.contains("--set listeners=PLAINTEXT://127.0.0.1:"),
            "{message}"
        );
        broker.stop().await;
    });
}

#[test]
fn a_stop_closes_connections_and_frees_the_port() {
    let place = Place::new();
    place.with_node(&[], async |broker, host| {
        let bound = address(&broker);
        let mut client = Client::connect(&host, bound).await;
        assert!(client.is_served().await);
        broker.stop().await;
        assert_eq!(client.reply().await, None);
        let listeners = format!("PLAINTEXT://{bound}");
        let config = place.config(&[("listeners", &listeners)]);
        let again = Broker::start(config, place.machine.another_node())
            .await
            .unwrap();
        let mut client = Client::connect(&host, bound).await;
        assert!(client.is_served().await);
        drop(again);
        assert_eq!(
            client.reply().await,
            None,
            "dropping the handle kills the node"
        );
    });
}

#[test]
fn operators_see_metrics_and_health() {
    Place::new().with_node(&[], async |broker, host| {
        let mut client = Client::connect(&host, address(&broker)).await;
        assert!(client.is_served().await);
        let admin = broker.admin_address().unwrap();
        let get = async |path: &str| {
            let mut client = Client::connect(&host, admin).await;
            client
                .send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
                .await;
            let mut answer = BytesMut::new();
            while client
                .connection
                .read
                .read(&mut answer, 65536)
                .await
                .unwrap_or(0)
                > 0
            {}
            String::from_utf8(answer.to_vec()).unwrap()
        };
        assert!(get("/health/live").await.starts_with("HTTP/1.1 200 "));
        assert!(get("/health/ready").await.starts_with("HTTP/1.1 200 "));
        assert!(get("/admin").await.starts_with("HTTP/1.1 404 "));
        let metrics = get("/metrics").await;
        assert!(
            metrics.contains("millrace_requests_total{api=\"ApiVersions\"} 1"),
            "{metrics}"
        );
        assert!(metrics.contains("millrace_connections 1"), "{metrics}");
        broker.stop().await;
    });
}
