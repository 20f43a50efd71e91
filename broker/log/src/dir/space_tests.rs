//! The reserve of a small disk.

use std::path::Path;

use millrace_sim::Sim;

use super::*;

const RESERVE_BYTES: u64 = 8 << 20;
const CAPACITY: u64 = 128 << 20;

fn room(host: &Host) -> Room {
    Room::new(host.clone(), "/data".into(), RESERVE_BYTES)
}

fn free(host: &Host) -> u64 {
    host.disk.space(Path::new("/data")).unwrap().available
}

#[test]
fn f4_the_reserve_is_taken_only_where_it_leaves_room() {
    let sim = Sim::new(1);
    let host = sim.node("n");
    sim.set_capacity("n", CAPACITY);
    host.disk.create_dir(Path::new("/data")).unwrap();
    let filler = host.disk.open(Path::new("/filler"), OpenMode::Create);
    let filler = filler.unwrap();
    // A start gave the reserve up, used some of it, and would take the rest again.
    filler
        .allocate(0, CAPACITY - RESERVE_BYTES - MARGIN)
        .unwrap();
    let before = free(&host);
    let small = room(&host);
    small.hold();
    assert_eq!(free(&host), before, "what is free stays free");
    assert!(small.admit(4096, true), "privileged writes need no reserve");

    filler.set_len(0).unwrap();
    small.hold();
    assert_eq!(free(&host), CAPACITY - RESERVE_BYTES);
    // The next run finds it, however little else is free.
    filler.allocate(0, CAPACITY - RESERVE_BYTES).unwrap();
    let next = room(&host);
    next.hold();
    assert!(next.admit(4096, true), "from the reserve");
    assert_eq!(free(&host), RESERVE_BYTES);
}
