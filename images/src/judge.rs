//! Opens what a crash left, works on it, crashes it a second time, and says what is wrong.
//!
//! What always holds: the first crash of a history is tried as [`crate::cut_off`] says; everything
//! behind it is drawn from the seed and the image's number: what the process that opens it does
//! with it, where it crashes again, and what is left then. An image is a state that a whole process
//! was started on and held against what was promised before.

use std::fmt;
use std::ops::AddAssign;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_host::Host;
use millrace_sim::Sim;

use crate::Wrong;
use crate::cut_off::{self, Kind, Scale};
use crate::disk::{Machine, host, lock};
use crate::draw::Draw;
use crate::stage::{Recorded, witness};
use crate::volume::{Op, Volume};

/// Longest process in simulated time.
const LONGEST: Duration = Duration::from_secs(30);

/// What one process makes of what it finds.
pub type Processing<'a> = Pin<Box<dyn Future<Output = Result<(), Wrong>> + 'a>>;

/// What is crashed, and what it promises.
pub trait Subject: 'static {
    /// What was promised.
    type Promises: Clone + PartialEq + fmt::Debug + Send + 'static;

    /// Starts a process, holds what it finds against what was promised, goes on, and takes down
    /// what it promises itself. A `lazy` one need not look at everything.
    fn process<'a>(
        &'a self,
        sim: &'a Sim,
        host: Host,
        promises: Arc<Mutex<Self::Promises>>,
        work: Work,
    ) -> Processing<'a>;

    /// What an operation on the disk promises by itself, once it is done.
    fn saw(_promises: &mut Self::Promises, _volume: &Volume, _op: &Op) {}
}

/// What a process does once it has looked.
#[derive(Clone, Debug)]
pub struct Work {
    /// All that it does is drawn from here.
    pub draw: Draw,
    /// It looks at a part of what is there only.
    pub lazy: bool,
    /// What it runs on.
    pub machine: Arc<Mutex<Machine>>,
}

impl Work {
    /// Says when a file was closed before what was written to it was synced (S2): the device's word
    /// that it could not be written is lost with it. To be asked before the process ends.
    pub fn kept_open(&self) -> Result<(), Wrong> {
        match lock(&self.machine).closed_early.first() {
            None => Ok(()),
            Some(path) => Err(format!("{path} was closed before it was synced")),
        }
    }
}

/// Images by how they were come by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// After a kill.
    pub kills: u64,
    /// Subsets of the changes.
    pub subsets: u64,
    /// Torn forms of the last write.
    pub torn: u64,
    /// Sectors drawn.
    pub drawn: u64,
    /// After a second crash, drawn.
    pub seconds: u64,
    /// After a third one, drawn.
    pub thirds: u64,
}

impl Counts {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.kills + self.subsets + self.torn + self.drawn + self.seconds + self.thirds
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.subsets += other.subsets;
        self.torn += other.torn;
        self.drawn += other.drawn;
        self.seconds += other.seconds;
        self.thirds += other.thirds;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:8} images: {:6} kills, {:6} subsets, {:6} torn, {:6} drawn, {:6} second and {:6} third crashes",
            self.all(),
            self.kills,
            self.subsets,
            self.torn,
            self.drawn,
            self.seconds,
            self.thirds
        )
    }
}

/// A broken promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The number of the image in its history.
    pub image: u64,
    /// The crash, or the crashes, that led to it.
    pub crashes: String,
    /// What is wrong.
    pub wrong: Wrong,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "image {}: {}: {}", self.image, self.crashes, self.wrong)
    }
}

/// Which images of a history are judged.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many.
    pub scale: Scale,
    /// What is drawn is drawn from it.
    pub seed: u64,
    /// This one only.
    pub only: Option<u64>,
    /// Those whose number leaves this rest (first) divided by that (second).
    pub share: (u64, u64),
}

impl Plan {
    /// All images of a scale.
    pub fn of(scale: Scale) -> Self {
        Self {
            scale,
            seed: 1,
            only: None,
            share: (0, 1),
        }
    }

    fn takes(&self, image: u64) -> bool {
        if let Some(only) = self.only {
            return image == only;
        }
        image % self.share.1 == self.share.0
            && Draw::of(self.seed, image).once_in(self.scale.one_in)
    }
}

/// What a process did.
struct Run<P> {
    result: Result<(), Wrong>,
    ops: Vec<Op>,
    told: Vec<P>,
}

/// A state that a process is started on.
struct Image<P> {
    volume: Volume,
    boot: u32,
    promises: P,
}

struct Judge<'a, S: Subject> {
    subject: &'a S,
    plan: Plan,
    counts: Counts,
    images: u64,
    failure: Option<Failure>,
}

