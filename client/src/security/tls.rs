//! TLS (rustls) by files of the user: authorities, certificate and key.
//!
//! What always holds: each new connection goes by the files as they are then, so that a renewed
//! certificate needs no restart; while changed files can't be used, what was read before stays in use. A
//! broker's certificate is always checked, its name included. Time for that comes from the host's clock;
//! the keys of a session come from the provider's own randomness, so a simulation stays without TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::{Clock, Connection, Host, OpenMode};
use rustls::client::ClientConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ConfigBuilder, RootCertStore, WantsVerifier};
use sha2::{Digest, Sha256};

use super::tls_stream::handshake;
use super::tls_words::TlsFailure;
use crate::TlsProblem;

/// The longest file that is read: thousands of certificates.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Who signs the certificates of brokers.
///
/// ```
/// # use millrace_client::Roots;
/// let roots = Roots::File("ca.pem".into());
/// assert_ne!(roots, Roots::default());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The authorities that this machine trusts.
    #[default]
    System,
    /// Those in this file (PEM), and no others.
    File(PathBuf),
}

/// Who the client is, for brokers that ask by TLS (`ssl.client.auth`).
///
/// ```
/// # use millrace_client::{Identity, TlsOptions};
/// let options = TlsOptions {
///     identity: Some(Identity { certificate: "alice.pem".into(), key: "alice.key".into() }),
///     ..TlsOptions::default()
/// };
/// assert!(options.identity.is_some());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The client's certificate, followed by those between it and the authority (PEM).
    pub certificate: PathBuf,
    /// Its key, not encrypted (PEM: PKCS#8, SEC1 or PKCS#1).
    pub key: PathBuf,
}

/// How TLS is spoken.
///
/// ```
/// # use millrace_client::{Roots, TlsOptions};
/// let options = TlsOptions {
///     roots: Roots::File("ca.pem".into()),
///     server_name: Some("broker.example.com".to_owned()),
///     ..TlsOptions::default()
/// };
/// assert!(options.identity.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Who signs the certificates of brokers.
    pub roots: Roots,
    /// Who the client is.
    pub identity: Option<Identity>,
    /// The name that each broker's certificate must be for, where that isn't the one connected to.
    pub server_name: Option<String>,
}

/// TLS by some options. Cheap to clone; the clones share what was read, and sessions to resume.
///
/// ```
/// # use millrace_client::{ClusterOptions, Tls, TlsOptions};
/// let mut options = ClusterOptions::new(["broker.example.com:9093"]);
/// // The machine's authorities, and no certificate of the client's.
/// options.connection.security.tls = Some(Tls::new(TlsOptions::default()));
/// ```
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: TlsOptions,
    loaded: tokio::sync::Mutex<Option<Loaded>>,
}

/// What was made of the files.
#[derive(Debug)]
struct Loaded {
    digests: Digests,
    config: Arc<ClientConfig>,
}

/// The files as they were read.
#[derive(Debug, Default)]
struct Files {
    roots: Option<Bytes>,
    certificate: Option<Bytes>,
    key: Option<Bytes>,
}

/// Whether files changed, without keeping a key.
type Digests = [Option<[u8; 32]>; 3];

impl Files {
    fn digests(&self) -> Digests {
        [&self.roots, &self.certificate, &self.key]
            .map(|file| file.as_ref().map(|bytes| Sha256::digest(bytes).into()))
    }
}

impl Tls {
    /// TLS by these options. The files are read when the first connection is made.
    pub fn new(options: TlsOptions) -> Self {
        Self(Arc::new(Inner {
            options,
            loaded: tokio::sync::Mutex::default(),
        }))
    }

    /// The options.
    pub fn options(&self) -> &TlsOptions {
        &self.0.options
    }

    /// Agrees on TLS with the broker at the other end of `connection`, which was reached by `name`.
    pub(super) async fn agree(
        &self,
        host: &Host,
        name: &str,
        connection: Connection,
    ) -> Result<Connection, TlsFailure> {
        let config = self.config(host).await?;
        let name = self.0.options.server_name.as_deref().unwrap_or(name);
        let server_name = ServerName::try_from(name.to_owned()).map_err(|_| {
            TlsFailure::of_files(format!("{name:?} is no name that a certificate can be for"))
        })?;
        handshake(connection, config, server_name).await
    }

