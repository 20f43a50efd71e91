//! Gives libFuzzer the target `broker_requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::broker_requests::run, bytes);
});
