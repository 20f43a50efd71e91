//! A member against a coordinator that answers anything, an application that comes and goes, and time
//! that passes: what it owns changes only as it may, and it always finds back.

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    heartbeat_interval: Duration::from_secs(3),
    poll_interval_max: Duration::from_mins(5),
    cooperative: false,
    is_static: false,
};

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// The step under way ends well; a draw for what is assigned.
    Well(u8),
    /// It ends with the fault of this number.
    Ill(u8),
    /// The sign of life is answered, with the fault of this number or well.
    Beat(Option<u8>),
    /// Time passes, in seconds.
    Wait(u16),
    /// The application begins or stops asking.
    Ask(bool),
    Change,
    Close,
}

fn happenings(closes: u32) -> impl Strategy<Value = Vec<Happens>> {
    let one = prop_oneof![
        20 => any::<u8>().prop_map(Happens::Well),
        3 => (0..6_u8).prop_map(Happens::Ill),
        5 => Just(Happens::Beat(None)),
        3 => (0..6_u8).prop_map(|fault| Happens::Beat(Some(fault))),
        6 => (1..10_u16).prop_map(Happens::Wait),
        1 => (250..400_u16).prop_map(Happens::Wait),
        6 => any::<bool>().prop_map(Happens::Ask),
        1 => Just(Happens::Change),
        closes => Just(Happens::Close),
    ];
    proptest::collection::vec(one, 0..200)
}

fn fault(number: u8) -> Fault {
    let error = || Error::Closed;
    match number {
        0 => Fault::Moved(error()),
        1 => Fault::Again(error()),
        2 => Fault::Rebalance,
        3 => Fault::UnknownMember,
        4 => Fault::StaleGeneration,
        _ => Fault::TakeId("given".to_owned()),
    }
}

fn partitions(draw: u8) -> Partitions {
    let drawn = (0..8).filter(|bit| draw & (1 << bit) != 0);
    drawn.map(|bit| TopicPartition::new("t", bit)).collect()
}

struct World {
    member: Member,
    rules: Rules,
    now: Mono,
    asking: bool,
    asked_at: Mono,
    step: Option<Effect>,
    /// The generation of the sign of life under way.
    beat: Option<i32>,
    /// What the consumer reads.
    reading: Partitions,
    /// What the listener believes.
    believed: Partitions,
    generation: i32,
    closing: bool,
    left: bool,
}

impl World {
    fn new(rules: Rules) -> Self {
        let mut world = Self {
            member: Member::new(rules),
            rules,
            now: Mono::default() + Duration::from_secs(1),
            asking: false,
            asked_at: Mono::default(),
            step: None,
            beat: None,
            reading: Partitions::new(),
            believed: Partitions::new(),
            generation: 0,
            closing: false,
            left: false,
        };
        world.decide(Event::Looked);
        world
    }

    fn at(&self) -> Present {
        Present {
            now: self.now,
            retry_at: self.now + Duration::from_millis(100),
            asking: self.asking,
            asked_at: self.asked_at,
        }
    }

    fn decide(&mut self, event: Event) {
        for effect in self.member.decide(self.at(), event) {
            self.carry_out(effect);
        }
        assert!(self.reading.is_subset(self.member.owned()));
        let being_revoked = matches!(self.step, Some(Effect::Revoke(_)));
        assert!(being_revoked || self.reading == *self.member.owned());
    }

    fn carry_out(&mut self, effect: Effect) {
        match &effect {
            Effect::Beat => {
                assert_eq!(self.beat, None, "two signs of life at once");
                assert!(self.member.coordinator().is_some());
                self.beat = Some(self.member.generation());
                return;
            }
            Effect::Forget(lost) => {
                assert!(lost.is_superset(&self.reading));
                self.reading.clear();
                return;
            }
            Effect::Abandon => {
                let abandoned = self.step.take().expect("something was under way");
                assert!(matches!(
                    abandoned,
                    Effect::Find | Effect::Join | Effect::Sync | Effect::Locate(_)
                ));
                return;
            }
            Effect::Find
            | Effect::Join
            | Effect::Sync
            | Effect::Revoke(_)
            | Effect::Locate(_)
            | Effect::Adopt(_)
            | Effect::TellLost(_)
            | Effect::Leave => assert_eq!(self.step, None, "before {effect:?} is over"),
        }
        self.begin(&effect);
        self.step = Some(effect);
    }