    /// What to go by now.
    async fn config(&self, host: &Host) -> Result<Arc<ClientConfig>, TlsFailure> {
        // One reads at a time: who comes second finds what the first made.
        let mut loaded = self.0.loaded.lock().await;
        let made = match self.read(host).await {
            Ok(files) => {
                let digests = files.digests();
                if let Some(loaded) = &*loaded
                    && loaded.digests == digests
                {
                    return Ok(Arc::clone(&loaded.config));
                }
                let config = config_of(&self.0.options, &files, Arc::clone(&host.clock));
                config.map(|config| Loaded {
                    digests,
                    config: Arc::new(config),
                })
            }
            Err(failure) => Err(failure),
        };
        match (made, &mut *loaded) {
            (Ok(made), loaded) => {
                let config = Arc::clone(&made.config);
                *loaded = Some(made);
                Ok(config)
            }
            (Err(failure), Some(loaded)) => {
                tracing::warn!(reason = failure.reason, "changed TLS files are not used");
                Ok(Arc::clone(&loaded.config))
            }
            (Err(failure), None) => Err(failure),
        }
    }

    async fn read(&self, host: &Host) -> Result<Files, TlsFailure> {
        let mut files = Files::default();
        if let Roots::File(path) = &self.0.options.roots {
            files.roots = Some(read_file(host, path).await?);
        }
        if let Some(identity) = &self.0.options.identity {
            files.certificate = Some(read_file(host, &identity.certificate).await?);
            files.key = Some(read_file(host, &identity.key).await?);
        }
        Ok(files)
    }
}

async fn read_file(host: &Host, path: &Path) -> Result<Bytes, TlsFailure> {
    let failed = |reason: String| TlsFailure::of_files(format!("{}: {reason}", path.display()));
    let told = |error: std::io::Error| failed(error.to_string());
    let file = host.disk.open(path, OpenMode::Read).map_err(told)?;
    let len = file.len().map_err(told)?;
    if len > FILE_BYTES_MAX {
        return Err(failed(format!(
            "{len} bytes, at most {FILE_BYTES_MAX} are read"
        )));
    }
    let len = usize::try_from(len).map_err(|error| failed(error.to_string()))?;
    file.read_at(0, len).await.map_err(told)
}

fn config_of(
    options: &TlsOptions,
    files: &Files,
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, TlsFailure> {
    let roots = match (&options.roots, &files.roots) {
        (Roots::File(path), Some(bytes)) => roots_of(path, bytes)?,
        _ => system_roots()?,
    };
    let builder = builder(clock)?.with_root_certificates(roots);
    let (Some(identity), Some(certificate), Some(key)) =
        (&options.identity, &files.certificate, &files.key)
    else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(&identity.certificate, certificate)?;
    let of_key =
        |reason: String| TlsFailure::of_files(format!("{}: {reason}", identity.key.display()));
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| of_key(format!("it has no key that is not encrypted: {error}")))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| of_key(format!("it does not fit the certificate: {error}")))
}

fn builder(
    clock: Arc<dyn Clock>,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsFailure> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_details(provider, Arc::new(HostTime(clock)))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsFailure {
            problem: TlsProblem::Handshake,
            reason: error.to_string(),
        })
}

fn roots_of(path: &Path, bytes: &[u8]) -> Result<RootCertStore, TlsFailure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, bytes)? {
        roots.add(certificate).map_err(|error| {
            TlsFailure::of_files(format!("{}: no authority: {error}", path.display()))
        })?;
    }
    Ok(roots)
}

/// At least one.
fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFailure> {
    let failed = |reason: String| TlsFailure::of_files(format!("{}: {reason}", path.display()));
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let read = read.map_err(|error| failed(error.to_string()))?;
    if read.is_empty() {
        return Err(failed("it has no certificate in PEM form".to_owned()));
    }
    Ok(read)
}

fn system_roots() -> Result<RootCertStore, TlsFailure> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A machine's list may hold some that are too old to be understood.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsFailure::of_files(format!(
            "this machine trusts no authority (Debian: the package ca-certificates): {}",
            errors.join("; ")
        )));
    }
    Ok(roots)
}

/// Time by the host's clock.
#[derive(Debug)]
struct HostTime(Arc<dyn Clock>);

impl TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        let wall_ms = u64::try_from(self.0.now().wall_ms).ok()?;
        let since = std::time::Duration::from_millis(wall_ms);
        Some(UnixTime::since_unix_epoch(since))
    }
}
