//! A topic's durability changes while its partition serves: what was shown stays shown, what was
//! promised by the new rule is kept by it.

use millrace_core::Now;
use millrace_core::partition::{
    Acks, Append, AssignedReplica, Condition, Durability, Effect, Event, Leadership, Origin,
    Partition, Plan, ProducerTable, Recovered, Settings, Token,
};

fn partition(durability: Durability) -> Partition {
    let recovered = Recovered {
        broker_id: 1,
        settings: Settings::default(),
        durability,
        log_start: 0,
        log_end: 0,
        flushed: 0,
        high_watermark: 0,
        cut_count: 0,
        epochs: Vec::new(),
        may_have_lost: false,
        read_only: false,
    };
    let mut partition = Partition::recovered(&recovered, ProducerTable::default());
    let replica = AssignedReplica {
        broker_id: 1,
        broker_epoch: 1,
        eligible: true,
    };
    let leadership = Leadership {
        leader_epoch: 1,
        partition_epoch: 1,
        replicas: vec![replica],
        isr: vec![1],
    };
    step(&mut partition, Event::BecomeLeader(leadership));
    partition
}

fn step(partition: &mut Partition, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    partition.step(Now::default(), event, &mut effects);
    effects
}

fn append(partition: &mut Partition) {
    let append = Append {
        leader_epoch: None,
        acks: Acks::All,
        producer: None,
        last_offset_delta: 0,
        max_timestamp: 0,
        transactional: false,
        control: false,
        origin: Origin::Client,
        crowded: false,
    };
    let Ok(Plan::Write(write)) = partition.plan_append(Now::default(), &append) else {
        panic!("an append is taken");
    };
    step(partition, Event::Written(write));
}

fn await_ack(partition: &mut Partition, token: u64, upto: i64) -> Vec<Effect> {
    let event = Event::AwaitAck {
        token: Token(token),
        condition: Condition::HighWatermark(upto),
        deadline_ns: 1_000_000,
    };
    step(partition, event)
}

fn acked(effects: &[Effect], token: u64) -> bool {
    effects.iter().any(|effect| {
        matches!(effect, Effect::AckReady { token: Token(t), result: Ok(_) } if *t == token)
    })
}

#[test]
fn to_fsync_what_was_shown_stays_and_new_records_wait_for_the_disk() {
    let mut partition = partition(Durability::PageCache);
    append(&mut partition);
    append(&mut partition);
    assert_eq!(partition.bounds().high_watermark, 2);
    let effects = step(&mut partition, Event::DurabilityChanged(Durability::Fsync));
    assert_eq!(
        effects,
        [Effect::FlushNow],
        "what is shown is to be durable soon"
    );
    assert_eq!(partition.bounds().high_watermark, 2);
    append(&mut partition);
    assert_eq!(partition.bounds().high_watermark, 2);
    let effects = await_ack(&mut partition, 7, 3);
    assert!(!acked(&effects, 7));
    let flushed = |upto| Event::Flushed { upto, cut_count: 0 };
    assert!(!acked(&step(&mut partition, flushed(1)), 7));
    assert_eq!(partition.bounds().high_watermark, 2);
    assert!(acked(&step(&mut partition, flushed(3)), 7));
    assert_eq!(partition.bounds().high_watermark, 3);
}

#[test]
fn to_the_page_cache_what_waited_for_the_disk_is_answered() {
    let mut partition = partition(Durability::Fsync);
    append(&mut partition);
    assert!(!acked(&await_ack(&mut partition, 7, 1), 7));
    let effects = step(
        &mut partition,
        Event::DurabilityChanged(Durability::PageCache),
    );
    assert!(acked(&effects, 7));
    assert_eq!(partition.bounds().high_watermark, 1);
    let same = Event::DurabilityChanged(Durability::PageCache);
    assert_eq!(step(&mut partition, same), []);
}
