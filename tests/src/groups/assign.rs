//! How a leader shares partitions out: `range`, eager, and `cooperative`, which leaves what members
//! hold with them and takes away in one generation what it gives in the next (KIP-429).
//!
//! What always holds: no partition is given to two; a cooperative leader gives nothing away that
//! another member still holds.

use std::collections::{BTreeMap, BTreeSet};

use super::wire::Place;

/// What each member gets, by its id.
pub(super) type Shares = BTreeMap<String, BTreeSet<Place>>;

/// All partitions of the topics.
pub(super) fn all_places(topics: &[(String, i32)]) -> BTreeSet<Place> {
    let places = topics
        .iter()
        .flat_map(|(topic, count)| (0..*count).map(move |number| (topic.clone(), number)));
    places.collect()
}

/// Shares of each topic that differ by one at most, the first members get more.
pub(super) fn range(members: &[String], topics: &[(String, i32)]) -> Shares {
    let mut shares: Shares = members
        .iter()
        .map(|member| (member.clone(), BTreeSet::new()))
        .collect();
    let members: Vec<String> = shares.keys().cloned().collect();
    for (topic, count) in topics {
        for number in 0..*count {
            let share = usize::try_from(*count)
                .unwrap_or(1)
                .div_ceil(members.len().max(1));
            let at = usize::try_from(number).unwrap_or(0) / share.max(1);
            if let Some(of) = members.get(at).and_then(|id| shares.get_mut(id)) {
                of.insert((topic.clone(), number));
            }
        }
    }
    shares
}

/// What members hold stays with them, up to their part; what nobody holds goes to whoever has least.
pub(super) fn cooperative(held: &Shares, topics: &[(String, i32)]) -> Shares {
    let places = all_places(topics);
    let most = places.len().div_ceil(held.len().max(1));
    let holders = |place: &Place| held.values().filter(|of| of.contains(place)).count();
    let mut shares: Shares = held
        .iter()
        .map(|(id, of)| {
            let sure = of
                .iter()
                .filter(|place| places.contains(*place) && holders(place) == 1);
            (id.clone(), sure.take(most).cloned().collect())
        })
        .collect();
    for place in places.iter().filter(|place| holders(place) == 0) {
        let least = shares.values_mut().min_by_key(|share| share.len());
        if let Some(least) = least {
            least.insert(place.clone());
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Vec<(String, i32)> {
        vec![("a".to_owned(), 5), ("b".to_owned(), 1)]
    }

    fn count(shares: &Shares) -> usize {
        shares.values().map(BTreeSet::len).sum()
    }

    #[test]
    fn everything_is_shared_out_once() {
        for members in 1..8 {
            let ids: Vec<String> = (0..members).map(|id| format!("m{id}")).collect();
            let shares = range(&ids, &topics());
            assert_eq!(count(&shares), 6);
            let union: BTreeSet<Place> = shares.values().flatten().cloned().collect();
            assert_eq!(union, all_places(&topics()));
        }
    }

    #[test]
    fn what_is_held_is_not_given_to_another() {
        let one = Shares::from([("m0".to_owned(), all_places(&topics()))]);
        let mut held = one.clone();
        held.insert("m1".to_owned(), BTreeSet::new());
        let first = cooperative(&held, &topics());
        assert_eq!(first["m1"].len(), 0, "it is taken from the other one first");
        assert_eq!(first["m0"].len(), 3);
        let second = cooperative(&first, &topics());
        assert_eq!((second["m0"].len(), second["m1"].len()), (3, 3));
        assert_eq!(cooperative(&second, &topics()), second, "it is settled");
    }
}
