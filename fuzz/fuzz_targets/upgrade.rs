//! A gateway's answer to the upgrade, and what comes behind it.
#![no_main]

use std::io::Cursor;

use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Builder;

/// What a gateway that knows the protocol begins with; the key is that of RFC 6455's example.
const AGREED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fuzz_target!(|input: (bool, &[u8])| {
    let (is_agreed, rest) = input;
    let mut answer = if is_agreed { AGREED.to_vec() } else { Vec::new() };
    answer.extend_from_slice(rest);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let gateway = tokio::io::join(Cursor::new(answer), tokio::io::sink());
        clientlet::fuzzing::read_upgrade(TokioIo::new(gateway)).await
    });
});
