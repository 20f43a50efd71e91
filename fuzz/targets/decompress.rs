//! Gives libFuzzer the target `decompress`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::decompress::run, bytes);
});
