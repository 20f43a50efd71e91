//! What holds of every assignment, whoever the members are and whatever they claim.

use proptest::prelude::*;

use super::*;

const ALL: [Assignor; 4] = [
    Assignor::Range,
    Assignor::RoundRobin,
    Assignor::Sticky,
    Assignor::CooperativeSticky,
];

type Members = BTreeMap<String, Applicant>;

/// What a member says: the topics, as bits; what it claims; in which generation.
type Says = (u8, Vec<(u8, i32)>, Option<i32>);

fn topic(number: usize) -> String {
    format!("topic{number}")
}

fn counts_of(counts: &[i32]) -> Counts {
    let numbered = counts.iter().enumerate();
    numbered
        .map(|(number, count)| (topic(number).into(), *count))
        .collect()
}

fn member(says: &Says) -> Applicant {
    let topics = (0..5)
        .filter(|bit| says.0 & (1 << bit) != 0)
        .map(topic)
        .collect();
    let claimed = says.1.iter();
    let owned = claimed
        .map(|(number, index)| TopicPartition::new(topic(usize::from(*number)), *index))
        .collect();
    says_of(topics, owned, says.2)
}

/// Whoever owned something in a generation, in the words of each assignor.
fn says_of(
    topics: BTreeSet<String>,
    owned: BTreeSet<TopicPartition>,
    generation: Option<i32>,
) -> Applicant {
    let user_data = generation.map(|generation| protocol::encode_sticky(&owned, generation));
    Applicant {
        instance_id: None,
        subscription: Subscription {
            topics,
            user_data,
            owned,
            generation,
            rack: None,
        },
    }
}

fn members_of(says: &[Says]) -> Members {
    let numbered = says.iter().enumerate();
    numbered
        .map(|(number, says)| (format!("m{number}"), member(says)))
        .collect()
}

fn groups() -> impl Strategy<Value = (Members, Counts)> {
    let claim = (0..6_u8, 0..10);
    let says = (
        1..32_u8,
        proptest::collection::vec(claim, 0..12),
        proptest::option::of(0..3),
    );
    let members = proptest::collection::vec(says, 1..7);
    let counts = proptest::collection::vec(0..9, 5);
    (members, counts).prop_map(|(says, counts)| (members_of(&says), counts_of(&counts)))
}

/// Members that all subscribe to everything and own nothing.
fn alike(count: usize) -> Members {
    members_of(&vec![(31, Vec::new(), None); count])
}

fn wanted(members: &Members, counts: &Counts) -> BTreeSet<TopicPartition> {
    let mut wanted = BTreeSet::new();
    for (topic, count) in counts {
        if members
            .values()
            .any(|member| member.subscription.topics.contains(&**topic))
        {
            wanted.extend((0..*count).map(|index| TopicPartition::new(Arc::clone(topic), index)));
        }
    }
    wanted
}

/// The members after an assignment, each with what it got.
fn after(members: &Members, shares: &Shares, generation: i32) -> Members {
    let each = members.iter().map(|(id, member)| {
        let topics = member.subscription.topics.clone();
        (
            id.clone(),
            says_of(topics, shares[id].clone(), Some(generation)),
        )
    });
    each.collect()
}

