//! Gives libFuzzer the target `frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::frames::run, bytes);
});
