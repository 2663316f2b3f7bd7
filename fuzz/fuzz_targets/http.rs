#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    modelwatch_fuzz::http::check(data);
});
