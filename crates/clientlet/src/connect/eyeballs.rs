//! Tries the addresses of a name one after the other as RFC 8305 ("happy eyeballs") describes,
//! without a long wait for an address that does not answer.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

/// The head start that each address has before the next one is tried (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The maximum number of addresses that are tried for a name, so that a name cannot use up all
/// sockets.
const MOST: usize = 32;

/// The time for which an address that was overtaken is tried last. After this time the address is
/// tried in its turn again, which costs one connection a head start.
const PENANCE: Duration = Duration::from_secs(600);

/// The addresses that failed, or were overtaken by a later address, when a connection was last
/// made.
///
/// The address that worked comes first next time, and connections to a name with several good
/// addresses are still spread over all of them.
#[derive(Debug, Default)]
pub(super) struct SetAside(Mutex<Vec<(IpAddr, Instant)>>);

impl SetAside {
    /// Sorts addresses: the two families alternate, beginning with the family that the resolver
    /// prefers, and the addresses that are set aside come last.
    fn sort(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
        let mut sorted = by_turns(addresses);
        let mut aside = self.entries();
        aside.retain(|(_, since)| since.elapsed() < PENANCE);
        let is_aside = |address: &SocketAddr| aside.iter().any(|(ip, _)| *ip == address.ip());
        sorted.sort_by_key(is_aside);
        sorted.truncate(MOST);
        sorted.into()
    }

    /// Notes the outcome: of the `tried` addresses, in their order, `worked` was the first to
    /// connect. The addresses after it may only have had less time.
    fn note(&self, tried: &[SocketAddr], worked: SocketAddr) {
        let mut aside = self.entries();
        aside.retain(|(ip, _)| tried.iter().all(|address| address.ip() != *ip));
        let now = Instant::now();
        let lost = tried.iter().take_while(|address| address.ip() != worked.ip());
        aside.extend(lost.map(|address| (address.ip(), now)));
        // The oldest entries are dropped, so that a name whose addresses keep changing cannot fill
        // the memory.
        let surplus = aside.len().saturating_sub(MOST);
        aside.drain(..surplus);
    }

