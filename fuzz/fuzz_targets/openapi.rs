//! A v2 gateway's description of its endpoints.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Some(paths) = clientlet::fuzzing::read_paths(body) {
        assert!(paths.is_sorted(), "{paths:?}");
    }
});
