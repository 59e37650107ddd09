//! All bytes that a gRPC gateway sends on a connection. Requests are unary. Two bytes before them choose
//! how they are sent and what the client asks.
#![no_main]

use clientlet_fuzz::server::check_server;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| check_server("grpc://h:80/unary", input));
