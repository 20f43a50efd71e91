//! Bearer tokens without a signature (RFC 7515, appendix A.5), which Kafka's brokers accept where nothing
//! else is configured.

use millrace_client::{Sasl, Token};
use millrace_host::Host;
use serde_json::json;

/// OAUTHBEARER by tokens for this user, made when they are asked for; each lasts that long.
pub(crate) fn bearer(host: &Host, user: &str, lasts_s: i64) -> Sasl {
    let (clock, user) = (std::sync::Arc::clone(&host.clock), user.to_owned());
    Sasl::oauth_bearer(move || {
        let now_s = clock.now().wall_ms / 1000;
        let token = Token::new(unsigned(&user, now_s - 60, now_s + lasts_s));
        async { Ok(token) }
    })
}

fn unsigned(user: &str, issued_s: i64, ends_s: i64) -> String {
    let header = json!({"alg": "none"}).to_string();
    let claims = json!({"sub": user, "iat": issued_s, "exp": ends_s}).to_string();
    format!(
        "{}.{}.",
        base64_url(header.as_bytes()),
        base64_url(claims.as_bytes())
    )
}

/// Base64 with the URL's alphabet, without padding (RFC 4648, section 5).
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| {
            bits << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
        for at in 0..=group.len() {
            let index = (bits >> (18 - 6 * at)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}
