//! Real proxies, and proxies that fail, on every protocol with and without TLS. What a proxy refuses is
//! reported as the proxy's, by name; what passes through is counted at the proxy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "../events/mod.rs"]
mod events;
mod faults;
mod own;
mod secrets;
mod socks;
mod squid;

use std::time::Duration;

use clientlet::{
    Client, ClientBuilder, Delivery, DocArray as Docs, Document, Error, ErrorKind, Hint, Pem,
    RetryPolicy, Tls,
};
use clientlet_gateway::{DocArray, Gateway, Tls as Served};

/// A way to a gateway: the scheme, and whether each request is a unary call.
type Way = (&'static str, bool);
const WAYS: [Way; 8] = [
    ("http", false),
    ("ws", false),
    ("grpc", false),
    ("grpc", true),
    ("https", false),
    ("wss", false),
    ("grpcs", false),
    ("grpcs", true),
];

/// Whether an HTTP proxy gets the requests themselves, and is not asked for a connection.
fn is_passed_on(way: Way) -> bool {
    way.0 == "http"
}

/// A gateway with all protocols, and another one over TLS.
struct Gateways {
    plain: Gateway,
    secure: Gateway,
    tls: Served,
}

impl Gateways {
    async fn start() -> Gateways {
        let builder = || Gateway::builder().docarray(DocArray::V1).websocket(true).grpc(true);
        let tls = Served::self_signed();
        let plain = builder().start().await.unwrap();
        Gateways { plain, secure: builder().tls(tls.clone()).start().await.unwrap(), tls }
    }

    fn of(&self, way: Way) -> &Gateway {
        if way.0.ends_with('s') && way.0 != "ws" { &self.secure } else { &self.plain }
    }

    /// The host and port for a way.
    fn authority(&self, way: Way) -> String {
        let gateway = self.of(way);
        let address = match way.0 {
            "http" | "https" => gateway.http_address(),
            "ws" | "wss" => gateway.websocket_address(),
            _ => gateway.grpc_address(),
        };
        address.to_string()
    }

    /// A client of the gateway through a proxy, which sends a request at most twice.
    fn client(&self, way: Way, proxy: &str) -> ClientBuilder {
        self.client_of(&self.authority(way), way, proxy)
    }

    /// A client of a gateway at another host and port.
    fn client_of(&self, authority: &str, way: Way, proxy: &str) -> ClientBuilder {
        let tls = Tls::new().ca(Pem::text(self.tls.ca_pem())).without_system_roots(true);
        let policy = RetryPolicy::standard().initial_backoff(Duration::from_millis(1));
        let builder = Client::builder(&format!("{}://{authority}", way.0)).unary(way.1);
        builder.docarray(Docs::V1).tls(tls).proxy(proxy).retry(policy.max_attempts(2))
    }
}

async fn post(client: &Client) -> Result<String, Error> {
    let document = Document::text("a");
    let answers = client.post("/upper").document(&document).send().await.into_result()?;
    Ok(answers[0].documents::<Document>()?.remove(0).text.unwrap())
}

/// Checks an error that is the proxy's: nothing reached the gateway. `is_passing` says whether another
/// attempt may succeed.
fn check_the_proxys(error: &Error, proxy: &str, told: &str, is_passing: bool, what: &str) {
    assert_eq!(error.kind(), ErrorKind::Connect, "{what}: {error}");
    assert_eq!(error.delivery(), Delivery::NotSent, "{what}: {error}");
    assert!(!error.may_have_run(), "{what}: {error}");
    let message = error.message();
    assert!(message.contains(&format!("the proxy {proxy}")), "{what}: {error}");
    assert!(message.contains(told) && !message.contains('\n'), "{what}: {told}: {error}");
    assert!(matches!(error.hint(), Some(Hint::Proxy | Hint::ProxyCredentials)), "{what}: {error}");
    assert_eq!(error.attempts().len(), 1 + usize::from(is_passing), "{what}: {error}");
}

/// Runs what blocks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// An address at which nothing listens.
fn closed(number: u8) -> String {
    format!("127.0.1.{}:1", number + 1)
}
