//! Gives libFuzzer the target `responses`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::responses::run, bytes);
});
