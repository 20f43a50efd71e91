//! TLS between the client and a server that echoes, over loopback: what gets through, what is refused
//! and in which words, and files that change.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use millrace_host::real::{self, Options};
use millrace_host::{Connection, Host, Piece, Pool};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::{Identity, Roots, Tls, TlsFailure, TlsOptions};
use crate::{Client, ClientOptions, Error, TlsProblem};

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_mins(1);

/// An authority, which signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for a name, with its key.
    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// What a server has, and whom it lets in.
fn server((certificate, key): &(String, String), clients: Option<&Authority>) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
            roots.add(root).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// What a server does with a connection.
#[derive(Clone)]
enum Serve {
    Echo(Arc<ServerConfig>),
    /// Says this, whatever it hears.
    Say(&'static [u8]),
    /// Hears something, then hangs up.
    HangUp,
}

struct Stage {
    host: Host,
    files: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self {
            host: real::host(&Options::default()).unwrap(),
            files: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn trusting(&self, authority: &Authority) -> TlsOptions {
        TlsOptions {
            roots: Roots::File(self.file("ca.pem", &authority.pem)),
            ..TlsOptions::default()
        }
    }

    /// Where a server serves one connection.
    async fn listen(&self, serve: Serve) -> SocketAddr {
        let any = ([127, 0, 0, 1], 0).into();
        let mut listener = self.host.net.listen(any, 8).await.unwrap();
        let address = listener.local_addr();
        let serving = Box::pin(async move {
            let connection = listener.accept().await.unwrap();
            serve_one(connection, serve).await;
        });
        drop(self.host.spawn.spawn(Pool::Data, "tls server", serving));
        address
    }

    async fn agree(&self, tls: &Tls, serve: Serve) -> Result<Connection, TlsFailure> {
        let address = self.listen(serve).await;
        let connection = self.host.net.connect(address).await.unwrap();
        within(&self.host, tls.agree(&self.host, "localhost", connection)).await
    }
}

async fn within<T>(host: &Host, work: impl Future<Output = T>) -> T {
    let deadline = host.clock.now().mono + DEADLINE;
    tokio::select! {
        done = work => done,
        () = host.clock.sleep_until(deadline) => panic!("nothing within {DEADLINE:?}"),
    }
}

/// Errors are the client's to tell: a server whose connection ends just ends.
async fn serve_one(mut connection: Connection, serve: Serve) {
    let mut came = BytesMut::new();
    let config = match serve {
        Serve::Echo(config) => config,
        Serve::Say(words) => {
            drop(connection.read.read(&mut came, 4096).await);
            let said = Piece::Bytes(Bytes::from_static(words));
            drop(connection.write.send(vec![said]).await);
            // Until the client is gone.
            while matches!(connection.read.read(&mut came, 4096).await, Ok(1..)) {}
            return;
        }
        Serve::HangUp => {
            drop(connection.read.read(&mut came, 4096).await);
            return;
        }
    };
    let mut session = ServerConnection::new(config).unwrap();
    session.set_buffer_limit(None);
    loop {
        let mut rest = &came[..];
        let read = session.read_tls(&mut rest).unwrap();
        came.advance(read);
        let opened = session.process_new_packets();
        if let Ok(state) = &opened {
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            std::io::Read::read_exact(&mut session.reader(), &mut plain).unwrap();
            std::io::Write::write_all(&mut session.writer(), &plain).unwrap();
        }
        let mut out = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut out).unwrap();
        }
        if !out.is_empty()
            && connection
                .write
                .send(vec![Piece::Bytes(out.into())])
                .await
                .is_err()
        {
            return;
        }
        if opened.is_err() {
            return;
        }
        if came.is_empty() && !matches!(connection.read.read(&mut came, 65_536).await, Ok(1..)) {
            return;
        }
    }
}

