//! A proxy that breaks connections: resets and closes at any byte, directions that fall silent,
//! bytes that come late and in small pieces, and over TLS bytes that are changed. Each connection's fate
//! depends only on the seed and the connection's number.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// One connection in this many is long-lived, whatever the seed draws for the others.
const HEALTHY_EACH: u64 = 4;

/// The time limit for connections to end once the client is gone.
const ENDED_WITHIN: Duration = Duration::from_secs(10);

/// The way in which a connection breaks.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// The place: the direction, and the number of bytes that still come through. `after` is that
    /// number.
    way: Way,
    after: usize,
    /// Whether the bytes that were read together with the last of these come through, too. They are
    /// usually the rest of a request or an answer, so that the next request meets a connection that
    /// is about to end.
    whole: bool,
    end: End,
    /// The pace of each direction.
    pace: [Pace; 2],
    /// The seed for the lengths of waits and pieces.
    random: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    ToGateway,
    ToClient,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Both sides are reset.
    Reset,
    /// Both sides are closed in good order, even with requests in flight.
    Closed,
    /// This direction falls silent. Its bytes are still read, and it stays open until the client
    /// gives up.
    HalfOpen,
    /// One byte of this direction is changed, which TLS notices.
    Corrupted,
}

/// The number of bytes after which a connection over TLS has made its handshake. A changed byte in a
/// handshake is a failure of the handshake, which is not tried again.
const SHAKEN: usize = 2_000;

/// The pace at which bytes are passed on.
#[derive(Clone, Copy, Debug)]
enum Pace {
    AtOnce,
    /// In pieces of at most this number of bytes.
    Split(usize),
    /// As they were read, each time after a wait of up to this number of milliseconds.
    Late(u64),
}

impl Fate {
    fn of(seed: u64, connection: u64, is_secure: bool) -> Fate {
        // The numbers are spread, because neighbouring connections would otherwise have similar
        // draws.
        let mut random = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ connection);
        let healthy = connection.is_multiple_of(HEALTHY_EACH);
        let fate = Fate {
            way: if random.bool() { Way::ToGateway } else { Way::ToClient },
            // At the very beginning, within the first exchange, or between later ones. Even a
            // healthy connection ends eventually; otherwise all connections would soon be healthy.
            after: match random.u32(..10) {
                _ if healthy => random.usize(10_000..40_000),
                0 => 0,
                1..=4 => random.usize(..500),
                _ => random.usize(..6_000),
            },
            whole: random.bool(),
            end: match random.u32(..10) {
                0..=4 => End::Reset,
                5..=7 => End::Closed,
                _ => End::HalfOpen,
            },
            pace: [Pace::draw(&mut random), Pace::draw(&mut random)],
            random: random.u64(..),
        };
        match fate.end {
            End::Closed if is_secure && fate.after >= SHAKEN => {
                Fate { end: End::Corrupted, ..fate }
            }
            _ => fate,
        }
    }
}

impl Pace {
    fn draw(random: &mut Rng) -> Pace {
        match random.u32(..10) {
            0..=5 => Pace::AtOnce,
            6..=7 => Pace::Split(random.usize(1..40)),
            _ => Pace::Late(random.u64(1..8)),
        }
    }
}

