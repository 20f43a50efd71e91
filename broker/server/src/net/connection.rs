//! One connection: effects one after the other, replies in order.
//!
//! What always holds:
//! - A request's effect begins when the effects before it have ended and the connection has a place
//!   for it; a barrier's when, besides, every reply before it has been sent. A barrier holds all
//!   places until its own reply has been sent.
//! - An effect that was begun is run to its end, also when the client hangs up or the broker stops
//!   softly. A hang-up drops the waits.
//! - When the broker ends the connection for what a request was, the replies to the requests before
//!   it are sent first.

use std::sync::Arc;

use bytes::Bytes;
use millrace_host::{Connection, Mono};
use millrace_probe::{Bug, planted};
use millrace_protocol::header;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::reader::{Frame, Reader};
use super::replies::Replies;
use super::slow::Stages;
use super::writer::{Asked, Entry, Pending, Writer};
use super::{Request, Room, Route, Service, Shared};
use crate::context::ConnectionInfo;
use crate::metrics::ApiMetrics;
use crate::outcome::{Close, CloseReason, Outcome};

/// Serves one connection to its end; cancelling the token ends it softly. Returns why it ended and what the client called itself.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    service: Arc<dyn Service>,
    (connection, soft): (Connection, CancellationToken),
    info: Arc<ConnectionInfo>,
) -> (Close, Arc<str>) {
    let end = soft.child_token();
    let slots_total = shared.limits.connection_requests_max;
    let replies = Replies::default();
    let writer = Writer::new(Arc::clone(&shared), connection.write, Arc::clone(&info));
    let mut requests = Requests {
        reader: Reader::new(Arc::clone(&shared), connection.read, end.clone()),
        slots: Arc::new(Semaphore::new(slots_total as usize)),
        slots_total,
        shared,
        service,
        info,
        client_id: Arc::from(""),
    };
    let drop_waits = CancellationToken::new();
    let reading = async {
        let close = requests.run(&replies).await;
        replies.complete();
        if close.reason == CloseReason::PeerGone {
            drop_waits.cancel();
        }
        close
    };
    let writing = async {
        let sent = tokio::select! {
            biased;
            () = drop_waits.cancelled() => Ok(()),
            sent = writer.run(&replies) => sent,
        };
        replies.close();
        end.cancel();
        sent
    };
    // The reading side first: see `Replies`.
    let (close, sent) = tokio::join!(biased; reading, writing);
    // A failure to send is what ended the reading.
    (sent.err().unwrap_or(close), requests.client_id)
}

/// The requests of one connection, in order.
struct Requests {
    reader: Reader,
    /// Places for requests in progress.
    slots: Arc<Semaphore>,
    slots_total: u32,
    shared: Arc<Shared>,
    service: Arc<dyn Service>,
    info: Arc<ConnectionInfo>,
    client_id: Arc<str>,
}

impl Requests {
    /// Serves requests until the connection is to end, and says why. What waits for its reply then
    /// is with the writer.
    async fn run(&mut self, replies: &Replies) -> Close {
        loop {
            if let Err(close) = self.serve_one(replies).await {
                return close;
            }
        }
    }

    async fn serve_one(&mut self, replies: &Replies) -> Result<(), Close> {
        let mut slots = self.take_slots(1).await?;
        let Frame { bytes, mut held } = self.reader.frame().await?;
        // Only a long frame has a buffer of its own that can be taken back.
        let whole = held.is_some().then(|| bytes.clone());
        let room = Room::of(&self.shared.answers);
        let (route, request, mut asked) = self.begin(bytes, &room)?;
        if !route.overlaps && self.slots_total > 1 {
            slots.merge(self.take_slots(self.slots_total - 1).await?);
        }
        let metrics = route.metrics;
        metrics.requests.inc();
        let begun = self.shared.host.clock.now().mono;
        asked.begun = begun;
        let queued = begun.since(asked.received);
        metrics.queued.observe(queued.as_secs_f64());
        let outcome = self.service.handle(request).await?;
        let done = self.shared.host.clock.now().mono;
        metrics.effect.observe(done.since(begun).as_secs_f64());
        if whole.is_some_and(|whole| self.reader.recycle(whole).is_ok()) {
            if planted(Bug::FrameBudgetDeadlock) {
                std::mem::forget(held.take());
            }
            held = None;
        }
        let reply = match outcome {
            Outcome::Ready(reply) => {
                room.shrink_to(reply.memory_bytes());
                Pending::Ready(reply)
            }
            Outcome::Wait(wait) => Pending::Wait(wait),
            Outcome::NoReply => {
                self.unanswered(done, &metrics, &asked);
                return Ok(());
            }
        };
        let entry = Entry {
            reply,
            asked,
            done,
            metrics,
            _slots: slots,
            _held: held,
            room,
        };
        if replies.put(entry) {
            Ok(())
        } else {
            let detail = "the client takes no replies";
            Err(Close::new(CloseReason::PeerGone, detail))
        }
    }

    /// Takes the header off a frame that has arrived.
    fn begin(
        &mut self,
        mut body: Bytes,
        room: &Arc<Room>,
    ) -> Result<(Route, Request, Asked), Close> {
        let received = self.shared.host.clock.now().mono;
        let request_bytes = body.len() as u64;
        let (api_key, api_version) = header::peek_api(&body)
            .ok_or_else(|| Close::new(CloseReason::Unparsable, "a request without a header"))?;
        let route = self.service.route(api_key, api_version)?;
        // Its client id is a part of the frame, which is not kept for it.
        let header =
            header::decode_request(&mut body, route.request_tags).map_err(Close::unparsable)?;
        let client_id = self.client_id(&header);
        let asked = Asked {
            api_version,
            client_id: Arc::clone(&client_id),
            request_bytes,
            correlation_id: header.correlation_id,
            response_tags: route.response_tags,
            received,
            begun: received,
        };
        let request = Request {
            connection: Arc::clone(&self.info),
            api_key,
            api_version,
            client_id,
            received,
            deadline: received + self.shared.limits.wait_max,
            body,
            room: Arc::clone(room),
        };
        Ok((route, request, asked))
    }

    /// A request that wants no answer has ended.
    fn unanswered(&self, done: Mono, metrics: &ApiMetrics, asked: &Asked) {
        let stages = Stages {
            queue: asked.begun.since(asked.received),
            effect: done.since(asked.begun),
            ..Stages::default()
        };
        let served = asked.served(&self.info, 0);
        self.shared.slow.served(done, metrics, stages, served);
    }

    async fn take_slots(&mut self, count: u32) -> Result<OwnedSemaphorePermit, Close> {
        let slots = Arc::clone(&self.slots).acquire_many_owned(count);
        let taken = self.reader.while_watching(slots).await?;
        Ok(taken.expect("the connection's semaphore is never closed"))
    }

    /// The client id, made anew only when it differs from the last request's.
    fn client_id(&mut self, header: &header::RequestHeader) -> Arc<str> {
        if *self.client_id != *header.client_id() {
            self.client_id = Arc::from(header.client_id());
        }
        Arc::clone(&self.client_id)
    }
}