async fn echoed(host: &Host, connection: Connection, content: &Bytes) -> std::io::Result<()> {
    let Connection {
        mut read,
        mut write,
        ..
    } = connection;
    // In two pieces; both directions at once, since the echo is longer than what sockets hold.
    let (head, rest) = (content.slice(..3), content.slice(3..));
    let sending = write.send(vec![Piece::Bytes(head), Piece::Bytes(rest)]);
    let reading = async {
        let mut came = BytesMut::new();
        while came.len() < content.len() {
            if read.read(&mut came, 10_000).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        assert!(came == content[..], "the echo is another");
        Ok(())
    };
    within(host, async { tokio::try_join!(sending, reading) }).await?;
    Ok(())
}

fn content(bytes: u32) -> Bytes {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn bytes_get_through_whole_in_both_directions() {
    let stage = Stage::new();
    let authority = Authority::named("here");
    let echo = Serve::Echo(server(&authority.sign("localhost", |_| {}), None));
    let tls = Tls::new(stage.trusting(&authority));
    for bytes in [4, 16_384, 3_000_000] {
        let connection = stage.agree(&tls, echo.clone()).await.unwrap();
        echoed(&stage.host, connection, &content(bytes))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn each_thing_that_is_wrong_with_a_certificate_is_said() {
    let stage = Stage::new();
    let authority = Authority::named("here");
    let old = authority.sign("localhost", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let early = authority.sign("localhost", |params| {
        params.not_before = date_time_ymd(4000, 1, 1);
    });
    let other_name = authority.sign("elsewhere.example", |_| {});
    let foreign = Authority::named("foreign").sign("localhost", |_| {});
    let made_anew = Authority::named("here").sign("localhost", |_| {});
    for (certificate, problem, words) in [
        (old, TlsProblem::Expired, "expired"),
        (early, TlsProblem::NotYetValid, "not valid yet"),
        (other_name, TlsProblem::WrongName, "elsewhere.example"),
        (foreign, TlsProblem::UnknownAuthority, "UnknownIssuer"),
        (made_anew, TlsProblem::UnknownAuthority, "BadSignature"),
    ] {
        let tls = Tls::new(stage.trusting(&authority));
        let echo = Serve::Echo(server(&certificate, None));
        let failure = stage.agree(&tls, echo).await.unwrap_err();
        assert_eq!(failure.problem, problem, "{failure}");
        assert!(failure.reason.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn a_server_name_stands_for_the_name_connected_to() {
    let stage = Stage::new();
    let authority = Authority::named("here");
    let echo = Serve::Echo(server(&authority.sign("elsewhere.example", |_| {}), None));
    let tls = Tls::new(TlsOptions {
        server_name: Some("elsewhere.example".to_owned()),
        ..stage.trusting(&authority)
    });
    stage.agree(&tls, echo.clone()).await.unwrap();
    let tls = Tls::new(TlsOptions {
        server_name: Some("no name".to_owned()),
        ..stage.trusting(&authority)
    });
    let failure = stage.agree(&tls, echo).await.unwrap_err();
    assert_eq!(failure.problem, TlsProblem::Files, "{failure}");
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_from_who_hangs_up() {
    let stage = Stage::new();
    let tls = Tls::new(stage.trusting(&Authority::named("here")));
    let said = Serve::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let failure = stage.agree(&tls, said).await.unwrap_err();
    assert_eq!(failure.problem, TlsProblem::BrokerSpeaksPlain, "{failure}");
    let failure = stage.agree(&tls, Serve::HangUp).await.unwrap_err();
    assert_eq!(failure.problem, TlsProblem::HungUp, "{failure}");
}

#[tokio::test]
async fn a_broker_that_speaks_tls_is_known_without() {
    let stage = Stage::new();
    // What rustls, Java and OpenSSL say to what is no TLS.
    for alert in [
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"\x15\x03\x01\x00\x02\x02\x50",
    ] {
        let address = stage.listen(Serve::Say(alert)).await;
        let error = Client::connect(&stage.host, address, ClientOptions::default()).await;
        let error = error.unwrap_err();
        let Error::Tls { problem, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*problem, TlsProblem::BrokerSpeaksTls, "{error}");
        assert!(!error.is_retriable());
    }
}

#[tokio::test]
async fn a_client_s_certificate_is_shown_and_a_lack_of_it_is_said() {
    let stage = Stage::new();
    let (brokers, clients) = (Authority::named("brokers"), Authority::named("clients"));
    let echo = Serve::Echo(server(&brokers.sign("localhost", |_| {}), Some(&clients)));
    let identity = |name: &str, authority: &Authority| {
        let (certificate, key) = authority.sign("client", |_| {});
        Identity {
            certificate: stage.file(&format!("{name}.pem"), &certificate),
            key: stage.file(&format!("{name}.key"), &key),
        }
    };
    let by = |identity: Option<Identity>| {
        Tls::new(TlsOptions {
            identity,
            ..stage.trusting(&brokers)
        })
    };
    let known = by(Some(identity("known", &clients)));
    let connection = stage.agree(&known, echo.clone()).await.unwrap();
    echoed(&stage.host, connection, &content(100))
        .await
        .unwrap();
    for tls in [by(None), by(Some(identity("unknown", &brokers)))] {
        // In TLS 1.3 the server refuses after the client's last word: the first read hears of it.
        let connection = stage.agree(&tls, echo.clone()).await.unwrap();
        let refused = echoed(&stage.host, connection, &content(100))
            .await
            .unwrap_err();
        let failure = TlsFailure::of(&refused).expect("an alert, not only an end");
        assert_eq!(failure.problem, TlsProblem::ClientCertificate, "{failure}");
    }
    // A key that belongs to another certificate is found before anything is sent.
    let mixed = Identity {
        key: identity("a", &clients).key,
        ..identity("b", &clients)
    };
    let failure = stage.agree(&by(Some(mixed)), echo).await.unwrap_err();
    assert_eq!(failure.problem, TlsProblem::Files, "{failure}");
}

#[tokio::test]
async fn each_new_connection_goes_by_the_files_as_they_are_then() {
    let stage = Stage::new();
    let (first, second) = (Authority::named("first"), Authority::named("second"));
    let of_first = Serve::Echo(server(&first.sign("localhost", |_| {}), None));
    let of_second = Serve::Echo(server(&second.sign("localhost", |_| {}), None));
    let tls = Tls::new(stage.trusting(&first));
    stage.agree(&tls, of_first.clone()).await.unwrap();
    let failure = stage.agree(&tls, of_second.clone()).await.unwrap_err();
    assert_eq!(failure.problem, TlsProblem::UnknownAuthority, "{failure}");

    stage.file("ca.pem", &second.pem);
    stage.agree(&tls, of_second.clone()).await.unwrap();
    stage.agree(&tls, of_first).await.unwrap_err();

    // What can't be used leaves what was read before in use.
    stage.file("ca.pem", "half of a certif");
    stage.agree(&tls, of_second.clone()).await.unwrap();
    fs::remove_file(stage.files.path().join("ca.pem")).unwrap();
    stage.agree(&tls, of_second).await.unwrap();
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let stage = Stage::new();
    let authority = Authority::named("here");
    let echo = Serve::Echo(server(&authority.sign("localhost", |_| {}), None));
    let missing = stage.files.path().join("missing.pem");
    let empty = stage.file("empty.pem", "");
    for path in [missing, empty] {
        let name = path.display().to_string();
        let tls = Tls::new(TlsOptions {
            roots: Roots::File(path),
            ..TlsOptions::default()
        });
        let failure = stage.agree(&tls, echo.clone()).await.unwrap_err();
        assert_eq!(failure.problem, TlsProblem::Files, "{failure}");
        assert!(failure.reason.contains(&name), "{failure}");
    }
}
