//! Gives libFuzzer the target `metadata`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::metadata::run, bytes);
});
