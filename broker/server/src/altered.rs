//! Where a test alters what handlers read and answer, to see whether the comparison with Apache Kafka
//! notices (`probe`).
//!
//! What always holds: in whatever ships both functions give back what they were given.

use bytes::{Bytes, BytesMut};
use millrace_host::Piece;
use millrace_probe::alterations;

use crate::outcome::{Outcome, Reply};

/// The body of a request, as its handler is to read it.
#[inline]
pub(crate) fn asked(api_key: i16, api_version: i16, body: Bytes) -> Bytes {
    let Some(by) = alterations() else {
        return body;
    };
    let altered = by.asked(api_key, api_version, &body);
    altered.map_or(body, Bytes::from)
}

/// What a handler came to, as the client is to see it.
#[inline]
pub(crate) async fn answered(api_key: i16, api_version: i16, outcome: Outcome) -> Outcome {
    if alterations().is_none() {
        return outcome;
    }
    match outcome {
        Outcome::Ready(reply) => Outcome::Ready(altered(api_key, api_version, reply).await),
        Outcome::Wait(wait) => Outcome::Wait(Box::pin(async move {
            altered(api_key, api_version, wait.await).await
        })),
        Outcome::NoReply => Outcome::NoReply,
    }
}

/// The reply with another body, if one is to be put in its place.
async fn altered(api_key: i16, api_version: i16, mut reply: Reply) -> Reply {
    let mut body = BytesMut::new();
    for piece in &reply.body {
        match piece {
            Piece::Bytes(bytes) => body.extend_from_slice(bytes),
            Piece::File(slice) => {
                let len = usize::try_from(slice.len).expect("an answer fits into memory");
                let Ok(read) = slice.file.read_at(slice.offset, len).await else {
                    return reply;
                };
                body.extend_from_slice(&read);
            }
        }
    }
    let by = alterations();
    if let Some(body) = by.and_then(|by| by.answered(api_key, api_version, &body)) {
        reply.body = vec![Piece::Bytes(body.into())];
    }
    reply
}
