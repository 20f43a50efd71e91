//! Gives libFuzzer the target `second_codec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    millrace_fuzz::progress::give(millrace_fuzz::second_codec::run, bytes);
});
