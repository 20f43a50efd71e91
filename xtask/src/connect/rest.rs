//! Kafka Connect's REST interface, over plain HTTP/1.0: a request a connection, read to its end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// A worker answers within this: itself it gives up on a rebalance after 90 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(100);
/// More is no answer of Connect's.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Sends one request to a worker; status and body of what it answers (`Null` when there is none).
pub(super) fn request(
    port: u16,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<(u16, Value), String> {
    let failed =
        |error: std::io::Error| format!("{method} {path} of the worker at {port}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(failed)?;
    stream
        .set_read_timeout(Some(ANSWER_LIMIT))
        .map_err(failed)?;
    let body = body.map_or_else(String::new, Value::to_string);
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(failed)?;
    stream.write_all(body.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    let mut limited = stream.take(ANSWER_BYTES_MAX);
    limited.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("{method} {path}: not HTTP: {answer}"))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| format!("{method} {path}: no status in {head}"))?;
    // Some errors come as a page; the status is what counts then.
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Ok((status, body))
}
