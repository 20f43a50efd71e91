//! Typed calls over one connection, each at the highest version that both sides speak.
//!
//! What always holds: nothing is asked of a broker before it said which versions it serves; an API
//! that it does not list, or not at a version of ours, is an error before anything is sent.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_host::Host;
use millrace_protocol::api::{Api, Versions};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{self, ApiVersionsRequest};
use millrace_protocol::responses::{ApiVersionsResponse, Request};

use crate::connection::Identity;
use crate::{Answer, Call, Connection, ConnectionOptions, Error, PendingReply};

/// What the client tells of itself in `ApiVersions` (KIP-511).
const SOFTWARE_NAME: &str = "millrace";

/// Limits of one client.
pub type ClientOptions = ConnectionOptions;

/// A connection with the versions that its broker serves. Cheap to clone; closed with its last
/// clone.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # use millrace_client::NewTopic;
/// # world::run(async |cluster| {
/// let client = cluster.any_broker().await?;
/// let topic = client.create_topic(&NewTopic::new("bills", 2)).await?;
/// assert_eq!(client.topic("bills").await?, topic);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
    served: Arc<BTreeMap<Api, Versions>>,
}

/// The answer to a request of type `R`, on its way.
///
/// ```
/// # mod world { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/documented/world.rs")); }
/// # world::run(async |cluster| {
/// use millrace_protocol::messages::MetadataRequest;
///
/// let client = cluster.any_broker().await?;
/// // Both are on their way before either is answered.
/// let first = client.send(&MetadataRequest::default()).await?;
/// let second = client.send(&MetadataRequest::default()).await?;
/// let (first, second) = (first.wait().await?, second.wait().await?);
/// assert_eq!(first.read()?.controller_id, second.read()?.controller_id);
/// # Ok(()) });
/// ```
#[derive(Debug)]
pub struct Pending<R> {
    reply: PendingReply,
    address: String,
    version: i16,
    to: PhantomData<fn(R)>,
}

impl<R: Request> Pending<R> {
    /// Gives the answer so much more time: what the broker may wait for others.
    pub(crate) fn allow(mut self, more: Duration) -> Self {
        self.reply.allow(more);
        self
    }

    /// Waits for the answer, at most until the request's deadline.
    pub async fn wait(self) -> Result<Answer<R>, Error> {
        let body = self.reply.wait().await?;
        Ok(Answer::new(self.address, self.version, body))
    }
}

impl Client {
    /// Connects to a broker, asks which versions it serves, and says who the client is if the options
    /// tell it to.
    pub async fn connect(
        host: &Host,
        address: SocketAddr,
        options: ClientOptions,
    ) -> Result<Self, Error> {
        Self::connect_named(host, &address.ip().to_string(), address, options).await
    }

    /// The same with the name that was connected to: what the broker's certificate must be for.
    pub async fn connect_named(
        host: &Host,
        name: &str,
        address: SocketAddr,
        options: ClientOptions,
    ) -> Result<Self, Error> {
        let sasl = options.security.sasl.clone();
        let connection = Connection::open_named(host, name, address, options).await?;
        let served = Arc::new(ask_versions(&connection).await?);
        if let Some(sasl) = sasl {
            let identity = Identity::new(&sasl, |api| served.get(&api).copied())?;
            connection.authenticate(&identity).await?;
        }
        Ok(Self { connection, served })
    }

    /// The connection below, for requests that were encoded beforehand.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The API and the highest version of it that both sides speak.
    pub fn call_of<R: Request>(&self) -> Result<Call, Error> {
        let api = R::API;
        let broker = self.served.get(&api).copied();
        let ours = api.row().served;
        let version = |broker: Versions| ours.max.min(broker.max);
        let common = broker.filter(|broker| version(*broker) >= ours.min.max(broker.min));
        let Some(common) = common else {
            return Err(Error::Unsupported {
                api: api.row().name,
                broker: broker.map(|range| (range.min, range.max)),
                client: Some((ours.min, ours.max)),
            });
        };
        Ok(Call::of(api, version(common)))
    }

    /// Encodes `request` for this broker: what [`Connection::send`] takes.
    pub fn encode<R: Request>(&self, request: &R) -> Result<(Call, Bytes), Error> {
        let call = self.call_of::<R>()?;
        Ok((call, messages::encode(request, call.api_version)?))
    }

