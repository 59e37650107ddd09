//! All bytes that a gRPC gateway sends on a connection. Requests share a stream. Two bytes before them
//! choose how they are sent and what the client asks.
#![no_main]

use clientlet_fuzz::server::check_server;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| check_server("grpc://h:80", input));
