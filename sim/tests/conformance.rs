//! The simulated host under the same suite as the real one, over many seeds, crashes included;
//! and the law that a seed is a run.

use std::path::Path;

use millrace_host::Host;
use millrace_host::conformance::{self, Machine};
use millrace_sim::{DiskLimits, Sim, SimOptions, TraceSummary, World, faults};

const SEEDS: u64 = 16;

fn run(seed: u64) -> TraceSummary {
    let sim = Sim::new(seed);
    let host = sim.node("n");
    sim.block_on(conformance::run_all(&host, Path::new("/")));
    sim.trace()
}

#[test]
fn the_simulated_host_keeps_the_words_of_the_seams() {
    for seed in 0..SEEDS {
        run(seed);
    }
}

#[test]
fn a_seed_is_a_run_and_another_seed_another() {
    for seed in 0..4 {
        assert_eq!(run(seed), run(seed), "seed {seed} gave two runs");
        assert_ne!(run(seed).hash, run(seed + 1).hash);
    }
}

struct Node(World);

impl Machine for Node {
    fn kill(&mut self) -> Host {
        self.0.kill("n");
        self.0.node("n")
    }

    fn power_cut(&mut self) -> Host {
        self.0.crash("n");
        self.0.node("n")
    }
}

fn crashes(seed: u64, sector: u64) -> TraceSummary {
    let disk = DiskLimits {
        sector,
        ..DiskLimits::default()
    };
    let sim = Sim::with_options(SimOptions {
        seed,
        disk,
        ..SimOptions::default()
    });
    let host = sim.node("n");
    let mut node = Node(sim.world());
    sim.block_on(async {
        host.disk.create_dir(Path::new("/d")).expect("new");
        host.disk.sync_dir(Path::new("/")).await.expect("healthy");
        conformance::crashes(&mut node, host, Path::new("/d")).await;
    });
    sim.trace()
}

#[test]
fn crashes_leave_what_the_seams_promise_and_the_faults_really_happen() {
    let mut lost = [0; 4];
    for seed in 0..10 * SEEDS {
        let trace = crashes(seed, if seed % 2 == 0 { 512 } else { 4096 });
        assert_eq!(trace, crashes(seed, if seed % 2 == 0 { 512 } else { 4096 }));
        let names = [
            faults::SECTORS_LOST,
            faults::SECTORS_KEPT,
            faults::TORN_WRITE,
            faults::LOST_NAMES,
        ];
        for (sum, name) in lost.iter_mut().zip(names) {
            *sum += trace.counts.get(name).copied().unwrap_or(0);
        }
    }
    assert!(
        lost.iter().all(|times| *times > 20),
        "a fault hardly ever happens: {lost:?}"
    );
}
