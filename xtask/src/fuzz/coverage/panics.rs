//! Which edges lead into a panic and nowhere else: checks of arithmetic, of indexes, of what is
//! expected.
//!
//! What always holds: an edge is one of these only where the first call behind it, in the program as
//! it was built, is one that panics; where that can't be told it is none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Instructions behind an edge that are looked at, and jumps that are followed.
const LOOKED_AT_MAX: usize = 60;
const FOLLOWED_MAX: usize = 2;

/// What the names of functions contain that do nothing but panic.
const PANICS: [&str; 9] = [
    "core::panicking::",
    "option::expect_failed",
    "option::unwrap_failed",
    "result::unwrap_failed",
    "slice::index::slice_",
    "str::slice_error_fail",
    "len_mismatch_fail",
    "cell::panic_",
    "alloc::raw_vec::handle_error",
];

/// What the calls that count coverage contain.
const COUNTING: &str = "__sanitizer";

/// What an instruction does to the way through the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// It goes on behind it.
    On,
    /// It goes on there.
    Jump(u64),
    /// Into a function that panics, or into a trap.
    Panic,
    /// Anywhere else.
    Away,
}

/// Those of `edges`, addresses of the program, that lead into a panic.
pub(super) fn of(program: &Path, edges: &[u64]) -> Result<BTreeSet<u64>, String> {
    let code = flows(program)?;
    let into_panic = |edge: &&u64| leads_into_panic(&code, **edge, 0);
    Ok(edges.iter().filter(into_panic).copied().collect())
}

fn leads_into_panic(code: &BTreeMap<u64, Flow>, from: u64, followed: usize) -> bool {
    if !code.contains_key(&from) {
        return false;
    }
    let mut ends = code.range(from..).take(LOOKED_AT_MAX).map(|step| *step.1);
    match ends.find(|flow| *flow != Flow::On) {
        Some(Flow::Panic) => true,
        Some(Flow::Jump(to)) if followed < FOLLOWED_MAX => leads_into_panic(code, to, followed + 1),
        _ => false,
    }
}

/// Every instruction of the program.
fn flows(program: &Path) -> Result<BTreeMap<u64, Flow>, String> {
    let mut dump = Command::new("objdump")
        .args(["-d", "-C", "--no-show-raw-insn"])
        .arg(program)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("objdump: {error}"))?;
    let output = dump.stdout.take().ok_or("objdump has no output")?;
    let mut code = BTreeMap::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.map_err(|error| format!("objdump: {error}"))?;
        let line = String::from_utf8_lossy(&line);
        // An address, a colon and a tab, then the instruction.
        if let Some((address, instruction)) = line.split_once(":\t")
            && let Ok(address) = u64::from_str_radix(address.trim(), 16)
        {
            code.insert(address, flow(instruction));
        }
    }
    let ended = dump.wait().map_err(|error| format!("objdump: {error}"))?;
    if ended.success() {
        Ok(code)
    } else {
        Err(format!("objdump failed ({ended})"))
    }
}

/// What one instruction does, as objdump writes it for x86-64: `call 4f2a <core::panicking::panic>`.
fn flow(instruction: &str) -> Flow {
    let (name, operand) = instruction.split_once(' ').unwrap_or((instruction, ""));
    let operand = operand.trim();
    match name {
        "call" if operand.contains(COUNTING) => Flow::On,
        "call" if PANICS.iter().any(|panic| operand.contains(panic)) => Flow::Panic,
        "ud2" => Flow::Panic,
        "jmp" => {
            let to = operand.split(' ').next().unwrap_or_default();
            u64::from_str_radix(to, 16).map_or(Flow::Away, Flow::Jump)
        }
        _ if name == "call" || name == "ret" || name.starts_with('j') => Flow::Away,
        _ => Flow::On,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(lines: &[&str]) -> BTreeMap<u64, Flow> {
        let flows = lines.iter().map(|line| flow(line));
        (0..).zip(flows).collect()
    }

    #[test]
    fn an_edge_whose_first_call_panics_is_found_behind_counting_and_a_jump() {
        let code = program(&[
            "incb   0x1234(%rip)        # 7d1350",
            "call   111f501 <__sanitizer_cov_trace_const_cmp8>",
            "jmp    4 <demo::read+0x20>",
            "ret",
            "call   90 <core::panicking::panic_const::panic_const_add_overflow>",
        ]);
        assert!(leads_into_panic(&code, 0, 0));
        assert!(!leads_into_panic(&code, 3, 0));
        assert!(!leads_into_panic(&code, 70, 0), "no such address");
    }

    #[test]
    fn an_edge_that_branches_or_calls_anything_else_is_none() {
        let code = program(&[
            "je     4 <demo::read+0x20>",
            "call   70 <demo::damaged>",
            "jmp    *%rax",
            "nop",
            "call   90 <core::panicking::panic>",
        ]);
        assert!(!leads_into_panic(&code, 0, 0));
        assert!(!leads_into_panic(&code, 1, 0));
        assert!(!leads_into_panic(&code, 2, 0));
        assert!(leads_into_panic(&code, 3, 0));
    }
}
