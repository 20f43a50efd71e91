//! What comes in on a connection: cut into answers, each given to the request that it belongs to.
//!
//! What always holds: no more is held than one answer of the largest size accepted and one chunk;
//! whatever can't be an answer to the oldest request ends the connection.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use millrace_host::ReadHalf;
use millrace_protocol::header::decode_response;

use super::{Call, FRAME_LENGTH_BYTES, Shared};
use crate::TlsProblem;
use crate::metrics::throttle_ms;

/// Bytes asked of the machine at once.
const READ_CHUNK_BYTES: usize = 64 * 1024;

/// Whether what came begins as a TLS alert does (RFC 8446, section 5.1), which as a length would be far
/// too large.
fn is_tls_alert(buf: &[u8]) -> bool {
    const ALERT: u8 = 21;
    const MAJOR_VERSION: u8 = 3;
    buf.starts_with(&[ALERT, MAJOR_VERSION])
}

/// Reads until the connection ends.
pub(super) async fn read_answers(mut read: Box<dyn ReadHalf>, shared: Arc<Shared>) {
    let mut buf = BytesMut::new();
    let reason = loop {
        match next_answer(&mut buf, &shared) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(_) if is_tls_alert(&buf) => {
                return shared.no_tls(
                    TlsProblem::BrokerSpeaksTls,
                    "it answers in TLS, and was spoken to without",
                );
            }
            Err(reason) => return shared.garbled(&reason),
        }
        match read.read(&mut buf, READ_CHUNK_BYTES).await {
            Ok(0) => break "the broker closed it".to_owned(),
            Ok(bytes) => shared.options.metrics.received(bytes),
            #[cfg(feature = "tls")]
            Err(error) if crate::security::TlsFailure::of(&error).is_some() => {
                let failure = crate::security::TlsFailure::of(&error);
                let failure = failure.expect("it was looked at just now");
                return shared.no_tls(failure.problem, &failure.reason);
            }
            Err(error) => break error.to_string(),
        }
    };
    shared.end(&reason);
}

/// Delivers one whole answer from `buf`; `Ok(false)` when there is none yet.
fn next_answer(buf: &mut BytesMut, shared: &Shared) -> Result<bool, String> {
    let Some(length) = buf
        .first_chunk::<4>()
        .map(|bytes| i32::from_be_bytes(*bytes))
    else {
        return Ok(false);
    };
    let frame_bytes = usize::try_from(length)
        .ok()
        .filter(|bytes| (4..=shared.options.reply_bytes_max).contains(bytes))
        .ok_or_else(|| format!("an answer of {length} bytes was announced"))?;
    if buf.len() < FRAME_LENGTH_BYTES + frame_bytes {
        return Ok(false);
    }
    buf.advance(FRAME_LENGTH_BYTES);
    let mut frame = buf.split_to(frame_bytes).freeze();
    let mut pending = shared.lock();
    let Some(waiting) = pending.queue.front() else {
        return Err("an answer came that nothing was asked for".to_owned());
    };
    let expected = waiting.correlation_id;
    let correlation_id = decode_response(&mut frame, waiting.header_has_tags)
        .map_err(|error| format!("an answer has a broken header: {error}"))?;
    if correlation_id != expected {
        return Err(format!(
            "answer {correlation_id} came in place of answer {expected}"
        ));
    }
    if let Some(waiting) = pending.queue.pop_front() {
        let took = shared.host.clock.now().mono.since(waiting.sent_at);
        let Call {
            api_key,
            api_version,
            flexible,
        } = waiting.call;
        let metrics = &shared.options.metrics;
        metrics.answered(api_key, took);
        metrics.throttled(throttle_ms(api_key, api_version, flexible, &frame));
        // A caller that no longer waits needs no answer.
        drop(waiting.answer.send(Ok(frame)));
    }
    Ok(true)
}
