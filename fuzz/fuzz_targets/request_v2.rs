//! A WebSocket message to an embedded v2 gateway.
#![no_main]

use clientlet_gateway::DocArray;
use clientlet_gateway::fuzzing::answer_message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| answer_message(DocArray::V2, frame));