    /// Sends `request` and waits for its answer, which may carry an error code.
    pub async fn call<R: Request>(&self, request: &R) -> Result<Answer<R>, Error> {
        self.send(request).await?.wait().await
    }

    /// Sends `request`; its answer comes from [`Pending::wait`].
    pub async fn send<R: Request>(&self, request: &R) -> Result<Pending<R>, Error> {
        self.send_at_most(request, i16::MAX).await
    }

    /// The same at a version that isn't above `newest`, one that every broker serves.
    pub(crate) async fn send_at_most<R: Request>(
        &self,
        request: &R,
        newest: i16,
    ) -> Result<Pending<R>, Error> {
        let mut call = self.call_of::<R>()?;
        if call.api_version > newest {
            call = Call::of(R::API, newest);
        }
        let body = messages::encode(request, call.api_version)?;
        let reply = self.connection.send(call, body).await?;
        Ok(Pending {
            reply,
            address: self.connection.address().to_owned(),
            version: call.api_version,
            to: PhantomData,
        })
    }

    /// The answer whose body came to a request of type `R` that was sent over the connection below.
    pub fn answer<R: Request>(&self, call: Call, body: Bytes) -> Answer<R> {
        let address = self.connection.address().to_owned();
        Answer::new(address, call.api_version, body)
    }
}

/// `ApiVersions` at our highest version. A broker that does not serve it answers in the form of
/// version 0 with error 35, and, if it follows KIP-511, with what it does serve; then once more.
async fn ask_versions(connection: &Connection) -> Result<BTreeMap<Api, Versions>, Error> {
    let ours = Api::ApiVersions.row().served;
    let (unsupported, served) = ask_versions_at(connection, ours.max).await?;
    if !unsupported {
        return Ok(served);
    }
    let theirs = served.get(&Api::ApiVersions).copied();
    let version = theirs.map_or(0, |range| range.max.min(ours.max));
    let (unsupported, served) = ask_versions_at(connection, version).await?;
    if unsupported {
        return Err(Error::Unsupported {
            api: Api::ApiVersions.row().name,
            broker: theirs.map(|range| (range.min, range.max)),
            client: Some((ours.min, ours.max)),
        });
    }
    Ok(served)
}

/// What is served, and whether that is told in a refusal of this version, which has the form of
/// version 0.
async fn ask_versions_at(
    connection: &Connection,
    version: i16,
) -> Result<(bool, BTreeMap<Api, Versions>), Error> {
    let mut request = ApiVersionsRequest::default();
    if version >= 3 {
        request.client_software_name = SOFTWARE_NAME.into();
        request.client_software_version = env!("CARGO_PKG_VERSION").into();
    }
    let body = messages::encode(&request, version)?;
    let body = connection
        .call(Call::of(Api::ApiVersions, version), body)
        .await?;
    // The error code is the first field at every version.
    let refused = body.starts_with(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
    let address = connection.address().to_owned();
    let version = if refused { 0 } else { version };
    let answer = Answer::<ApiVersionsRequest>::new(address, version, body);
    let answer = answer.read()?;
    if !refused {
        refuse(answer.error_code, || {
            "to say which versions it serves".to_owned()
        })?;
    }
    Ok((refused, served_of(&answer)))
}

/// The broker's versions of the APIs that we speak.
fn served_of(answer: &ApiVersionsResponse<'_>) -> BTreeMap<Api, Versions> {
    let rows = answer.api_keys.into_iter().filter_map(|row| {
        let range = Versions {
            min: row.min_version,
            max: row.max_version,
        };
        Some((Api::from_key(row.api_key)?, range))
    });
    // Not collected: that would hold every row first.
    let mut served = BTreeMap::new();
    served.extend(rows);
    served
}

/// An error code in an answer as an error; `what` says what was asked.
pub(crate) fn refuse(code: i16, what: impl FnOnce() -> String) -> Result<(), Error> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        Some(code) => Err(Error::Broker { what: what(), code }),
        // A code of a later Kafka: final, since nothing is known of it.
        None => Err(Error::Broker {
            what: format!("{} (code {code})", what()),
            code: ErrorCode::UnknownServerError,
        }),
    }
}
