//! What the handlers of groups share: who may, what a shard is asked, how an answer is waited for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_core::group::{Groups, Membership, Reply, Request, Text};
use millrace_host::BoxFuture;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::{self, Message};

use crate::context::{Operation, RequestContext, Resource};
use crate::outcome::{Outcome, Reply as Answer};

/// Whether a group may be asked for that; the code that says no.
pub(super) fn may(
    context: &RequestContext,
    operation: Operation,
    group: &str,
) -> Result<(), ErrorCode> {
    if context.authorize(operation, Resource::Group(group)) {
        Ok(())
    } else {
        Err(ErrorCode::GroupAuthorizationFailed)
    }
}

/// Whether whoever asks is not known yet: members go on, and their groups, at the limit too.
fn is_newcomer(request: &Request) -> bool {
    match request {
        Request::Join(join) => join.member_id.is_empty(),
        Request::Commit(commit) => commit.member.generation < 0,
        Request::Sync(_)
        | Request::Heartbeat(_)
        | Request::Leave(_)
        | Request::DeleteOffsets(_)
        | Request::Delete => false,
    }
}

/// Whether groups may take more memory than they have. What is in flight comes on top of the limit:
/// at most as many bytes as requests may.
fn has_room(context: &RequestContext) -> Result<(), ErrorCode> {
    let node = &context.node;
    if node.groups.held_bytes() < node.config.groups.state_bytes_max {
        return Ok(());
    }
    node.metrics.groups_full.inc();
    Err(ErrorCode::CoordinatorNotAvailable)
}

/// Who a member says to be.
pub(super) fn membership(member_id: &str, instance: Option<&str>, generation: i32) -> Membership {
    Membership {
        member_id: member_id.into(),
        group_instance_id: instance.map(Text::from),
        generation,
    }
}

/// Asks a group's shard, if the client may; what becomes of it comes later.
pub(super) async fn ask(
    context: &RequestContext,
    operation: Operation,
    group: &str,
    request: Request,
) -> Result<BoxFuture<'static, Reply>, ErrorCode> {
    if group.is_empty() && !matches!(request, Request::Commit(_) | Request::Delete) {
        // A group without a name has no members, but may have offsets, and goes with all of them.
        return Err(ErrorCode::InvalidGroupId);
    }
    may(context, operation, group)?;
    if is_newcomer(&request) {
        has_room(context)?;
    }
    let refused = request.refused(ErrorCode::NotCoordinator);
    let waits_for_others = matches!(request, Request::Join(_) | Request::Sync(_));
    let asked = context.node.ask_group(group, request).await?;
    let stopping = context.node.stopping.clone();
    Ok(Box::pin(async move {
        tokio::select! {
            biased;
            answer = asked.answer() => answer.unwrap_or(refused),
            // What others do may take minutes; what is being written is soon done.
            () = stopping.cancelled(), if waits_for_others => refused,
        }
    }))
}

/// The same, for what is written: after `offsets.commit.timeout.ms` nobody knows any more what
/// becomes of it.
pub(super) async fn ask_to_write(
    context: &RequestContext,
    operation: Operation,
    group: &str,
    request: Request,
) -> Result<BoxFuture<'static, Reply>, ErrorCode> {
    let late = request.refused(ErrorCode::RequestTimedOut);
    let answer = ask(context, operation, group, request).await?;
    let clock = Arc::clone(&context.node.host.clock);
    let deadline = clock.now().mono + context.node.config.groups.commit_timeout;
    Ok(Box::pin(async move {
        tokio::select! {
            biased;
            answer = answer => answer,
            () = clock.sleep_until(deadline) => late,
        }
    }))
}

/// An answer in the version that was asked. What the broker builds itself can be written.
pub(super) fn encoded<M: Message>(version: i16, message: &M) -> Bytes {
    messages::encode(message, version).expect("an answer has the fields of its version alone")
}

/// Waits for a shard, then answers with what `build` makes of its reply. What groups add to such an
/// answer is at most twice what they hold, which has its own limit.
pub(super) fn answer_with<M: Message>(
    context: &RequestContext,
    reply: BoxFuture<'static, Reply>,
    build: impl FnOnce(&RequestContext, Reply) -> M + Send + 'static,
) -> Outcome {
    let context = context.clone();
    Outcome::Wait(Box::pin(async move {
        let clock = &context.node.host.clock;
        let begin = clock.now().mono;
        let reply = reply.await;
        let waited = clock.now().mono.since(begin);
        // Of the others of its group a join or sync may ask minutes.
        let asked_wait = if matches!(reply, Reply::Join(_) | Reply::Sync(_)) {
            waited
        } else {
            Duration::ZERO
        };
        let message = build(&context, reply);
        Answer {
            asked_wait,
            ..Answer::bytes(encoded(context.api_version, &message))
        }
    }))
}

/// What answers about a group take at most that tell everything of it, in memory and on the wire.
pub(super) async fn told_bytes(context: &RequestContext, group: &str) -> u64 {
    let look = |groups: &Groups| (4 * groups.group_bytes(group) as u64, -1);
    // One that can't be asked has nothing to tell.
    context.node.look_at_group(group, look).await.unwrap_or(0)
}
