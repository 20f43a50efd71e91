//! A lane against a broker that keeps Kafka's rules for sequence numbers, over connections that break
//! and whose requests may be carried out long after, with refusals, expiry and fencing at any time.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use millrace_protocol::ids::ProducerId;
use millrace_protocol::records::{Batch, BatchHeader, Scratch, record_iter};
use proptest::prelude::*;
use tokio::task::yield_now;

use super::*;

const RULES: Rules = Rules {
    idempotent: true,
    linger: Duration::from_millis(5),
    batch_bytes: 150,
    request_bytes_max: 1000,
    delivery_timeout: Duration::from_secs(10),
    batch: DEFAULTS,
};

const DEFAULTS: Options = Options {
    codec: millrace_protocol::records::Codec::None,
    level: None,
    timestamp_type: millrace_protocol::records::TimestampType::CreateTime,
    producer: None,
    transactional: false,
    control: false,
    base_offset: 0,
    leader_epoch: -1,
    last_offset_delta: None,
    delete_horizon_ms: None,
};

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The application sends a record.
    Append,
    /// The lane sends what it has.
    Send,
    /// The broker carries out the oldest request of the connection.
    Execute,
    /// The same, but refuses it for what is in it.
    Refuse,
    /// The same, but says that it may be stored: after it is, or before.
    Doubt { stored: bool },
    /// The client hears the oldest answer.
    Answer,
    /// The connection breaks.
    Break,
    /// The broker carries out a request that it still had of a broken connection.
    ExecuteLate,
    /// Time passes, in milliseconds.
    Wait(u16),
    /// Another producer got the id's next epoch.
    Fence,
    /// The broker takes batches of so many bytes from now on.
    Limit(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => Just(Step::Append),
        12 => Just(Step::Send),
        12 => Just(Step::Execute),
        12 => Just(Step::Answer),
        1 => Just(Step::Refuse),
        1 => any::<bool>().prop_map(|stored| Step::Doubt { stored }),
        1 => Just(Step::Break),
        2 => Just(Step::ExecuteLate),
        4 => (1..20_u16).prop_map(Step::Wait),
        1 => (1000..12_000_u16).prop_map(Step::Wait),
        1 => Just(Step::Fence),
        // A batch of one record takes 76 bytes.
        1 => prop_oneof![Just(70), 76..200_u16, Just(u16::MAX)].prop_map(Step::Limit),
    ];
    proptest::collection::vec(step, 0..300)
}

/// First and last sequence number, and the base offset, of a batch.
type KeptBatch = (i32, i32, i64);

/// One partition's leader.
#[derive(Debug, Default)]
struct Broker {
    log: Vec<u64>,
    /// By producer id: its epoch and its last batches.
    producers: BTreeMap<i64, (i16, VecDeque<KeptBatch>)>,
}

enum Outcome {
    Stored(i64),
    OutOfOrder,
    Fenced,
}

impl Broker {
    fn carry_out(&mut self, batch: &Bytes) -> Outcome {
        let header = BatchHeader::parse(batch).unwrap();
        let (first, last) = (header.base_sequence, header.last_sequence());
        let is_new = !self.producers.contains_key(&header.producer_id);
        let state = self.producers.entry(header.producer_id);
        let (epoch, batches) = state.or_insert((header.producer_epoch, VecDeque::new()));
        if header.producer_epoch < *epoch {
            return Outcome::Fenced;
        }
        if header.producer_epoch > *epoch {
            if first != 0 {
                return Outcome::OutOfOrder;
            }
            *epoch = header.producer_epoch;
            batches.clear();
        }
        if let Some((_, _, base)) = batches
            .iter()
            .find(|kept| (kept.0, kept.1) == (first, last))
        {
            return Outcome::Stored(*base);
        }
        let expected = batches
            .back()
            .map_or(0, |(_, last, _)| sequence_after(*last, 1));
        // Of a producer that isn't known, any number is taken.
        if first != expected && !is_new {
            return Outcome::OutOfOrder;
        }
        let base = self.log.len() as i64;
        self.log.extend(numbers(batch));
        batches.push_back((first, last, base));
        if batches.len() > IN_FLIGHT_MAX {
            batches.pop_front();
        }
        Outcome::Stored(base)
    }
}

