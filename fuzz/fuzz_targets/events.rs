//! Server-sent events: they give the same documents, however their bytes are split.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, body) = input;
    let whole = clientlet::fuzzing::read_events(std::iter::once(body));
    for size in [1, usize::from(size).max(1)] {
        assert_eq!(clientlet::fuzzing::read_events(body.chunks(size)), whole, "by {size}");
    }
});
