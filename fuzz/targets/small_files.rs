//! Gives libFuzzer the target `small_files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::small_files::run, bytes);
});
