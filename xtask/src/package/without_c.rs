//! The client crate without what needs a C compiler: `default-features = false`, built with a compiler
//! that always fails, out of crates none of which would ask for one.

use crate::Outcome;
use crate::binaries::cargo;
use crate::process::{output, println, succeed};

/// Crates that build or bind C.
const OF_C: [&str; 6] = ["bindgen", "cc", "cmake", "nasm-rs", "pkg-config", "vcpkg"];
/// A crate by whose name one would think so: the kernel's constants, in Rust.
const NOT_OF_C: &str = "linux-raw-sys";

/// Builds it.
pub(super) fn build() -> Outcome {
    let left_out = "--no-default-features";
    // What looks for them would find them where they are.
    if of_c(&[])?.is_empty() {
        return Err("the client's own features need no C any more: look at this check".to_owned());
    }
    let found = of_c(&[left_out])?;
    if !found.is_empty() {
        let found = found.join(", ");
        return Err(format!("the client without features needs C: {found}"));
    }
    let mut build = cargo();
    build.args([
        "build",
        "--locked",
        "--package",
        "millrace-client",
        left_out,
    ]);
    for variable in ["CC", "HOST_CC", "TARGET_CC", "CXX", "CMAKE"] {
        build.env(variable, "/bin/false");
    }
    succeed(&mut build)?;
    println("the client crate builds without a C compiler");
    Ok(())
}

/// Which crates of the client's would ask for a C compiler, with these features.
fn of_c(features: &[&str]) -> Result<Vec<String>, String> {
    let mut tree = cargo();
    tree.args(["tree", "--locked", "--package", "millrace-client"]);
    tree.args([
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let listed = output(tree.args(features))?;
    let names = listed.lines().filter_map(|line| line.split(' ').next());
    let mut found: Vec<String> = names
        .filter(|name| is_of_c(name))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn is_of_c(name: &str) -> bool {
    OF_C.contains(&name) || name.ends_with("-sys") && name != NOT_OF_C
}
