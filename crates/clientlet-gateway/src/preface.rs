//! Distinguishes HTTP/2, and so gRPC, from HTTP/1.1 on the same port.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::world::World;

/// What an HTTP/2 client sends first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a connection begins with the preface of HTTP/2. The bytes that were read are in `read`.
///
/// # Errors
///
/// The connection ended, or was idle for too long, or the gateway stops.
pub(crate) async fn begins_http2(
    world: &World,
    io: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
) -> io::Result<bool> {
    let reading = async {
        let mut buffer = [0; PREFACE.len()];
        while PREFACE.starts_with(read) && read.len() < PREFACE.len() {
            match io.read(&mut buffer[read.len()..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => read.extend_from_slice(&buffer[read.len()..][..n]),
            }
        }
        Ok(read == PREFACE)
    };
    tokio::select! {
        begins = reading => begins,
        () = world.stops() => Err(io::ErrorKind::ConnectionAborted.into()),
        () = world.idles() => Err(io::ErrorKind::TimedOut.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_byte_that_differs_decides() {
        let (world, _stop) = World::for_tests();
        for (sent, is_http2, used) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrest"[..], true, 24),
            (b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n", false, 24),
            (b"PUT /", false, 5),
            (b"PRI * HTTP/2.1", false, 14),
        ] {
            let mut read = Vec::new();
            assert_eq!(begins_http2(&world, &mut &*sent, &mut read).await.unwrap(), is_http2);
            assert_eq!(read, sent[..used]);
        }
        let mut read = Vec::new();
        let cut = begins_http2(&world, &mut &PREFACE[..10], &mut read).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
