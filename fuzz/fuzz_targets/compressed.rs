//! Compressed content: it gives the same, however its bytes are split.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (coding, size, content) = input;
    let whole = clientlet::fuzzing::decompress(coding, std::iter::once(content));
    for size in [1, usize::from(size).max(1)] {
        let read = clientlet::fuzzing::decompress(coding, content.chunks(size));
        assert_eq!(read, whole, "by {size}");
    }
});
