//! Saying who the client is: `SaslHandshake`, then as many `SaslAuthenticate` as the mechanism takes; at
//! the beginning, and again before the broker would end the connection (KIP-368).
//!
//! What always holds: no other request goes out between the first and the last word of it; who drops it
//! half-way ends the connection; one that the broker refuses, too. The number of rounds has a limit; a
//! refusal is [`Error::Authentication`], with the broker's words and nothing of what is secret.

use std::time::Duration;

use bytes::Bytes;
use millrace_host::Mono;
use millrace_protocol::api::{Api, Versions};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{self, SaslAuthenticateRequest, SaslHandshakeRequest};
use millrace_protocol::responses::Request;

use super::exclusive::Exclusive;
use super::{BreakOnDrop, Call, Connection, Outgoing, Shared};
use crate::security::{self, Refusal, Sasl, Step};
use crate::{Answer, Error};

/// More than any mechanism takes.
const ROUNDS_MAX: usize = 8;
/// A session is renewed after 85 to 95 of a hundred parts of its time, as Java's client does, so that
/// not all of a client's connections do it at once.
const RENEWAL_PERCENT: u64 = 85;
const RENEWAL_JITTER_PERCENT: u64 = 11;

/// Who the client is, and how to say it to this broker.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    sasl: Sasl,
    /// The version of each request that both sides speak.
    handshake_version: i16,
    authenticate_version: i16,
}

impl Identity {
    /// Who the client is, said at the highest versions that the broker serves too.
    pub(crate) fn new(
        sasl: &Sasl,
        served: impl Fn(Api) -> Option<Versions>,
    ) -> Result<Self, Error> {
        let common = |api: Api| {
            let ours = api.row().served;
            let broker = served(api);
            let version = broker.map(|broker| ours.max.min(broker.max));
            // Version 0 of the handshake is followed by bytes that are no requests.
            let least = i16::from(api == Api::SaslHandshake);
            let version = version.filter(|version| *version >= least);
            version.ok_or_else(|| Error::Unsupported {
                api: api.row().name,
                broker: broker.map(|range| (range.min, range.max)),
                client: Some((least, ours.max)),
            })
        };
        Ok(Self {
            sasl: sasl.clone(),
            handshake_version: common(Api::SaslHandshake)?,
            authenticate_version: common(Api::SaslAuthenticate)?,
        })
    }

    fn refused(&self, address: &str, reason: String) -> Error {
        Error::Authentication {
            address: address.to_owned(),
            mechanism: self.sasl.mechanism(),
            reason,
        }
    }
}

/// When the client says anew who it is, and what.
#[derive(Clone, Debug)]
pub(super) struct Renewal {
    at: Mono,
    identity: Identity,
}

impl Connection {
    /// Says who the client is.
    pub(crate) async fn authenticate(&self, identity: &Identity) -> Result<(), Error> {
        let shared = &self.shared;
        let talking = async {
            let mut write = shared.write.lock().await;
            converse(shared, &mut write, identity).await
        };
        self.until(self.deadline(), talking).await
    }
}

/// Says it again if the time has come.
pub(super) async fn renew(shared: &Shared, write: &mut Outgoing) -> Result<(), Error> {
    let now = shared.host.clock.now().mono;
    let Some(renewal) = write.renewal.take_if(|renewal| renewal.at <= now) else {
        return Ok(());
    };
    converse(shared, write, &renewal.identity).await
}

async fn converse(shared: &Shared, write: &mut Outgoing, identity: &Identity) -> Result<(), Error> {
    let half_said = BreakOnDrop(shared);
    let mut exclusive = Exclusive::new(shared, write);
    let talked = Box::pin(authenticate(&mut exclusive, identity)).await;
    std::mem::forget(half_said);
    shared.options.metrics.authenticated(talked.is_ok());
    match talked {
        Ok(renewal) => {
            write.renewal = renewal;
            Ok(())
        }
        Err(error) => {
            shared.end_with(&error.to_string(), &error);
            Err(error)
        }
    }
}

/// Says it; when to say it again.
async fn authenticate(
    connection: &mut Exclusive<'_>,
    identity: &Identity,
) -> Result<Option<Renewal>, Error> {
    let address = connection.address().to_owned();
    let refuse = |refusal: Refusal| match refusal {
        Refusal::Broker(reason) | Refusal::Client(reason) => identity.refused(&address, reason),
    };
    // Before anything is said: a source may take its time.
    let conversation = security::begin(&identity.sasl, connection.host()).await;
    let mut conversation = conversation.map_err(refuse)?;
    shake_hands(connection, identity).await?;
    let mut said = conversation.first();
    for _ in 0..ROUNDS_MAX {
        let asked_at = connection.host().clock.now().mono;
        let Heard { words, lifetime } =
            say(connection, identity, said, conversation.said_before()).await?;
        match conversation.next(&words).map_err(refuse)? {
            Step::Say(next) => said = next,
            Step::Done => {
                let at = renewal_at(asked_at, lifetime, connection.host().rng.next_u64());
                return Ok(at.map(|at| Renewal {
                    at,
                    identity: identity.clone(),
                }));
            }
        }
    }
    let reason = format!("the broker is not content after {ROUNDS_MAX} rounds");
    Err(identity.refused(&address, reason))
}

