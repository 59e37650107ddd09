//! Name look-up.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::thread;

use tokio::sync::{Semaphore, oneshot};

/// The maximum number of look-ups at a time in the whole process. A hanging resolver holds its
/// threads for longer than any attempt waits, so every attempt would add a thread.
const MOST: usize = 32;

static LOOK_UPS: Semaphore = Semaphore::const_new(MOST);

/// Looks up the addresses of a host in the system's resolver. The look-up blocks, so it has a
/// thread of its own: tokio's blocking pool panics if the system allows no more threads.
///
/// # Errors
/// If the name is not known, or no thread can be started.
pub(super) async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let place = LOOK_UPS.acquire().await.map_err(io::Error::other)?;
    let (sender, receiver) = oneshot::channel();
    let host = host.to_owned();
    let look_up = move || {
        let _place = place;
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // The caller may not want the connection any more.
        let _ = sender.send(found);
    };
    thread::Builder::new().spawn(look_up).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("no thread can be started to look up the name: {error}"),
        )
    })?;
    receiver.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_and_addresses_are_found_and_unknown_names_are_errors() {
        let local = look_up("localhost", 7).await.unwrap();
        assert!(local.iter().all(|address| address.ip().is_loopback() && address.port() == 7));
        assert_eq!(look_up("127.0.0.9", 1).await.unwrap(), ["127.0.0.9:1".parse().unwrap()]);
        assert_eq!(look_up("::1", 1).await.unwrap(), ["[::1]:1".parse().unwrap()]);
        assert!(look_up("no such name", 1).await.is_err());
    }
}
