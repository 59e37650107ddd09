//! All that an HTTP/2 gateway says on a connection, each request by itself, behind two bytes that choose how and what it is asked.
#![no_main]

use clientlet_fuzz::server::check_server;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| check_server("grpc://h:80/unary", input));