/// A running proxy. Dropping it ends all its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<JoinSet<()>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes connections to the gateway at `upstream`.
    pub(crate) async fn start(
        upstream: SocketAddr,
        is_secure: bool,
        seed: u64,
    ) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, upstream, is_secure, seed, stopped));
        Ok(Proxy { address, stop, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting and waits until all connections have ended by themselves, as they do when
    /// the client is gone. Then no request is in flight to the gateway any more.
    ///
    /// # Panics
    /// If a connection does not end.
    pub(crate) async fn end(self) {
        // Sending fails only if the task panicked, which the next line reports.
        let _ = self.stop.send(());
        let mut connections = self.task.await.unwrap();
        let ended = async { while connections.join_next().await.is_some() {} };
        let ended = tokio::time::timeout(ENDED_WITHIN, ended).await;
        ended.expect("all connections end once the client is gone");
    }
}

/// Serves each connection in a task of its own until `stop` comes. Returns the connections that
/// still run.
async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    is_secure: bool,
    seed: u64,
    mut stopped: oneshot::Receiver<()>,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    for number in 1.. {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        while connections.try_join_next().is_some() {}
        let (client, _) = accepted.unwrap();
        let fate = Fate::of(seed, number, is_secure);
        connections.spawn(async move {
            // An error means that a side broke the connection, which is the purpose of this proxy.
            let _ = serve(client, upstream, fate).await;
        });
    }
    connections
}

async fn serve(mut client: TcpStream, upstream: SocketAddr, fate: Fate) -> io::Result<()> {
    client.set_nodelay(true)?;
    if fate.end == End::Reset && fate.after == 0 {
        return client.set_zero_linger();
    }
    let mut gateway = TcpStream::connect(upstream).await?;
    gateway.set_nodelay(true)?;
    let pump = |way, from, to| {
        let limit = if fate.way == way { fate.after } else { usize::MAX };
        let random = Rng::with_seed(fate.random ^ way as u64);
        Pump {
            way,
            from,
            to,
            limit,
            whole: fate.whole,
            end: fate.end,
            pace: fate.pace[way as usize],
            random,
        }
    };
    let over = {
        let (from_client, to_client) = client.split();
        let (from_gateway, to_gateway) = gateway.split();
        let there = pump(Way::ToGateway, from_client, to_gateway);
        let back = pump(Way::ToClient, from_gateway, to_client);
        tokio::select! {
            over = there.run() => over,
            over = back.run() => over,
        }
    };
    if over? == Over::Struck && fate.end == End::Reset {
        client.set_zero_linger()?;
        gateway.set_zero_linger()?;
    }
    Ok(())
}

/// One direction of a connection.
struct Pump<'a> {
    way: Way,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    limit: usize,
    whole: bool,
    end: End,
    pace: Pace,
    random: Rng,
}

/// The reason why a direction passes on no more bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Over {
    /// The sender has closed the direction.
    Closed,
    /// The last byte of the fate was passed on.
    Struck,
}

impl Pump<'_> {
    async fn run(mut self) -> io::Result<Over> {
        let mut buffer = vec![0; 16 << 10];
        while self.limit > 0 {
            let read = self.from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(Over::Closed);
            }
            let is_last = read >= self.limit;
            if is_last && self.end == End::Corrupted {
                buffer[self.limit - 1] ^= 1;
                // The receiver ends the connection, so everything is passed on.
                self.limit = usize::MAX;
            }
            let through = if self.whole { read } else { read.min(self.limit) };
            self.limit = self.limit.saturating_sub(through);
            self.hand_on(&buffer[..through]).await?;
        }
        if self.end != End::HalfOpen {
            return Ok(Over::Struck);
        }
        // Keeps reading, so that a client that gives up is noticed. The gateway's end is not shown
        // to the client.
        while self.from.read(&mut buffer).await? > 0 {}
        if self.way == Way::ToClient {
            std::future::pending::<()>().await;
        }
        Ok(Over::Closed)
    }

    async fn hand_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.pace {
            Pace::AtOnce => self.to.write_all(bytes).await,
            Pace::Late(most) => {
                tokio::time::sleep(Duration::from_millis(self.random.u64(..=most))).await;
                self.to.write_all(bytes).await
            }
            Pace::Split(most) => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let (piece, behind) =
                        rest.split_at(self.random.usize(1..=most).min(rest.len()));
                    self.to.write_all(piece).await?;
                    // Gives the receiver a chance to read only this piece.
                    tokio::task::yield_now().await;
                    rest = behind;
                }
                Ok(())
            }
        }
    }
}