fn numbers(batch: &Bytes) -> Vec<u64> {
    let batch = Batch::parse(batch.clone()).unwrap();
    batch.verify_crc().unwrap();
    let mut scratch = Scratch::new(1 << 20);
    let records = record_iter(&batch, &mut scratch).unwrap();
    let number = |value: &[u8]| u64::from_be_bytes(value[..8].try_into().unwrap());
    records
        .map(|record| number(record.unwrap().value.unwrap()))
        .collect()
}

#[derive(Debug)]
struct InFlight {
    ticket: u64,
    stamp: Option<Stamp>,
    batch: Bytes,
}

struct World {
    now: Mono,
    lane: Lane,
    buffers: Buffers,
    broker: Broker,
    /// Sent on the connection, not carried out.
    requests: VecDeque<InFlight>,
    /// Carried out, not heard.
    answers: VecDeque<(InFlight, Verdict)>,
    /// Of broken connections, not carried out.
    late: VecDeque<Bytes>,
    deliveries: Vec<Delivery>,
    next_id: i64,
    /// Bytes that are held and not given back.
    held: usize,
    /// The most that the broker takes.
    limit: usize,
    reports: Option<Arc<Queue>>,
    /// What was reported, by tag.
    reported: BTreeMap<u64, Result<Option<i64>, Error>>,
}

fn error() -> Error {
    Error::Closed
}

impl World {
    fn new() -> Self {
        Self::reporting(None)
    }

    fn reporting(reports: Option<Arc<Queue>>) -> Self {
        Self {
            now: Mono::default() + Duration::from_secs(1),
            lane: Lane::new("t".into(), 0, reports.clone()),
            buffers: Buffers::new(RULES.batch_bytes, 100 * RULES.batch_bytes),
            broker: Broker::default(),
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            late: VecDeque::new(),
            deliveries: Vec::new(),
            next_id: 7,
            held: 0,
            limit: usize::MAX,
            reports,
            reported: BTreeMap::new(),
        }
    }