async fn shake_hands(connection: &mut Exclusive<'_>, identity: &Identity) -> Result<(), Error> {
    let mut request = SaslHandshakeRequest::default();
    request.mechanism = identity.sasl.mechanism().into();
    let version = identity.handshake_version;
    let answer = ask(connection, &request, version).await?;
    let answer = answer.read()?;
    if answer.error_code == ErrorCode::None.code() {
        return Ok(());
    }
    let enabled: Vec<_> = answer.mechanisms.into_iter().take(LISTED_MAX).collect();
    let reason = match ErrorCode::from_code(answer.error_code) {
        Some(ErrorCode::UnsupportedSaslMechanism) => format!(
            "this listener does not take that mechanism; it takes {}",
            if enabled.is_empty() {
                "none".to_owned()
            } else {
                enabled.join(", ")
            }
        ),
        Some(ErrorCode::IllegalSaslState) => {
            "this listener does not ask who the client is: connect without SASL".to_owned()
        }
        Some(code) => code.to_string(),
        None => format!("code {}", answer.error_code),
    };
    Err(identity.refused(connection.address(), reason))
}

/// Mechanisms that an error lists.
const LISTED_MAX: usize = 16;

/// What a broker answers to one part of a conversation.
struct Heard {
    words: Bytes,
    /// How long what was agreed on lasts; `None` without a limit.
    lifetime: Option<Duration>,
}

async fn say(
    connection: &mut Exclusive<'_>,
    identity: &Identity,
    words: Vec<u8>,
    said_before: Option<&str>,
) -> Result<Heard, Error> {
    let mut request = SaslAuthenticateRequest::default();
    request.auth_bytes = words.into();
    let version = identity.authenticate_version;
    let reply = ask(connection, &request, version).await?;
    let answer = reply.read()?;
    if answer.error_code == ErrorCode::None.code() {
        let lifetime = u64::try_from(answer.session_lifetime_ms).unwrap_or(0);
        return Ok(Heard {
            words: reply.share(answer.auth_bytes),
            lifetime: (lifetime > 0).then(|| Duration::from_millis(lifetime)),
        });
    }
    let code = ErrorCode::from_code(answer.error_code).unwrap_or(ErrorCode::UnknownServerError);
    let mut reason = match answer.error_message {
        Some(message) if !message.is_empty() => format!("{code}: {message}"),
        _ => code.to_string(),
    };
    if let Some(before) = said_before
        && !reason.contains(before)
    {
        reason.extend([" (it says ", before, ")"]);
    }
    Err(identity.refused(connection.address(), reason))
}

async fn ask<R: Request>(
    connection: &mut Exclusive<'_>,
    request: &R,
    version: i16,
) -> Result<Answer<R>, Error> {
    let body = messages::encode(request, version)?;
    let body = connection.call(Call::of(R::API, version), body).await?;
    Ok(Answer::new(connection.address().to_owned(), version, body))
}

/// When a session that lasts so long is renewed, counted from before it was asked for.
fn renewal_at(asked_at: Mono, lifetime: Option<Duration>, drawn: u64) -> Option<Mono> {
    let percent = RENEWAL_PERCENT + drawn % RENEWAL_JITTER_PERCENT;
    let millis = u64::try_from(lifetime?.as_millis()).unwrap_or(u64::MAX);
    let wait = millis / 100 * percent + millis % 100 * percent / 100;
    Some(asked_at + Duration::from_millis(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_renewed_before_its_end_and_one_without_an_end_never() {
        let asked_at = Mono(1_000_000_000);
        let after = |millis: u64, drawn| {
            let at = renewal_at(asked_at, Some(Duration::from_millis(millis)), drawn);
            at.unwrap().since(asked_at).as_millis()
        };
        assert_eq!(after(1_000, 0), 850);
        assert_eq!(after(1_000, 10), 950);
        assert_eq!(after(1_000, 11), 850);
        assert_eq!(after(99, 0), 84);
        assert_eq!(renewal_at(asked_at, None, 5), None);
        assert!(after(u64::MAX, 10) > 0);
    }

    #[test]
    fn a_broker_without_requests_for_sasl_is_named() {
        let sasl = Sasl::plain("a", "b");
        let told = Identity::new(&sasl, |_| None).unwrap_err();
        assert!(told.to_string().contains("SaslHandshake"), "{told}");
        let old = |api: Api| {
            Some(Versions {
                min: 0,
                max: i16::from(api != Api::SaslHandshake),
            })
        };
        assert!(Identity::new(&sasl, old).is_err());
        let now = |_: Api| Some(Versions { min: 0, max: 1 });
        let identity = Identity::new(&sasl, now).unwrap();
        assert_eq!(identity.handshake_version, 1);
        assert_eq!(identity.authenticate_version, 1);
    }
}