/// Judges the images of a recorded history, from where it says: how many there were, or the first
/// that is wrong.
pub fn every_image<S: Subject>(
    subject: &S,
    history: &Recorded<S::Promises>,
    plan: Plan,
) -> Result<Counts, Failure> {
    let mut judge = Judge {
        subject,
        plan,
        counts: Counts::default(),
        images: 0,
        failure: None,
    };
    let mut volume = Volume::default();
    let mut boot = 0;
    let mut judged: Option<&S::Promises> = None;
    for (index, op) in history.ops.iter().enumerate() {
        volume.apply(op);
        boot += u32::from(matches!(op, Op::Left { rebooted: true, .. }));
        if index < history.from || matches!(op, Op::SyncBegun(..)) {
            continue;
        }
        let promises = promised(&history.ops, &history.told, index + 1);
        let is_more = judged.replace(promises) != Some(promises);
        let mut draw = Draw::of(plan.seed, index as u64);
        let mut take = |volume: Volume, kind: Kind, how: &str| {
            judge.take(volume, kind, boot, promises, &|| {
                format!(
                    "after operation {index} of {}: {op:?}: {how}",
                    history.ops.len()
                )
            });
        };
        cut_off::each((&volume, op), is_more, &plan.scale, &mut draw, &mut take);
        if let Some(failure) = judge.failure {
            return Err(failure);
        }
    }
    Ok(judge.counts)
}

/// What was promised before the next change of anything.
fn promised<'a, P>(ops: &[Op], told: &'a [P], from: usize) -> &'a P {
    let begun = ops[from..].iter();
    let begun = begun.take_while(|op| matches!(op, Op::SyncBegun(..)));
    &told[from + begun.count()]
}

impl<S: Subject> Judge<'_, S> {
    fn take(
        &mut self,
        volume: Volume,
        kind: Kind,
        boot: u32,
        promises: &S::Promises,
        crash: &dyn Fn() -> String,
    ) {
        self.images += 1;
        let number = self.images;
        if self.failure.is_some() || !self.plan.takes(number) {
            return;
        }
        match kind {
            Kind::Kill => self.counts.kills += 1,
            Kind::Subset => self.counts.subsets += 1,
            Kind::Torn => self.counts.torn += 1,
            Kind::Drawn => self.counts.drawn += 1,
        }
        let image = Image {
            volume,
            boot: boot + u32::from(kind != Kind::Kill),
            promises: promises.clone(),
        };
        let mut draw = Draw::of(self.plan.seed, number);
        if let Err((crashes, wrong)) = self.judge(&image, &mut draw) {
            self.failure = Some(Failure {
                image: number,
                crashes: format!("{}{crashes}", crash()),
                wrong,
            });
        }
    }

    /// One image, and what may follow.
    fn judge(
        &mut self,
        image: &Image<S::Promises>,
        draw: &mut Draw,
    ) -> Result<(), (String, Wrong)> {
        // One of its own: an image is the same alone and among others.
        let sim = &Sim::new(draw.bits());
        let first = self.run(sim, image, false, draw);
        first
            .result
            .clone()
            .map_err(|wrong| (String::new(), wrong))?;
        for _ in 0..self.plan.scale.seconds {
            let lazy = draw.once_in(4);
            let (again, how) = crash(image, &first, draw);
            let second = self.run(sim, &again, lazy, draw);
            let at = |wrong| (format!("; and {how}"), wrong);
            second.result.clone().map_err(at)?;
            self.counts.seconds += u64::from(!lazy);
            if lazy || draw.once_in(8) {
                let (again, then) = crash(&again, &second, draw);
                let third = self.run(sim, &again, false, draw);
                let at = |wrong| (format!("; and {how}, lazy: {lazy}; and {then}"), wrong);
                third.result.map_err(at)?;
                self.counts.thirds += 1;
            }
        }
        Ok(())
    }

    /// One process on one state, to its end.
    fn run(
        &self,
        sim: &Sim,
        image: &Image<S::Promises>,
        lazy: bool,
        draw: &mut Draw,
    ) -> Run<S::Promises> {
        let machine = Machine::new(image.volume.clone(), true);
        let promises = Arc::new(Mutex::new(image.promises.clone()));
        let told = witness(&machine, &promises, S::saw);
        let host = host(sim, &machine, image.boot, draw.bits());
        let draw = Draw::new(draw.bits());
        let work = Work {
            draw,
            lazy,
            machine: Arc::clone(&machine),
        };
        let process = self.subject.process(sim, host, Arc::clone(&promises), work);
        let result = sim.block_on(async {
            tokio::select! {
                biased;
                result = process => result,
                () = sim.pause(LONGEST) => Err("it never ends".to_owned()),
            }
        });
        sim.kill("n");
        let result = match sim.panics().first() {
            Some(panic) => Err(panic.clone()),
            None => result,
        };
        let mut machine = lock(&machine);
        machine.witness = None;
        machine.watcher = None;
        let ops = machine.ops.take().unwrap_or_default();
        let mut told = std::mem::take(&mut *lock(&told));
        told.truncate(ops.len());
        told.push(lock(&promises).clone());
        Run { result, ops, told }
    }
}

/// What is left when the process that ran on `image` crashes somewhere; at its end once in four.
fn crash<P: Clone>(image: &Image<P>, run: &Run<P>, draw: &mut Draw) -> (Image<P>, String) {
    let count = run.ops.len();
    let at = if draw.once_in(4) {
        count
    } else {
        draw.below(count + 1)
    };
    let mut volume = image.volume.clone();
    for op in &run.ops[..at] {
        volume.apply(op);
    }
    let (volume, rebooted) = cut_off::drawn(&volume, draw);
    let how = if rebooted { "power cut" } else { "killed" };
    let promises = promised(&run.ops, &run.told, at).clone();
    let image = Image {
        volume,
        boot: image.boot + u32::from(rebooted),
        promises,
    };
    (image, format!("{how} after operation {at} of {count}"))
}
