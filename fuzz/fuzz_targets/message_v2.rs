//! A WebSocket message of a v2 gateway.
#![no_main]

use clientlet::DocArray;
use clientlet_fuzz::protobuf::check_message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| check_message(DocArray::V2, frame));
