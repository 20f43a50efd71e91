//! Gives libFuzzer the target `log_directory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::log_directory::run, bytes);
});
