//! `ApiVersions` (key 18), versions 0–4: what this broker serves (KIP-35, KIP-511, KIP-584).
//!
//! Answers any version: one that is not served gets error 35 in the layout of version 0, with this
//! API's own row, and the client asks again. From version 3 the client names its software, which
//! must look like a name (else 42). Response tags: no supported and no finalized features, since a
//! broker without transactions and groups has none that a client may act on; the epoch is then
//! unknown (-1).

use bytes::Bytes;
use millrace_protocol::api::{Api, ApiRow, TABLE};
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::ApiVersionsResponse;
use millrace_protocol::messages::api_versions_response::ApiVersion;
use millrace_protocol::requests::ApiVersionsRequest;

use super::{read, reply, reply_in};
use crate::context::RequestContext;
use crate::outcome::{Close, Outcome};

/// First version in which the client names its software.
const SOFTWARE_NAMED_FROM: i16 = 3;

pub(crate) async fn handle(context: &RequestContext, body: Bytes) -> Result<Outcome, Close> {
    let own = Api::ApiVersions.row();
    if !own.served.contains(context.api_version) {
        context.count_errors([ErrorCode::UnsupportedVersion.code()]);
        return reply_in(0, &response(ErrorCode::UnsupportedVersion, [own]));
    }
    let request: ApiVersionsRequest<'_> = read(context, &body).await?;
    let named = is_name(request.client_software_name) && is_name(request.client_software_version);
    if context.api_version >= SOFTWARE_NAMED_FROM && !named {
        context.count_errors([ErrorCode::InvalidRequest.code()]);
        return reply(context, &response(ErrorCode::InvalidRequest, []));
    }
    reply(context, &response(ErrorCode::None, TABLE))
}

fn response(
    error: ErrorCode,
    rows: impl IntoIterator<Item = &'static ApiRow>,
) -> ApiVersionsResponse {
    let mut response = ApiVersionsResponse::default();
    response.error_code = error.code();
    for row in rows {
        let mut version = ApiVersion::default();
        version.api_key = row.api.key();
        version.min_version = row.advertised.min;
        version.max_version = row.advertised.max;
        response.api_keys.push(version);
    }
    response
}

/// Kafka's `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`.
fn is_name(text: &str) -> bool {
    let at_the_ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    at_the_ends(bytes.first())
        && at_the_ends(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn software_names_are_those_of_kip_511() {
        for good in [
            "librdkafka",
            "apache-kafka-java",
            "v2.3.0",
            "4",
            "a.-b",
            "A1",
        ] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-", "a-", ".a", "a b", "a\n", "ä", "a_b"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