    fn begin(&mut self, effect: &Effect) {
        match effect {
            Effect::Join => assert!(self.rules.cooperative || self.reading.is_empty()),
            Effect::Sync => assert_eq!(self.member.generation(), self.generation),
            Effect::Revoke(gone) => {
                assert!(
                    self.asking || self.closing,
                    "the application works on {gone:?}"
                );
                assert!(gone.is_subset(&self.reading));
                self.reading.retain(|one| !gone.contains(one));
            }
            Effect::Locate(new) => assert!(new.is_disjoint(&self.reading)),
            Effect::Adopt(new) => {
                assert!(new.is_disjoint(&self.reading));
                assert!(new.is_disjoint(&self.believed), "the listener has {new:?}");
                self.reading.extend(new.iter().cloned());
                self.believed.extend(new.iter().cloned());
            }
            Effect::TellLost(lost) => {
                assert!(lost.is_subset(&self.believed));
                assert!(lost.is_disjoint(&self.reading));
                self.believed.retain(|one| !lost.contains(one));
            }
            Effect::Leave => {
                assert!(!self.rules.is_static);
                assert!(self.reading.is_empty());
                self.left = true;
            }
            Effect::Find | Effect::Beat | Effect::Forget(_) | Effect::Abandon => {}
        }
    }

    fn end_step(&mut self, how: Result<u8, u8>) {
        let Some(step) = self.step.take() else { return };
        let event = match (step, how) {
            (Effect::Find, how) => Event::Found(how.map(i32::from).map_err(fault)),
            (Effect::Join, Ok(_)) => {
                self.generation += 1;
                Event::Joined(Ok(("m".to_owned(), self.generation)))
            }
            (Effect::Join, Err(number)) => Event::Joined(Err(fault(number))),
            (Effect::Sync, how) => Event::Synced(how.map(partitions).map_err(fault)),
            (Effect::Locate(_), how) => {
                // What can be at fault there has nothing to do with members.
                Event::Located(how.map(drop).map_err(|number| fault(number % 2)))
            }
            (Effect::Revoke(gone), _) => {
                self.believed.retain(|one| !gone.contains(one));
                Event::Revoked
            }
            (Effect::Adopt(_) | Effect::TellLost(_), _) => Event::Told,
            (Effect::Leave, _) => Event::Left,
            (Effect::Beat | Effect::Forget(_) | Effect::Abandon, _) => unreachable!("no steps"),
        };
        self.decide(event);
    }

    fn happens(&mut self, happens: Happens) {
        match happens {
            Happens::Well(draw) => self.end_step(Ok(draw)),
            Happens::Ill(number) => self.end_step(Err(number)),
            Happens::Beat(number) => {
                if let Some(generation) = self.beat.take() {
                    let answer = number.map_or(Ok(()), |number| Err(fault(number)));
                    self.decide(Event::Beat(generation, answer));
                }
            }
            Happens::Wait(seconds) => {
                self.now = self.now + Duration::from_secs(u64::from(seconds));
                self.decide(Event::Looked);
            }
            Happens::Ask(asking) => {
                if self.asking {
                    self.asked_at = self.now;
                }
                self.asking = asking;
                self.decide(Event::Looked);
            }
            Happens::Change => self.decide(Event::Changed),
            Happens::Close => {
                self.closing = true;
                self.decide(Event::Close);
            }
        }
    }

