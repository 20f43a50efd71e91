//! TLS over a connection of the host: the same two halves, what passes between them encrypted.
//!
//! What always holds: the session is shared by both halves under one lock that nobody holds while
//! waiting; it buffers no more than one record of what came and one chunk of what goes out; an end
//! without TLS's farewell is an end (Kafka's frames say themselves whether one is whole). rustls is driven
//! directly, without the sockets that tokio-rustls wants: the host's halves are none.

use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use millrace_host::{BoxFuture, Connection, Piece, ReadHalf, Rope, WriteHalf};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::tls_words::TlsFailure;

/// Encrypted bytes asked of the machine at once.
const READ_CHUNK_BYTES: usize = 64 * 1024;
/// Bytes that are encrypted before they are handed to the machine: four records.
const SEND_CHUNK_BYTES: usize = 64 * 1024;

/// The session, of both directions.
#[derive(Debug)]
struct Session(Mutex<ClientConnection>);

impl Session {
    fn lock(&self) -> MutexGuard<'_, ClientConnection> {
        // rustls keeps a session whole; one that panicked is of no further use, and says so.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Agrees on TLS over a connection.
pub(super) async fn handshake(
    connection: Connection,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Connection, TlsFailure> {
    let Connection {
        read: mut read_below,
        write: mut write_below,
        peer,
        local,
    } = connection;
    let mut session = ClientConnection::new(config, name)?;
    // What goes out is taken from the session at once.
    session.set_buffer_limit(None);
    let mut sealed = BytesMut::new();
    loop {
        let out = taken(&mut session);
        if !out.is_empty() {
            let sent = write_below.send(vec![Piece::Bytes(out)]).await;
            // Whoever hung up may have said why before.
            if let Err(error) = sent
                && sealed.is_empty()
            {
                let said = read_below.read(&mut sealed, READ_CHUNK_BYTES).await;
                if !matches!(said, Ok(1..)) {
                    return Err(TlsFailure::hung_up(&error.to_string()));
                }
            }
        }
        if !session.is_handshaking() {
            break;
        }
        if sealed.is_empty() {
            match read_below.read(&mut sealed, READ_CHUNK_BYTES).await {
                Ok(0) => return Err(TlsFailure::hung_up("it said nothing")),
                Ok(_) => {}
                Err(error) => return Err(TlsFailure::hung_up(&error.to_string())),
            }
        }
        if let Err(failure) = opened(&mut session, &mut sealed) {
            // The broker hears why; whether it does changes nothing.
            let alert = taken(&mut session);
            if !alert.is_empty() {
                drop(write_below.send(vec![Piece::Bytes(alert)]).await);
            }
            return Err(failure);
        }
    }
    let session = Arc::new(Session(Mutex::new(session)));
    Ok(Connection {
        read: Box::new(TlsRead {
            below: read_below,
            session: Arc::clone(&session),
            sealed,
        }),
        write: Box::new(TlsWrite {
            below: write_below,
            session,
        }),
        peer,
        local,
    })
}

/// What the session wants to send.
fn taken(session: &mut ClientConnection) -> Bytes {
    let mut out = Vec::new();
    while session.wants_write() {
        session
            .write_tls(&mut out)
            .expect("writing to memory does not fail");
    }
    out.into()
}

/// Gives the session a part of what came; what it opens of it is in its reader.
fn opened(session: &mut ClientConnection, sealed: &mut BytesMut) -> Result<(), TlsFailure> {
    let mut rest = &sealed[..];
    let read = session.read_tls(&mut rest);
    let read = read.map_err(|error| TlsFailure::from(rustls::Error::General(error.to_string())))?;
    sealed.advance(read);
    session.process_new_packets()?;
    Ok(())
}

#[derive(Debug)]
struct TlsRead {
    below: Box<dyn ReadHalf>,
    session: Arc<Session>,
    /// What came and was not opened yet.
    sealed: BytesMut,
}

impl ReadHalf for TlsRead {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut BytesMut,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            {
                let mut session = self.session.lock();
                let mut reader = session.reader();
                match reader.fill_buf() {
                    Ok(plain) => {
                        // Empty at TLS's farewell.
                        let taken = plain.len().min(limit);
                        buf.extend_from_slice(&plain[..taken]);
                        reader.consume(taken);
                        return Poll::Ready(Ok(taken));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
                if !self.sealed.is_empty() {
                    opened(&mut session, &mut self.sealed).map_err(TlsFailure::io)?;
                    continue;
                }
            }
            let read = self.below.poll_read(cx, &mut self.sealed, READ_CHUNK_BYTES);
            if ready!(read)? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }
}

#[derive(Debug)]
struct TlsWrite {
    below: Box<dyn WriteHalf>,
    session: Arc<Session>,
}

impl TlsWrite {
    /// Hands over what the session wants to send.
    async fn flush(&mut self) -> io::Result<()> {
        let out = taken(&mut self.session.lock());
        if out.is_empty() {
            return Ok(());
        }
        self.below.send(vec![Piece::Bytes(out)]).await
    }

    async fn send_all(&mut self, rope: Rope) -> io::Result<()> {
        let mut unsent = 0;
        for piece in rope {
            let Piece::Bytes(bytes) = piece else {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "a client sends no files",
                ));
            };
            for chunk in bytes.chunks(SEND_CHUNK_BYTES) {
                self.session.lock().writer().write_all(chunk)?;
                unsent += chunk.len();
                if unsent >= SEND_CHUNK_BYTES {
                    self.flush().await?;
                    unsent = 0;
                }
            }
        }
        self.flush().await
    }
}

impl WriteHalf for TlsWrite {
    fn send(&mut self, rope: Rope) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.send_all(rope))
    }

    fn shutdown(&mut self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async {
            self.session.lock().send_close_notify();
            self.flush().await?;
            self.below.shutdown().await
        })
    }
}