fn spread(shares: &Shares) -> usize {
    let loads = || shares.values().map(BTreeSet::len);
    loads().max().unwrap() - loads().min().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn each_partition_goes_to_one_of_its_subscribers((members, counts) in groups()) {
        let wanted = wanted(&members, &counts);
        for assignor in ALL {
            let shares = assignor.assign(&members, &counts);
            prop_assert!(shares.keys().eq(members.keys()));
            let mut given = BTreeSet::new();
            for (id, share) in &shares {
                for partition in share {
                    let topics = &members[id].subscription.topics;
                    prop_assert!(topics.contains(&*partition.topic));
                    prop_assert!(given.insert(partition.clone()), "{partition} twice");
                    if assignor.is_cooperative() {
                        let others = members.iter().filter(|(other, _)| *other != id);
                        let still = |other: &Applicant| other.subscription.owned.contains(partition);
                        let mine = still(&members[id]);
                        prop_assert!(mine || !others.map(|(_, other)| other).any(still));
                    }
                }
            }
            if assignor.is_cooperative() {
                let owned = |one: &TopicPartition| {
                    members.values().any(|member| member.subscription.owned.contains(one))
                };
                prop_assert!(wanted.difference(&given).all(owned));
            } else {
                prop_assert_eq!(&given, &wanted);
            }
        }
    }

    #[test]
    fn nobody_could_take_a_partition_off_somebody_with_two_more((members, counts) in groups()) {
        let shares = sticky::assign(&members, &counts, of_subscription);
        for (id, share) in &shares {
            // Whoever it could hand one to, directly or through others.
            let mut reached = BTreeSet::from([id]);
            loop {
                let before = reached.len();
                for (other, member) in &members {
                    let takes = |giver: &&String| {
                        let topics = &member.subscription.topics;
                        shares[*giver].iter().any(|one| topics.contains(&*one.topic))
                    };
                    if reached.iter().any(takes) {
                        reached.insert(other);
                    }
                }
                if reached.len() == before {
                    break;
                }
            }
            let least = reached.iter().map(|other| shares[*other].len()).min().unwrap();
            prop_assert!(share.len() <= least + 1, "{id} has {}, {least}", share.len());
        }
    }

    #[test]
    fn members_alike_differ_by_one(count in 1..8_usize, counts in proptest::collection::vec(0..9, 5)) {
        let counts = counts_of(&counts);
        for assignor in [Assignor::RoundRobin, Assignor::Sticky, Assignor::CooperativeSticky] {
            prop_assert!(spread(&assignor.assign(&alike(count), &counts)) <= 1);
        }
        for (topic, partitions) in counts {
            let one = Counts::from([(topic, partitions)]);
            prop_assert!(spread(&Assignor::Range.assign(&alike(count), &one)) <= 1);
        }
    }

    #[test]
    fn an_unchanged_group_moves_nothing((members, counts) in groups()) {
        for assignor in [Assignor::Sticky, Assignor::CooperativeSticky] {
            let mut members = members.clone();
            let mut shares = assignor.assign(&members, &counts);
            for generation in 5..8 {
                members = after(&members, &shares, generation);
                shares = assignor.assign(&members, &counts);
            }
            // What was withheld at first has been given.
            let given: BTreeSet<_> = shares.values().flatten().cloned().collect();
            prop_assert_eq!(given, wanted(&members, &counts));
            let again = assignor.assign(&after(&members, &shares, 9), &counts);
            prop_assert_eq!(again, shares);
        }
    }

    #[test]
    fn who_joins_takes_its_share_and_who_leaves_gives_only_its_own(
        count in 2..7_usize,
        counts in proptest::collection::vec(0..9, 5),
    ) {
        let (counts, assignor) = (counts_of(&counts), Assignor::Sticky);
        let few = alike(count);
        let before = assignor.assign(&few, &counts);
        let mut more = after(&few, &before, 1);
        more.insert("new".to_owned(), says_of(few["m0"].subscription.topics.clone(), BTreeSet::new(), None));
        let joined = assignor.assign(&more, &counts);
        for (id, share) in &before {
            prop_assert!(joined[id].is_subset(share));
        }
        let mut fewer = after(&more, &joined, 2);
        fewer.remove("m0");
        let left = assignor.assign(&fewer, &counts);
        for (id, share) in &left {
            prop_assert!(share.is_superset(&joined[id]));
        }
    }
}

#[test]
fn range_and_round_robin_assign_as_kafka_does() {
    let member = |topics: &[&str], instance_id: Option<&str>| Applicant {
        instance_id: instance_id.map(str::to_owned),
        subscription: Subscription {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            ..Subscription::default()
        },
    };
    let members = Members::from([
        ("m1".to_owned(), member(&["a", "b"], None)),
        ("m2".to_owned(), member(&["a", "b", "c"], None)),
        ("m3".to_owned(), member(&["b"], Some("i2"))),
        ("m4".to_owned(), member(&["a", "b"], Some("i1"))),
    ]);
    let counts = Counts::from([("a".into(), 3), ("b".into(), 5), ("c".into(), 1)]);
    let shown = |assignor: Assignor| {
        let shares = assignor.assign(&members, &counts).into_iter();
        let shown = shares.map(|(id, share)| {
            let share: Vec<_> = share.iter().map(ToString::to_string).collect();
            format!("{id}=[{}]", share.join(", "))
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    // What RangeAssignor and RoundRobinAssignor of kafka-clients 4.3.1 give, sorted.
    assert_eq!(shown(Assignor::Range), RANGE);
    assert_eq!(shown(Assignor::RoundRobin), ROUND_ROBIN);
}

const RANGE: &str = "m1=[a-1, b-3], m2=[a-2, b-4, c-0], m3=[b-2], m4=[a-0, b-0, b-1]";
const ROUND_ROBIN: &str = "m1=[a-1, b-2], m2=[a-2, b-3, c-0], m3=[b-1], m4=[a-0, b-0, b-4]";