    fn entries(&self) -> MutexGuard<'_, Vec<(IpAddr, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists the addresses of both families alternately (RFC 8305, 4).
fn by_turns(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = Vec::new();
    for address in addresses {
        if !seen.contains(&address) {
            seen.push(address);
        }
    }
    let is_first_family = |address: &SocketAddr| {
        seen.first().is_some_and(|first: &SocketAddr| first.is_ipv6() == address.is_ipv6())
    };
    let (ours, others): (Vec<_>, Vec<_>) = seen.iter().copied().partition(is_first_family);
    let mut others = others.into_iter();
    let mut sorted = Vec::with_capacity(seen.len());
    for address in ours {
        sorted.push(address);
        sorted.extend(others.next());
    }
    sorted.extend(others);
    sorted
}

/// Connects to the first address that answers. The next address is tried when one fails, or after
/// [`HEAD_START`]; earlier attempts continue meanwhile.
///
/// # Errors
/// The error of the first address that failed, after all addresses have failed.
pub(super) async fn first<T, F>(
    addresses: impl IntoIterator<Item = SocketAddr>,
    aside: &SetAside,
    dial: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = aside.sort(addresses);
    let mut tried = Vec::new();
    let mut dialling = FuturesUnordered::new();
    let mut failed = None;
    loop {
        if let Some(address) = waiting.pop_front() {
            tried.push(address);
            let connecting = dial(address);
            dialling.push(async move { (address, connecting.await) });
        }
        let next = Instant::now() + HEAD_START;
        let ended = tokio::select! {
            biased;
            ended = dialling.next() => ended,
            () = sleep_until(next), if !waiting.is_empty() => continue,
        };
        match ended {
            Some((address, Ok(connection))) => {
                aside.note(&tried, address);
                return Ok(connection);
            }
            Some((_, Err(error))) => {
                failed.get_or_insert(error);
            }
            None => return Err(failed.unwrap_or_else(no_address)),
        }
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Connects to an address: addresses ending in 1 never answer, those ending in 2 refuse, and
    /// all others work.
    async fn dial(address: SocketAddr) -> io::Result<SocketAddr> {
        let last = match address.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => ip.octets()[15],
        };
        match last {
            1 => pending().await,
            2 => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => Ok(address),
        }
    }

    async fn timed(addresses: &[&str], aside: &SetAside) -> (io::Result<SocketAddr>, u128) {
        let began = Instant::now();
        let worked = first(addresses.iter().map(|text| address(text)), aside, dial).await;
        (worked, began.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_costs_a_quarter_of_a_second_once() {
        let aside = SetAside::default();
        let addresses = ["10.0.0.1:80", "10.0.1.1:80", "10.0.0.3:80", "10.0.0.4:80"];
        let (worked, took) = timed(&addresses, &aside).await;
        assert_eq!(worked.unwrap(), address("10.0.0.3:80"));
        assert!((500..510).contains(&took), "{took} ms");
        let (worked, took) = timed(&addresses, &aside).await;
        assert_eq!((worked.unwrap(), took), (address("10.0.0.3:80"), 0));
        // If the resolver rotates the good addresses, the connections are still spread over them.
        let turned = ["10.0.0.4:80", "10.0.0.1:80", "10.0.0.3:80", "10.0.1.1:80"];
        assert_eq!(timed(&turned, &aside).await.0.unwrap(), address("10.0.0.4:80"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_was_set_aside_is_tried_again_later_or_if_no_other_works() {
        let aside = SetAside::default();
        aside.note(&[address("10.0.0.3:80"), address("10.0.0.4:80")], address("10.0.0.4:80"));
        let worked = timed(&["10.0.0.3:80", "10.0.0.2:80"], &aside).await.0;
        assert_eq!(worked.unwrap(), address("10.0.0.3:80"));
        let both = ["10.0.0.3:80", "10.0.0.4:80"];
        aside.note(&both.map(address), address("10.0.0.4:80"));
        assert_eq!(timed(&both, &aside).await.0.unwrap(), address("10.0.0.4:80"));
        tokio::time::advance(PENANCE).await;
        assert_eq!(timed(&both, &aside).await.0.unwrap(), address("10.0.0.3:80"));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_the_next_address_is_tried_at_once() {
        let (worked, took) =
            timed(&["10.0.0.2:80", "10.0.1.2:80", "10.0.0.3:80"], &SetAside::default()).await;
        assert_eq!((worked.unwrap(), took), (address("10.0.0.3:80"), 0));
        let (failed, took) = timed(&["10.0.0.2:80", "10.0.1.2:80"], &SetAside::default()).await;
        assert_eq!((failed.unwrap_err().kind(), took), (io::ErrorKind::ConnectionRefused, 0));
        let (failed, _) = timed(&[], &SetAside::default()).await;
        assert!(failed.unwrap_err().to_string().contains("no address"));
    }

    #[test]
    fn families_take_turns_beginning_with_the_one_that_the_resolver_prefers() {
        let sorted = by_turns(
            ["[::1]:80", "[::2]:80", "[::1]:80", "1.1.1.1:80", "1.1.1.2:80", "1.1.1.3:80"]
                .map(address),
        );
        let expected =
            ["[::1]:80", "1.1.1.1:80", "[::2]:80", "1.1.1.2:80", "1.1.1.3:80"].map(address);
        assert_eq!(sorted, expected);
    }

    #[test]
    fn the_number_of_remembered_addresses_is_bounded() {
        let aside = SetAside::default();
        for n in 0..1000_u16 {
            let [high, low] = n.to_be_bytes();
            let lost = SocketAddr::from(([10, 1, high, low], 80));
            aside.note(&[lost, address("10.0.0.3:80")], address("10.0.0.3:80"));
        }
        assert_eq!(aside.entries().len(), MOST);
    }
}
