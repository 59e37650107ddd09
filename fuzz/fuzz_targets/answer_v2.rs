//! The body of a 200 from a v2 gateway.
#![no_main]

use clientlet::DocArray;
use clientlet_fuzz::check_answer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| check_answer(DocArray::V2, body));
