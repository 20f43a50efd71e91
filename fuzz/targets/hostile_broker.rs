//! Gives libFuzzer the target `hostile_broker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::hostile_broker::run, bytes);
});