    /// All goes well from now on, and time passes as the member asks.
    fn settle(&mut self, assigned: u8) {
        for _ in 0..40 {
            if self.step.is_some() {
                self.end_step(Ok(assigned));
            } else if self.beat.is_some() {
                self.happens(Happens::Beat(None));
            } else if let Some(next) = self.member.next_at(self.at()) {
                assert!(next > self.now, "a time that is over");
                self.now = next;
                self.decide(Event::Looked);
            }
        }
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    any::<(bool, bool)>().prop_map(|(cooperative, is_static)| Rules {
        cooperative,
        is_static,
        ..RULES
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_member_finds_back(
        rules in rules(),
        happenings in happenings(0),
        assigned in any::<u8>(),
    ) {
        let mut world = World::new(rules);
        for happens in happenings {
            world.happens(happens);
        }
        world.happens(Happens::Ask(true));
        world.happens(Happens::Change);
        world.settle(assigned);
        prop_assert_eq!(&world.reading, &partitions(assigned));
        prop_assert_eq!(&world.believed, &world.reading);
        prop_assert!(world.member.error().is_none());
    }

    #[test]
    fn whatever_happens_a_closing_member_ends_with_nothing(
        rules in rules(),
        happenings in happenings(1),
    ) {
        let mut world = World::new(rules);
        for happens in happenings {
            world.happens(happens);
        }
        world.happens(Happens::Close);
        for _ in 0..10 {
            world.end_step(Ok(1));
        }
        prop_assert!(world.member.has_ended());
        prop_assert!(world.reading.is_empty() && world.believed.is_empty());
    }
}

#[test]
fn a_member_joins_once_more_with_the_id_it_is_given_and_leaves_when_it_closes() {
    let mut world = World::new(RULES);
    assert_eq!(world.step, Some(Effect::Find));
    world.end_step(Ok(7));
    assert_eq!(world.step, Some(Effect::Join));
    world.end_step(Err(5));
    assert_eq!(
        (world.member.id(), &world.step),
        ("given", &Some(Effect::Join))
    );
    world.end_step(Ok(0));
    assert_eq!(world.step, Some(Effect::Sync));
    world.end_step(Ok(3));
    assert_eq!(world.step, Some(Effect::Locate(partitions(3))));
    world.end_step(Ok(0));
    assert_eq!(world.step, Some(Effect::Adopt(partitions(3))));
    world.end_step(Ok(0));
    assert_eq!((&world.step, world.beat), (&None, None));
    world.happens(Happens::Wait(3));
    assert_eq!(world.beat, Some(1));
    world.happens(Happens::Close);
    assert_eq!(world.step, Some(Effect::Revoke(partitions(3))));
    world.end_step(Ok(0));
    assert_eq!(world.step, Some(Effect::Leave));
    world.end_step(Ok(0));
    assert!(world.member.has_ended());
}

fn stable(rules: Rules, assigned: u8) -> World {
    let mut world = World::new(rules);
    world.happens(Happens::Ask(true));
    world.settle(assigned);
    world.happens(Happens::Ask(false));
    world
}

#[test]
fn an_eager_member_gives_all_up_before_it_joins_again_and_waits_for_its_application() {
    let mut world = stable(RULES, 3);
    world.happens(Happens::Change);
    assert_eq!(world.step, None);
    assert!(world.member.awaits_application());
    world.happens(Happens::Ask(true));
    assert_eq!(world.step, Some(Effect::Revoke(partitions(3))));
    world.end_step(Ok(0));
    assert_eq!(world.step, Some(Effect::Join));
}

#[test]
fn a_cooperative_member_gives_up_what_it_is_no_longer_assigned_and_joins_again() {
    let rules = Rules {
        cooperative: true,
        ..RULES
    };
    let mut world = stable(rules, 0b011);
    world.happens(Happens::Change);
    assert_eq!(world.step, Some(Effect::Join));
    world.end_step(Ok(0));
    world.end_step(Ok(0b110));
    assert_eq!(world.step, None);
    world.happens(Happens::Ask(true));
    assert_eq!(world.step, Some(Effect::Revoke(partitions(0b001))));
    world.end_step(Ok(0));
    assert_eq!(world.step, Some(Effect::Locate(partitions(0b100))));
    world.end_step(Ok(0));
    world.end_step(Ok(0));
    assert_eq!(world.step, Some(Effect::Join));
}

#[test]
fn a_member_whose_application_stops_asking_leaves_until_it_asks_again() {
    for is_static in [false, true] {
        let rules = Rules { is_static, ..RULES };
        let mut world = stable(rules, 1);
        world.happens(Happens::Wait(299));
        assert_eq!(world.step, None);
        world.happens(Happens::Wait(2));
        assert_eq!(world.step, Some(Effect::TellLost(partitions(1))));
        world.end_step(Ok(0));
        assert_eq!(world.left, !is_static);
        world.end_step(Ok(0));
        assert_eq!(world.step, None);
        assert!(world.member.awaits_application());
        world.happens(Happens::Ask(true));
        assert_eq!(world.step, Some(Effect::Join));
    }
}

#[test]
fn a_fault_that_no_retry_mends_ends_the_member() {
    let mut world = stable(RULES, 1);
    world.happens(Happens::Wait(3));
    let generation = world.beat.take().unwrap();
    let fenced = Err(Fault::Final(Error::Closed));
    world.decide(Event::Beat(generation, fenced));
    assert!(world.reading.is_empty());
    assert!(world.member.error().is_some());
    assert_eq!(world.step, Some(Effect::TellLost(partitions(1))));
    world.end_step(Ok(0));
    assert!(world.member.has_ended());
}

#[test]
fn joining_is_given_up_when_the_coordinator_is_gone() {
    let mut world = World::new(RULES);
    world.end_step(Ok(7));
    assert_eq!(world.step, Some(Effect::Join));
    world.happens(Happens::Wait(3));
    world.happens(Happens::Beat(Some(3)));
    assert_eq!(
        world.step,
        Some(Effect::Join),
        "that it isn't known yet is no news"
    );
    world.happens(Happens::Wait(3));
    world.happens(Happens::Beat(Some(0)));
    assert_eq!(world.step, None);
    world.happens(Happens::Wait(1));
    assert_eq!(world.step, Some(Effect::Find));
}
