//! Consumer groups: members that join, share, live and leave, and the offsets that groups keep.
//!
//! What always holds: a request that a coordinator can't take yet is asked again; what is known of
//! members is held against every answer, and what isn't known is only taken from it.

mod members;
pub(super) mod model;
mod offsets;
mod tools;

use std::fmt::Debug;

use millrace_protocol::api::Api;
use millrace_protocol::error_code::ErrorCode;
use millrace_protocol::messages::Message;

use super::Run;
use crate::input::Input;
use model::Group;

/// Groups that requests speak of; no member joins one without a name.
const GROUPS: [&str; 8] = ["g", "g", "g", "h", "h", "\u{1} \u{e9}", "", "g"];

/// How often a coordinator that has yet to load is asked again.
const TRIES: u32 = 200;
/// After so long.
const AGAIN_MS: u64 = 20;

impl Run<'_> {
    /// One request about groups.
    pub(super) async fn ask_groups(&mut self, input: &mut Input<'_>) {
        self.have_groups().await;
        let now = self.client.clock.now().mono;
        let groups = self.model.groups.values_mut();
        groups.for_each(|group| group.passes(now));
        let kind = input.byte();
        let name = *input.choice(&GROUPS);
        match kind % 24 {
            0..=3 => self.join(name, input).await,
            4..=6 => self.sync(name, input).await,
            7..=8 => self.heartbeat(name, input).await,
            9 => self.leave(name, input).await,
            10..=14 => self.commit(name, input).await,
            15..=18 => self.fetch_offsets(name, input).await,
            19 => self.delete_offset(name, input).await,
            20 => self.list_groups(input).await,
            21 => self.describe_group(name, input).await,
            22 => self.delete_group(name, input).await,
            _ => self.join_by_name(name, input).await,
        }
    }

    /// Asks, and again as long as the coordinator has yet to load. `code` says what it answered.
    async fn coordinate<Q: Message + Debug, A: Message + Debug>(
        &mut self,
        api: (Api, i16),
        request: &Q,
        code: impl Fn(&A) -> i16,
    ) -> A {
        for _ in 0..TRIES {
            let answer: Option<A> = self.wire.ask(api, request).await;
            let answer = answer.expect("it is answered");
            if !is_to_wait(code(&answer)) {
                return answer;
            }
            self.sim
                .pause(std::time::Duration::from_millis(AGAIN_MS))
                .await;
        }
        panic!("a coordinator never loads: {request:?}");
    }

    fn group(&mut self, name: &str) -> &mut Group {
        self.model.groups.entry(name.to_owned()).or_default()
    }
}

/// Whether a coordinator asks for patience.
fn is_to_wait(code: i16) -> bool {
    let codes = [
        ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotCoordinator,
    ];
    codes.iter().any(|one| one.code() == code)
}

/// The code of an answer is one of these.
fn may_be(what: &dyn Debug, code: i16, may: &[ErrorCode]) {
    let is_one = may.iter().any(|one| one.code() == code);
    assert!(is_one, "{what:?} is answered {code}, may be {may:?}");
}
