//! What perf has sampled, as a tree of frames from the threads down to where the processor was.
//!
//! What always holds: a frame counts as many samples as all below it and those that ended in it.

use std::collections::{BTreeMap, BTreeSet};

/// A function, called by what is above it.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) count: usize,
    pub(super) is_kernel: bool,
    pub(super) callees: BTreeMap<String, Self>,
}

/// All samples.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    /// Its callees are the threads, by name.
    pub(super) root: Frame,
    /// Samples with the function anywhere in their stack.
    inclusive: BTreeMap<String, usize>,
}

impl Stacks {
    /// Reads what `perf script` prints: for each sample a line that begins with the thread's name, a line
    /// for each frame, the innermost first, and an empty line.
    pub(super) fn read(script: &str) -> Self {
        let mut stacks = Self::default();
        let mut thread = None;
        let mut frames = Vec::new();
        for line in script.lines().chain([""]) {
            if line.is_empty() {
                if let Some(thread) = thread.take() {
                    stacks.add(thread, &frames);
                }
                frames.clear();
            } else if line.starts_with(char::is_whitespace) {
                frames.extend(frame(line));
            } else {
                thread = line.split_whitespace().next();
            }
        }
        stacks
    }

    fn add(&mut self, thread: &str, frames: &[(&str, bool)]) {
        let functions: BTreeSet<&str> = frames.iter().map(|(name, _)| *name).collect();
        for function in functions {
            *self.inclusive.entry(function.to_owned()).or_default() += 1;
        }
        self.root.count += 1;
        let mut at = &mut self.root;
        for (name, is_kernel) in [(thread, false)]
            .into_iter()
            .chain(frames.iter().rev().copied())
        {
            at = at.callees.entry(name.to_owned()).or_default();
            at.count += 1;
            at.is_kernel = is_kernel;
        }
    }

    /// How many there are.
    pub(super) fn samples(&self) -> usize {
        self.root.count
    }

    /// Functions by the share of samples that have them in their stack, the greatest first, without what
    /// nearly all have.
    pub(super) fn shares(&self) -> Vec<(&str, f64)> {
        let all = self.root.count.max(1) as f64;
        let shares = self.inclusive.iter();
        let shares = shares.map(|(name, count)| (&**name, *count as f64 / all));
        let mut shares: Vec<_> = shares.filter(|(_, share)| *share < 0.9).collect();
        shares.sort_by(|one, other| other.1.total_cmp(&one.1));
        shares
    }
}

/// The function of a frame's line (`address function+offset (object)`), and whether it is the kernel's.
fn frame(line: &str) -> Option<(&str, bool)> {
    let (_, rest) = line.trim_start().split_once(' ')?;
    let (symbol, object) = rest.rsplit_once(" (")?;
    let function = symbol.rsplit_once("+0x").map_or(symbol, |(name, _)| name);
    Some((
        function,
        object.starts_with("[kernel") || object.starts_with("[guest.kernel"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
data 7 1.5:    1003009 cpu-clock: \n\
\tffffffff8161f403 copy_page+0x2c3 ([kernel.kallsyms])\n\
\t          a7e217 <a::File as b::File>::write+0x1b7 (/bin/millrace)\n\
\t          f301ef run+0x15f (/bin/millrace)\n\
\n\
data 8 1.6:    1003009 cpu-clock: \n\
\t          a7e217 run+0x1b9 (/bin/millrace)\n\
\t          f301ef run+0x15f (/bin/millrace)\n\
\n\
sync 9 1.7:    1003009 cpu-clock: \n\
\tffffffff8161f403 [unknown] ([kernel.kallsyms])\n";

    #[test]
    fn samples_are_counted_by_thread_and_function() {
        let stacks = Stacks::read(SCRIPT);
        assert_eq!(stacks.samples(), 3);
        let data = &stacks.root.callees["data"];
        assert_eq!((data.count, data.callees["run"].count), (2, 2));
        let write = &data.callees["run"].callees["<a::File as b::File>::write"];
        assert_eq!((write.count, write.is_kernel), (1, false));
        assert!(write.callees["copy_page"].is_kernel);
        assert_eq!(stacks.root.callees["sync"].callees["[unknown]"].count, 1);
        // Once for a sample, however often it is in its stack.
        let shares = stacks.shares();
        assert_eq!(shares[0], ("run", 2.0 / 3.0));
        assert_eq!(shares.len(), 4);
    }
}
