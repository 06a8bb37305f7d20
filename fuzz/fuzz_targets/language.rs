#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| freshk::fuzzing::run("language", data));
