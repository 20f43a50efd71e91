//! A partition's place: several ask for it at the same time, its topic goes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_sim::schedules::shuttle::future::{block_on, spawn, yield_now};
use millrace_sim::schedules::{Length, caught, explore, machine};

use crate::runtime::slot::{NotServed, Slot};

/// `looks` is how an opening tells that it is the only one.
fn openings_and_an_end(one_at_a_time: bool) {
    block_on(async move {
        let (host, _) = machine();
        let places = Arc::new([Slot::<usize>::default(), Slot::default()]);
        let under_way = Arc::new(AtomicUsize::new(0));
        let openers: Vec<_> = (0..3)
            .map(|number| {
                let (places, host) = (places.clone(), host.clone());
                let under_way = under_way.clone();
                spawn(async move {
                    // A place of its own for each is what goes wrong when it is planted.
                    let place = &places[if one_at_a_time { 0 } else { number % 2 }];
                    let open = async || {
                        let others = under_way.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(others, 0, "two openings at a time");
                        yield_now().await;
                        under_way.fetch_sub(1, Ordering::Relaxed);
                        if number == 0 {
                            return Err(NotServed::for_good("it is damaged"));
                        }
                        Ok(Arc::new(number))
                    };
                    let opened = place.get_or_open(host.clock.as_ref(), open).await;
                    opened.ok().map(|open| *open)
                })
            })
            .collect();
        let ended = {
            let places = places.clone();
            spawn(async move { places[0].end(NotServed::for_good("it was removed")).await })
        };
        let ended = ended.await.expect("no task is ended");
        for opener in openers {
            let opened = opener.await.expect("no task is ended");
            if one_at_a_time && let Some(opened) = opened {
                let at_end = ended.as_deref().copied();
                assert_eq!(at_end, Some(opened), "opened and not told to who ended it");
            }
        }
    });
}

#[test]
fn one_opening_at_a_time_and_none_behind_the_end() {
    explore("server.opening", Length::Short, || {
        openings_and_an_end(true);
    });
}

#[test]
fn two_openings_at_a_time_are_found() {
    caught("server.opening", "a place for each", || {
        openings_and_an_end(false);
    });
}
