//! Typed calls over one connection, each at the highest version that both sides speak.
//!
//! What always holds: nothing is asked of a broker before it said which versions it serves; an API
//! that it does not list, or not at a version of ours, is an error before anything is sent.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use millrace_host::Host;
use millrace_protocol::api::{Api, Versions};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::api_versions_response::ApiVersion;
use millrace_protocol::messages::{
    self, ApiVersionsRequest, ApiVersionsResponse, DecodeLimits, Message, Request,
};

use crate::{Call, Connection, ConnectionOptions, Error, PendingReply};

/// What the client tells of itself in `ApiVersions` (KIP-511).
const SOFTWARE_NAME: &str = "millrace";

/// Limits of one client.
pub type ClientOptions = ConnectionOptions;

/// A connection with the versions that its broker serves. Cheap to clone; closed with its last
/// clone.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Connection,
    served: Arc<BTreeMap<i16, Versions>>,
}

/// A typed answer on its way.
#[derive(Debug)]
pub struct Pending<A> {
    reply: PendingReply,
    reading: Reading,
    answer: PhantomData<fn() -> A>,
}

/// What it takes to read an answer.
#[derive(Clone, Debug)]
struct Reading {
    address: String,
    version: i16,
    bytes_max: usize,
}

impl Reading {
    fn read<A: Message>(&self, body: Bytes) -> Result<A, Error> {
        let limits = DecodeLimits {
            message_bytes_max: self.bytes_max,
            ..DecodeLimits::default()
        };
        messages::decode(self.version, body, &limits).map_err(|error| Error::Malformed {
            address: self.address.clone(),
            reason: error.to_string(),
        })
    }
}

impl<A: Message> Pending<A> {
    /// Waits for the answer, at most until the request's deadline.
    pub async fn wait(self) -> Result<A, Error> {
        let body = self.reply.wait().await?;
        self.reading.read(body)
    }
}

impl Client {
    /// Connects to a broker and asks which versions it serves.
    pub async fn connect(
        host: &Host,
        address: SocketAddr,
        options: ClientOptions,
    ) -> Result<Self, Error> {
        let connection = Connection::open(host, address, options).await?;
        let served = Arc::new(ask_versions(&connection).await?);
        Ok(Self { connection, served })
    }

    /// The connection below, for requests that were encoded beforehand.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The API and the highest version of it that both sides speak.
    pub fn call_of<R: Request>(&self) -> Result<Call, Error> {
        let key = R::API_KEY.value();
        let broker = self.served.get(&key).copied();
        let api = Api::from_key(key);
        let unsupported = Error::Unsupported {
            api: R::NAME,
            broker: broker.map(|range| (range.min, range.max)),
            client: api.map(|api| (api.row().served.min, api.row().served.max)),
        };
        let (Some(api), Some(broker)) = (api, broker) else {
            return Err(unsupported);
        };
        let ours = api.row().served;
        let version = ours.max.min(broker.max);
        if version < ours.min.max(broker.min) {
            return Err(unsupported);
        }
        Ok(call(api, version))
    }

    /// Encodes `request` for this broker: what [`Connection::send`] takes.
    pub fn encode<R: Request>(&self, request: &R) -> Result<(Call, Bytes), Error> {
        let call = self.call_of::<R>()?;
        Ok((call, messages::encode(request, call.api_version)?))
    }

    /// Sends `request` and waits for its answer. The answer may still carry an error code.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, Error> {
        self.send(request).await?.wait().await
    }

    /// Sends `request`; its answer comes from [`Pending::wait`].
    pub async fn send<R: Request>(&self, request: &R) -> Result<Pending<R::Response>, Error> {
        let (call, body) = self.encode(request)?;
        let reply = self.connection.send(call, body).await?;
        let reading = self.reading(call.api_version);
        Ok(Pending {
            reply,
            reading,
            answer: PhantomData,
        })
    }

    /// Reads the answer's body to a request of type `R` that was sent over the connection below.
    pub fn decode_answer<R: Request>(&self, call: Call, body: Bytes) -> Result<R::Response, Error> {
        self.reading(call.api_version).read(body)
    }

    fn reading(&self, version: i16) -> Reading {
        Reading {
            address: self.connection.address().to_owned(),
            version,
            bytes_max: self.connection.options().reply_bytes_max,
        }
    }
}

fn call(api: Api, version: i16) -> Call {
    Call {
        api_key: api.key(),
        api_version: version,
        flexible: api.row().is_flexible(version),
    }
}

/// `ApiVersions` at our highest version. A broker that does not serve it answers in the form of
/// version 0 with error 35, and, if it follows KIP-511, with what it does serve; then once more.
async fn ask_versions(connection: &Connection) -> Result<BTreeMap<i16, Versions>, Error> {
    let ours = Api::ApiVersions.row().served;
    let (unsupported, answer) = ask_versions_at(connection, ours.max).await?;
    if !unsupported {
        return Ok(served_of(&answer));
    }
    let theirs = served_of(&answer).remove(&Api::ApiVersions.key());
    let version = theirs.map_or(0, |range| range.max.min(ours.max));
    let (unsupported, answer) = ask_versions_at(connection, version).await?;
    if unsupported {
        return Err(Error::Unsupported {
            api: Api::ApiVersions.row().name,
            broker: theirs.map(|range| (range.min, range.max)),
            client: Some((ours.min, ours.max)),
        });
    }
    Ok(served_of(&answer))
}

/// The answer, and whether it is the refusal of this version, which has the form of version 0.
async fn ask_versions_at(
    connection: &Connection,
    version: i16,
) -> Result<(bool, ApiVersionsResponse), Error> {
    let mut request = ApiVersionsRequest::default();
    if version >= 3 {
        request.client_software_name = SOFTWARE_NAME.into();
        request.client_software_version = env!("CARGO_PKG_VERSION").into();
    }
    let body = messages::encode(&request, version)?;
    let body = connection
        .call(call(Api::ApiVersions, version), body)
        .await?;
    // The error code is the first field at every version.
    let refused = body.starts_with(&ErrorCode::UnsupportedVersion.code().to_be_bytes());
    let reading = Reading {
        address: connection.address().to_owned(),
        version: if refused { 0 } else { version },
        bytes_max: connection.options().reply_bytes_max,
    };
    let answer: ApiVersionsResponse = reading.read(body)?;
    if !refused {
        refuse(answer.error_code, || {
            "to say which versions it serves".to_owned()
        })?;
    }
    Ok((refused, answer))
}

fn served_of(answer: &ApiVersionsResponse) -> BTreeMap<i16, Versions> {
    let range = |min, max| Versions { min, max };
    let row = |api: &ApiVersion| (api.api_key, range(api.min_version, api.max_version));
    answer.api_keys.iter().map(row).collect()
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