    /// Reads the reports.
    fn read_reports(&mut self) {
        for told in self.reports.iter().flat_map(|queue| queue.drain()) {
            self.held -= told.bytes;
            for (index, tag) in (0..).zip(told.tags) {
                let result = told.result.clone();
                let result = result.map(|base| base.map(|base| base + index));
                let before = self.reported.insert(tag, result);
                assert!(before.is_none(), "record {tag} is reported twice");
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append => self.append(),
            Step::Send => self.send(),
            Step::Execute => self.carry_out(None),
            Step::Refuse => self.carry_out(Some(Verdict::Refused(error()))),
            Step::Doubt { stored } => {
                if stored && let Some(oldest) = self.requests.front() {
                    self.broker.carry_out(&oldest.batch);
                }
                self.carry_out(Some(Verdict::Unknown(error())));
            }
            Step::Answer => self.answer(),
            Step::Break => self.break_connection(),
            Step::ExecuteLate => {
                if let Some(batch) = self.late.pop_front() {
                    self.broker.carry_out(&batch);
                }
            }
            Step::Wait(ms) => {
                self.now = self.now + Duration::from_millis(ms.into());
                self.held -= self.lane.expire(self.now, &RULES);
            }
            Step::Limit(bytes) => self.limit = bytes.into(),
            Step::Fence => {
                let newest = self.broker.producers.values_mut().next_back();
                if let Some((epoch, batches)) = newest.filter(|(epoch, _)| *epoch < i16::MAX) {
                    *epoch += 1;
                    batches.clear();
                }
            }
        }
    }

    fn append(&mut self) {
        let number = self.deliveries.len() as u64;
        let entry = Entry {
            key: None,
            value: Some(&number.to_be_bytes()),
            headers: &[],
            timestamp_ms: 5,
            tag: number,
        };
        self.held += entry.bytes_max();
        let appended = self
            .lane
            .append(self.now, &entry, &RULES, &mut self.buffers);
        self.deliveries.push(appended.delivery);
    }

    fn send(&mut self) {
        match self.lane.next(self.now, &RULES) {
            Next::Send(Sending {
                ticket,
                content,
                stamp,
            }) => {
                let batch = content.encoded(stamp);
                self.requests.push_back(InFlight {
                    ticket,
                    stamp,
                    batch,
                });
                let in_flight = self.requests.len() + self.answers.len();
                assert!(in_flight <= IN_FLIGHT_MAX, "{in_flight} in flight");
            }
            Next::NeedsIdentity => {
                self.lane.identify(ProducerIdentity {
                    id: ProducerId(self.next_id),
                    epoch: ProducerEpoch(0),
                });
                self.next_id += 1;
            }
            Next::At(_) | Next::Nothing => {}
        }
    }

    fn carry_out(&mut self, instead: Option<Verdict>) {
        let Some(request) = self.requests.pop_front() else {
            return;
        };
        let is_too_large = request.batch.len() > self.limit;
        let too_large = is_too_large.then_some(Verdict::TooLarge(ErrorCode::MessageTooLarge));
        let instead = instead.or(too_large);
        let verdict = instead.unwrap_or_else(|| match self.broker.carry_out(&request.batch) {
            Outcome::Stored(base) => Verdict::Stored {
                base_offset: Some(base),
            },
            Outcome::OutOfOrder => Verdict::OutOfOrder(error()),
            Outcome::Fenced => Verdict::Fenced(error()),
        });
        self.answers.push_back((request, verdict));
    }

    fn answer(&mut self) {
        if let Some((request, verdict)) = self.answers.pop_front() {
            self.hear(request, verdict);
        }
    }

    fn hear(
        &mut self,
        InFlight {
            ticket,
            stamp,
            batch,
        }: InFlight,
        verdict: Verdict,
    ) {
        let content = Content::Encoded { batch, stamp };
        let by = (&RULES, &mut self.buffers);
        self.held -= self.lane.answered(ticket, content, verdict, self.now, by);
    }

    fn break_connection(&mut self) {
        let answered = std::mem::take(&mut self.answers)
            .into_iter()
            .map(|(request, _)| request);
        let lost: Vec<_> = answered.collect();
        for request in lost {
            self.hear(request, Verdict::Unknown(error()));
        }
        for request in std::mem::take(&mut self.requests) {
            self.late.push_back(request.batch.clone());
            self.hear(request, Verdict::Unknown(error()));
        }
    }

    /// Nothing goes wrong any more: all is told.
    fn settle(&mut self) {
        for _ in 0..20 * self.deliveries.len() + 100 {
            self.step(Step::Wait(5));
            self.send();
            self.carry_out(None);
            self.answer();
        }
        assert!(self.lane.is_empty(), "stuck: {:?}", self.lane);
        self.read_reports();
        assert_eq!(self.held, 0, "bytes that nobody gave back");
        while let Some(batch) = self.late.pop_front() {
            self.broker.carry_out(&batch);
        }
    }
}

/// What was told of a delivery, if anything was.
async fn told(delivery: Delivery) -> Option<Result<Option<i64>, Error>> {
    tokio::select! {
        biased;
        told = delivery.wait() => Some(told.map(|told| told.offset)),
        () = yield_now() => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Each record is told of; a delivered one is stored once, at its offset; one that is said not to
    /// be stored isn't; nothing is stored twice or out of order.
    #[test]
    fn nothing_is_lost_doubled_or_reordered(steps in steps(), reports: bool) {
        let mut world = World::reporting(reports.then(Arc::default));
        for step in steps {
            world.step(step);
        }
        world.settle();
        let World { broker, deliveries, reported, .. } = world;
        prop_assert_eq!(reported.len(), if reports { deliveries.len() } else { 0 });
        prop_assert!(broker.log.is_sorted_by(|one, next| one < next), "order: {:?}", broker.log);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (number, delivery) in (0_u64..).zip(deliveries) {
            let told = runtime.block_on(told(delivery)).expect("every record is told of");
            if let Some(reported) = reported.get(&number) {
                let (one, other) = (format!("{reported:?}"), format!("{told:?}"));
                prop_assert_eq!(one, other, "what is reported of record {}", number);
            }
            let stored_at = broker.log.iter().position(|stored| *stored == number);
            match told {
                Ok(offset) => {
                    prop_assert_eq!(stored_at.map(|at| at as i64), offset, "record {}", number);
                }
                Err(Error::Undelivered { may_be_stored: true, .. }) => {}
                Err(error) => prop_assert_eq!(stored_at, None, "record {}: {}", number, error),
            }
        }
    }
}

#[test]
fn five_batches_go_without_an_answer_and_the_sixth_waits() {
    let mut world = World::new();
    for _ in 0..40 {
        world.append();
    }
    for _ in 0..20 {
        world.send();
    }
    assert_eq!(world.requests.len(), 1, "the first of an epoch goes alone");
    world.carry_out(None);
    world.answer();
    for _ in 0..20 {
        world.send();
    }
    assert_eq!(world.requests.len(), IN_FLIGHT_MAX);
    world.carry_out(None);
    world.answer();
    world.send();
    assert_eq!(world.requests.len(), IN_FLIGHT_MAX);
}

#[test]
fn a_batch_waits_for_more_records_as_long_as_it_may_linger() {
    let mut world = World::new();
    world.append();
    let due = world.now + RULES.linger;
    assert!(matches!(world.lane.next(world.now, &RULES), Next::At(at) if at == due));
    world.now = due;
    world.send();
    world.send();
    assert_eq!(world.requests.len(), 1);
}

#[test]
fn what_is_refused_behind_nothing_costs_no_epoch() {
    let mut world = World::new();
    for refused in [true, false] {
        world.append();
        world.step(Step::Wait(5));
        world.send();
        world.send();
        world.carry_out(refused.then(|| Verdict::Refused(error())));
        world.answer();
    }
    assert_eq!(world.broker.log, [1]);
    assert_eq!(world.broker.producers[&7].0, 0);
}

#[test]
fn behind_the_last_epoch_comes_a_new_producer_id() {
    let mut world = World::new();
    world.lane.identify(ProducerIdentity {
        id: ProducerId(3),
        epoch: ProducerEpoch(i16::MAX),
    });
    world.append();
    world.step(Step::Wait(5));
    world.send();
    world.break_connection();
    world.late.clear();
    // Given up: its number is lost.
    world.step(Step::Wait(11_000));
    world.append();
    world.settle();
    assert_eq!(world.broker.log, [1]);
    assert_eq!(
        world.broker.producers.keys().copied().collect::<Vec<_>>(),
        [7]
    );
}

/// Sends a batch of so many records, of which the broker takes no more than the limit.
fn sent_whole(records: usize, limit: usize) -> World {
    let mut world = World::new();
    world.limit = limit;
    for _ in 0..records {
        world.append();
    }
    world.step(Step::Wait(5));
    // The first time an identity is had.
    world.send();
    world.send();
    assert_eq!(world.requests.len(), 1);
    world
}

#[test]
fn a_batch_that_is_too_large_goes_again_at_once_in_smaller_ones() {
    let mut world = sent_whole(1, usize::MAX);
    world.carry_out(None);
    world.answer();
    world.limit = 100;
    for _ in 0..5 {
        world.append();
    }
    world.step(Step::Wait(5));
    world.send();
    world.send();
    assert_eq!(world.requests.len(), 2, "of four and of one");
    world.carry_out(None);
    world.answer();
    assert_eq!(world.lane.failures(), 0, "no reason to wait");
    // What is behind it came too early, and comes again behind both halves.
    world.carry_out(None);
    world.answer();
    world.settle();
    assert_eq!(world.broker.log, [0, 1, 2, 3, 4, 5]);
    assert_eq!(world.broker.producers[&7].0, 0, "no epoch is spent");
}

#[test]
fn a_record_that_is_too_large_alone_is_named_and_the_others_go() {
    let mut world = World::new();
    for (key, bytes) in [("small", 8), ("large", 90), ("after", 8)] {
        let entry = Entry {
            key: Some(key.as_bytes()),
            value: Some(&vec![0; bytes]),
            headers: &[],
            timestamp_ms: 5,
            tag: 0,
        };
        world.held += entry.bytes_max();
        let appended = world
            .lane
            .append(world.now, &entry, &RULES, &mut world.buffers);
        world.deliveries.push(appended.delivery);
    }
    world.limit = 100;
    world.settle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let told: Vec<_> = std::mem::take(&mut world.deliveries)
        .into_iter()
        .map(|delivery| runtime.block_on(told(delivery)).unwrap())
        .collect();
    let error = told[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("with key \"large\" for t-0"), "{error}");
    let offsets = [told[0].as_ref().unwrap(), told[2].as_ref().unwrap()];
    assert_eq!(offsets, [&Some(0), &Some(1)]);
}

#[test]
fn halves_of_what_may_be_stored_keep_their_numbers() {
    let mut world = sent_whole(4, usize::MAX);
    // It was stored, and nobody heard.
    world.carry_out(None);
    world.break_connection();
    world.limit = 100;
    world.settle();
    assert_eq!(world.broker.log, [0, 1, 2, 3], "not twice");
}
