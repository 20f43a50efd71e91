//! `cargo xtask clients --record FILE`: what clients and the broker say to each other, kept as seeds
//! for the fuzzers.
//!
//! A proxy stands where clients are told that the broker listens. What always holds: it passes every
//! byte on; it keeps whole frames only, short ones, a few of each API, version and direction that
//! differ in length, so that the file stays small.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest frame that is kept.
const FRAME_BYTES_MAX: usize = 1500;
/// How many are kept of one client, direction, API and version.
const FRAMES_MAX: usize = 4;
/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// Direction, API and version.
type Kind = (&'static str, i16, i16);

/// What was kept of one client.
#[derive(Debug, Default)]
struct Kept {
    frames: BTreeMap<Kind, BTreeMap<usize, Vec<u8>>>,
}

/// A proxy in front of a broker.
#[derive(Debug)]
pub(super) struct Recorder {
    address: String,
    kept: Arc<Mutex<Kept>>,
    listener: Option<TcpListener>,
}

impl Recorder {
    /// Takes a port that the broker can tell its clients.
    pub(super) fn bind() -> Result<Self, String> {
        let said = |error: io::Error| format!("the recording proxy: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(said)?;
        let address = listener.local_addr().map_err(said)?.to_string();
        Ok(Self {
            address,
            kept: Arc::default(),
            listener: Some(listener),
        })
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Passes connections on to the broker, until the program ends.
    pub(super) fn serve(&mut self, broker: &str) {
        let (kept, broker) = (Arc::clone(&self.kept), broker.to_owned());
        let listener = self.listener.take();
        begin(move || {
            for client in listener.iter().flat_map(TcpListener::incoming).flatten() {
                // A client whose connection can't be passed on sees it end.
                let _ended = pass(client, &broker, &kept);
            }
        });
    }

    /// What was kept, one frame a line: client, direction, API, version, hexadecimal.
    pub(super) fn lines(&self, client: &str) -> String {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = String::new();
        for ((direction, api, version), frames) in &kept.frames {
            for frame in frames.values() {
                let hex = frame.iter().fold(String::new(), |mut hex, byte| {
                    write!(hex, "{byte:02x}").expect("a string takes any text");
                    hex
                });
                writeln!(lines, "{client} {direction} {api} {version} {hex}")
                    .expect("a string takes any text");
            }
        }
        lines
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the proxy is no part of the broker: blocking sockets, a thread for each direction"
)]
fn begin(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

/// Requests that are under way on a connection: API and version by number.
type UnderWay = Arc<Mutex<BTreeMap<[u8; 4], (i16, i16)>>>;

fn pass(client: TcpStream, broker: &str, kept: &Arc<Mutex<Kept>>) -> io::Result<()> {
    let server = TcpStream::connect(broker)?;
    let (from_client, from_server) = (client.try_clone()?, server.try_clone()?);
    let under_way = UnderWay::default();
    let (asked, keep) = (Arc::clone(&under_way), Arc::clone(kept));
    begin(move || copy(from_client, server, |frame| request(&keep, &asked, frame)));
    let keep = Arc::clone(kept);
    begin(move || {
        copy(from_server, client, |frame| {
            answer(&keep, &under_way, frame);
        });
    });
    Ok(())
}

/// Passes bytes on until either side ends; `whole` gets each frame.
fn copy(mut from: TcpStream, mut to: TcpStream, mut whole: impl FnMut(&[u8])) {
    let (mut chunk, mut held) = (vec![0; READ_BYTES], Vec::new());
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..count]).is_err() {
            break;
        }
        held.extend_from_slice(&chunk[..count]);
        while let Some((field, rest)) = held.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*field) as usize;
            let Some(frame) = rest.get(..len) else { break };
            whole(frame);
            held.drain(..4 + len);
        }
    }
    // The other direction may still have something to say; it ends by itself.
    let _gone = to.shutdown(Shutdown::Write);
}

fn request(kept: &Mutex<Kept>, under_way: &UnderWay, frame: &[u8]) {
    let Some([k0, k1, v0, v1, number @ ..]) = frame.first_chunk::<8>().copied() else {
        return;
    };
    let asked = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
    let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
    under_way.insert(number, asked);
    drop(under_way);
    keep(kept, ("request", asked.0, asked.1), frame);
}

fn answer(kept: &Mutex<Kept>, under_way: &UnderWay, frame: &[u8]) {
    let Some(number) = frame.first_chunk::<4>() else {
        return;
    };
    let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = under_way.remove(number);
    drop(under_way);
    if let Some((api, version)) = asked {
        keep(kept, ("answer", api, version), frame);
    }
}

fn keep(kept: &Mutex<Kept>, kind: Kind, frame: &[u8]) {
    if frame.len() > FRAME_BYTES_MAX {
        return;
    }
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let frames = kept.frames.entry(kind).or_default();
    if frames.len() < FRAMES_MAX {
        frames.entry(frame.len()).or_insert_with(|| frame.to_vec());
    }
}

/// The lines of all clients in one text: each frame once, whoever sent it first.
pub(super) fn together(lines: &str) -> String {
    let mut seen = BTreeSet::new();
    let fresh = lines.lines().filter(|line| {
        let content = line.split_once(' ').map_or(*line, |(_, content)| content);
        seen.insert(content.to_owned())
    });
    let lines: Vec<&str> = fresh.collect();
    format!(
        "# Frames between clients and the broker, without their length: client, direction, API key,\n\
         # version, bytes. `cargo xtask clients --record fuzz/captured.txt` makes this file.\n{}\n",
        lines.join("\n")
    )
}
