//! Gives libFuzzer the target `log_segment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::log_segment::run, bytes);
});
