//! Gives libFuzzer the target that `MILLRACE_FUZZ_TARGET` names: one program, so that what the
//! targets cover can be put together.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<millrace_fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("MILLRACE_FUZZ_TARGET").expect("MILLRACE_FUZZ_TARGET names a target");
    let mut targets = millrace_fuzz::TARGETS.iter();
    *targets
        .find(|target| target.0 == name)
        .expect("there is such a target")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.1)(bytes));
