//! The gateways on which every case runs, and the abilities that each of them lacks.

use std::io::Write;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use clientlet::{Client, ClientBuilder, DocArray, Pem, Tls};
use clientlet_gateway::{Gateway, GatewayBuilder, Tls as Served};
use clientlet_interop::{Environment, Options, RealGateway};

/// A gateway on which the contract is checked.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) docarray: DocArray,
    pub(crate) protocol: Protocol,
    /// Whether the protocol is spoken over TLS.
    is_secure: bool,
    world: World,
    cannot: &'static [(Ability, &'static str)],
}

/// The protocol of the row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    Http,
    Websocket,
    WebsocketJson,
    /// A stream for each call.
    Grpc,
    /// Each request is a unary call.
    GrpcUnary,
}

impl Protocol {
    fn builder(self, url: &str) -> ClientBuilder {
        match self {
            Protocol::GrpcUnary => Client::builder(url).unary(true),
            Protocol::WebsocketJson => Client::builder(url).websocket_json(true),
            Protocol::Http | Protocol::Websocket | Protocol::Grpc => Client::builder(url),
        }
    }
}

#[derive(Debug)]
enum World {
    Embedded,
    Real(Environment),
}

/// The abilities that some gateways lack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ability {
    /// Routes with times, and the endpoint, in an answer.
    Routes,
    /// An exception with name, arguments, traceback and executor, and the documents of the request.
    WholeException,
    /// Bytes that are not UTF-8.
    Bytes,
    /// An endpoint that no executor binds is a success.
    UnboundEndpoints,
    /// A list of the executors' endpoints.
    EndpointList,
    /// A dry run that reports a dead executor, and failures that name it.
    HonestOutage,
    /// Tags come back unchanged, except whole numbers.
    EqualTags,
    /// JSON, with its losses and a gateway that validates it.
    Json,
    /// A target that matches no deployment leaves the documents unchanged.
    Targets,
    /// No TLS. Cases ask for it that TLS cannot change.
    Plain,
}

const V1: &[(Ability, &str)] = &[(
    Ability::EndpointList,
    "a v1 HTTP gateway lists its own paths, not the executors' endpoints",
)];

const V2: &[(Ability, &str)] = &[
    (Ability::Routes, "v2 over HTTP has no routes"),
    (Ability::WholeException, "v2 over HTTP gives an exception as its repr alone"),
    (Ability::Bytes, "v2 over HTTP has no bytes, only text"),
    (Ability::UnboundEndpoints, "a v2 gateway has no path for an endpoint that no executor binds"),
    (Ability::HonestOutage, "v2 over HTTP hides a dead executor behind 500 and a good dry run"),
];

pub(crate) const EMBEDDED_V1: Row = Row {
    name: "embedded v1",
    docarray: DocArray::V1,
    protocol: Protocol::Http,
    is_secure: false,
    world: World::Embedded,
    cannot: V1,
};
pub(crate) const EMBEDDED_V2: Row = Row {
    name: "embedded v2",
    docarray: DocArray::V2,
    protocol: Protocol::Http,
    is_secure: false,
    world: World::Embedded,
    cannot: V2,
};
pub(crate) const SEED_ERA: Row = Row {
    name: "Jina 3.14.1, documents v1",
    docarray: DocArray::V1,
    protocol: Protocol::Http,
    is_secure: false,
    world: World::Real(Environment::SeedEra),
    cannot: V1,
};
pub(crate) const CURRENT_V1: Row = Row {
    name: "Jina 3.33.1, documents v1",
    docarray: DocArray::V1,
    protocol: Protocol::Http,
    is_secure: false,
    world: World::Real(Environment::CurrentV1),
    cannot: V1,
};
pub(crate) const CURRENT: Row = Row {
    name: "Jina 3.33.1, documents v2",
    docarray: DocArray::V2,
    protocol: Protocol::Http,
    is_secure: false,
    world: World::Real(Environment::Current),
    cannot: V2,
};

const WEBSOCKET: &[(Ability, &str)] = &[
    (Ability::EndpointList, "a WebSocket port lists no endpoints"),
    (Ability::Json, "its messages are protobuf"),
];

pub(crate) const WS_EMBEDDED_V1: Row = Row {
    name: "embedded v1, WebSocket",
    protocol: Protocol::Websocket,
    cannot: WEBSOCKET,
    ..EMBEDDED_V1
};
pub(crate) const WS_EMBEDDED_V2: Row = Row {
    name: "embedded v2, WebSocket",
    protocol: Protocol::Websocket,
    cannot: WEBSOCKET,
    ..EMBEDDED_V2
};
pub(crate) const WS_SEED_ERA: Row = Row {
    name: "Jina 3.14.1, documents v1, WebSocket",
    protocol: Protocol::Websocket,
    cannot: WEBSOCKET,
    ..SEED_ERA
};
pub(crate) const WS_CURRENT_V1: Row = Row {
    name: "Jina 3.33.1, documents v1, WebSocket",
    protocol: Protocol::Websocket,
    cannot: WEBSOCKET,
    ..CURRENT_V1
};
pub(crate) const WS_CURRENT: Row = Row {
    name: "Jina 3.33.1, documents v2, WebSocket",
    protocol: Protocol::Websocket,
    cannot: WEBSOCKET,
    ..CURRENT
};

const GRPC_V1: &[(Ability, &str)] = &[
    (Ability::EndpointList, "a v1 gateway lists no endpoints over gRPC, or fails at it"),
    (Ability::Json, "its messages are protobuf"),
];
const GRPC_V2: &[(Ability, &str)] = &[
    (Ability::EndpointList, "an endpoint that no executor binds is a success over gRPC"),
    (Ability::Json, "its messages are protobuf"),
];

pub(crate) const GRPC_SEED_ERA: Row = Row {
    name: "Jina 3.14.1, documents v1, gRPC",
    protocol: Protocol::Grpc,
    cannot: GRPC_V1,
    ..SEED_ERA
};
pub(crate) const GRPC_CURRENT_V1: Row = Row {
    name: "Jina 3.33.1, documents v1, gRPC",
    protocol: Protocol::Grpc,
    cannot: GRPC_V1,
    ..CURRENT_V1
};
pub(crate) const GRPC_CURRENT: Row = Row {
    name: "Jina 3.33.1, documents v2, gRPC",
    protocol: Protocol::Grpc,
    cannot: GRPC_V2,
    ..CURRENT
};
pub(crate) const UNARY_SEED_ERA: Row = Row {
    name: "Jina 3.14.1, documents v1, gRPC unary",
    protocol: Protocol::GrpcUnary,
    cannot: GRPC_V1,
    ..SEED_ERA
};
pub(crate) const UNARY_CURRENT_V1: Row = Row {
    name: "Jina 3.33.1, documents v1, gRPC unary",
    protocol: Protocol::GrpcUnary,
    cannot: GRPC_V1,
    ..CURRENT_V1
};
pub(crate) const UNARY_CURRENT: Row = Row {
    name: "Jina 3.33.1, documents v2, gRPC unary",
    protocol: Protocol::GrpcUnary,
    cannot: GRPC_V2,
    ..CURRENT
};

pub(crate) const GRPC_EMBEDDED_V1: Row =
    Row { name: "embedded v1, gRPC", protocol: Protocol::Grpc, cannot: GRPC_V1, ..EMBEDDED_V1 };
pub(crate) const GRPC_EMBEDDED_V2: Row =
    Row { name: "embedded v2, gRPC", protocol: Protocol::Grpc, cannot: GRPC_V2, ..EMBEDDED_V2 };
pub(crate) const UNARY_EMBEDDED_V1: Row = Row {
    name: "embedded v1, gRPC unary",
    protocol: Protocol::GrpcUnary,
    cannot: GRPC_V1,
    ..EMBEDDED_V1
};
pub(crate) const UNARY_EMBEDDED_V2: Row = Row {
    name: "embedded v2, gRPC unary",
    protocol: Protocol::GrpcUnary,
    cannot: GRPC_V2,
    ..EMBEDDED_V2
};

const WEBSOCKET_JSON: &[(Ability, &str)] = &[
    (Ability::EndpointList, "a WebSocket port lists no endpoints"),
    (
        Ability::Json,
        "the gateway drops the connection for JSON that it cannot read, without a word",
    ),
];

pub(crate) const WS_JSON_EMBEDDED_V1: Row = Row {
    name: "embedded v1, JSON over WebSocket",
    protocol: Protocol::WebsocketJson,
    cannot: WEBSOCKET_JSON,
    ..WS_EMBEDDED_V1
};
pub(crate) const WS_JSON_SEED_ERA: Row = Row {
    name: "Jina 3.14.1, documents v1, JSON over WebSocket",
    protocol: Protocol::WebsocketJson,
    cannot: WEBSOCKET_JSON,
    ..WS_SEED_ERA
};
pub(crate) const WS_JSON_CURRENT_V1: Row = Row {
    name: "Jina 3.33.1, documents v1, JSON over WebSocket",
    protocol: Protocol::WebsocketJson,
    cannot: WEBSOCKET_JSON,
    ..WS_CURRENT_V1
};

pub(crate) const HTTPS_EMBEDDED_V1: Row =
    Row { name: "embedded v1, HTTPS", is_secure: true, ..EMBEDDED_V1 };
pub(crate) const WSS_EMBEDDED_V1: Row =
    Row { name: "embedded v1, WebSocket over TLS", is_secure: true, ..WS_EMBEDDED_V1 };
pub(crate) const GRPCS_EMBEDDED_V1: Row =
    Row { name: "embedded v1, gRPC over TLS", is_secure: true, ..GRPC_EMBEDDED_V1 };
pub(crate) const SECURE_UNARY_EMBEDDED_V1: Row =
    Row { name: "embedded v1, gRPC unary over TLS", is_secure: true, ..UNARY_EMBEDDED_V1 };
pub(crate) const HTTPS_EMBEDDED_V2: Row =
    Row { name: "embedded v2, HTTPS", is_secure: true, ..EMBEDDED_V2 };
pub(crate) const WSS_EMBEDDED_V2: Row =
    Row { name: "embedded v2, WebSocket over TLS", is_secure: true, ..WS_EMBEDDED_V2 };
pub(crate) const GRPCS_EMBEDDED_V2: Row =
    Row { name: "embedded v2, gRPC over TLS", is_secure: true, ..GRPC_EMBEDDED_V2 };
pub(crate) const SECURE_UNARY_EMBEDDED_V2: Row =
    Row { name: "embedded v2, gRPC unary over TLS", is_secure: true, ..UNARY_EMBEDDED_V2 };
pub(crate) const HTTPS_SEED_ERA: Row =
    Row { name: "Jina 3.14.1, documents v1, HTTPS", is_secure: true, ..SEED_ERA };
pub(crate) const WSS_SEED_ERA: Row =
    Row { name: "Jina 3.14.1, documents v1, WebSocket over TLS", is_secure: true, ..WS_SEED_ERA };
pub(crate) const GRPCS_SEED_ERA: Row =
    Row { name: "Jina 3.14.1, documents v1, gRPC over TLS", is_secure: true, ..GRPC_SEED_ERA };
pub(crate) const SECURE_UNARY_SEED_ERA: Row = Row {
    name: "Jina 3.14.1, documents v1, gRPC unary over TLS",
    is_secure: true,
    ..UNARY_SEED_ERA
};
pub(crate) const HTTPS_CURRENT_V1: Row =
    Row { name: "Jina 3.33.1, documents v1, HTTPS", is_secure: true, ..CURRENT_V1 };
pub(crate) const WSS_CURRENT_V1: Row =
    Row { name: "Jina 3.33.1, documents v1, WebSocket over TLS", is_secure: true, ..WS_CURRENT_V1 };
pub(crate) const GRPCS_CURRENT_V1: Row =
    Row { name: "Jina 3.33.1, documents v1, gRPC over TLS", is_secure: true, ..GRPC_CURRENT_V1 };
pub(crate) const SECURE_UNARY_CURRENT_V1: Row = Row {
    name: "Jina 3.33.1, documents v1, gRPC unary over TLS",
    is_secure: true,
    ..UNARY_CURRENT_V1
};
pub(crate) const HTTPS_CURRENT: Row =
    Row { name: "Jina 3.33.1, documents v2, HTTPS", is_secure: true, ..CURRENT };
pub(crate) const WSS_CURRENT: Row =
    Row { name: "Jina 3.33.1, documents v2, WebSocket over TLS", is_secure: true, ..WS_CURRENT };
pub(crate) const GRPCS_CURRENT: Row =
    Row { name: "Jina 3.33.1, documents v2, gRPC over TLS", is_secure: true, ..GRPC_CURRENT };
pub(crate) const SECURE_UNARY_CURRENT: Row = Row {
    name: "Jina 3.33.1, documents v2, gRPC unary over TLS",
    is_secure: true,
    ..UNARY_CURRENT
};

pub(crate) const WSS_JSON_EMBEDDED_V1: Row = Row {
    name: "embedded v1, JSON over WebSocket and TLS",
    is_secure: true,
    ..WS_JSON_EMBEDDED_V1
};
pub(crate) const WSS_JSON_SEED_ERA: Row = Row {
    name: "Jina 3.14.1, documents v1, JSON over WebSocket and TLS",
    is_secure: true,
    ..WS_JSON_SEED_ERA
};
pub(crate) const WSS_JSON_CURRENT_V1: Row = Row {
    name: "Jina 3.33.1, documents v1, JSON over WebSocket and TLS",
    is_secure: true,
    ..WS_JSON_CURRENT_V1
};

const NOT_PLAIN: &str = "nothing in the case depends on TLS; it runs without TLS";

/// The certificate of all embedded gateways over TLS.
fn served() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(Served::self_signed)
}

/// Trusts this CA, in PEM, alone.
fn trusting(authority: &str) -> Tls {
    Tls::new().ca(Pem::text(authority)).without_system_roots(true)
}

impl Row {
    /// Whether the row has all abilities that a case needs. If not, says what is skipped and why.
    pub(crate) fn can(&self, case: &str, needs: &[Ability]) -> bool {
        let reason = self.why_not(needs);
        if let Some(reason) = reason {
            // Written directly to stderr, because the harness would hide the output of a passing
            // test.
            let _ = writeln!(std::io::stderr(), "skipped: {case} on {}: {reason}", self.name);
        }
        reason.is_none()
    }

    /// Returns why the row cannot run a case that needs these abilities; `None` if it can.
    pub(crate) fn why_not(&self, needs: &[Ability]) -> Option<&'static str> {
        if self.is_secure && needs.contains(&Ability::Plain) {
            return Some(NOT_PLAIN);
        }
        let missing = self.cannot.iter().find(|(ability, _)| needs.contains(ability));
        missing.map(|(_, reason)| *reason)
    }

    /// Whether the row is the newest real gateway, without TLS.
    pub(crate) fn is_current(&self) -> bool {
        matches!(self.world, World::Real(Environment::Current)) && !self.is_secure
    }

    /// Returns the row's gateway, shared by the cases that leave it unchanged; `None` if it is not
    /// installed.
    pub(crate) async fn stage(&'static self) -> Option<Stage> {
        let embedded = match &self.world {
            World::Embedded => Some(self.embedded().await),
            World::Real(_) => None,
        };
        let (url, tls) = match &embedded {
            Some(gateway) => (self.url_of(gateway), trusting(served().ca_pem())),
            None => self.shared()?,
        };
        Some(Stage { url, tls, protocol: self.protocol, _embedded: embedded })
    }

    fn builder(&self) -> GatewayBuilder {
        let builder = Gateway::builder().docarray(self.spoken()).websocket(true).grpc(true);
        if self.is_secure { builder.tls(served().clone()) } else { builder }
    }

    async fn embedded(&self) -> Gateway {
        self.builder().start().await.unwrap()
    }

    fn spoken(&self) -> clientlet_gateway::DocArray {
        match self.docarray {
            DocArray::V1 => clientlet_gateway::DocArray::V1,
            DocArray::V2 => clientlet_gateway::DocArray::V2,
        }
    }

    /// Stops the gateway in good order and starts another at its addresses.
    async fn embedded_again(&self, gateway: Gateway) -> Gateway {
        let (http, websocket) = (gateway.http_address(), gateway.websocket_address());
        let grpc = gateway.grpc_address();
        gateway.stop().await;
        loop {
            let builder = self.builder().http_address(http);
            let builder = builder.websocket_address(websocket).grpc_address(grpc);
            match builder.start().await {
                Ok(gateway) => return gateway,
                // Meanwhile another test's connection may use the port.
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn url_of(&self, gateway: &Gateway) -> String {
        match self.protocol {
            Protocol::Http => gateway.http_url(),
            Protocol::Websocket | Protocol::WebsocketJson => gateway.websocket_url(),
            Protocol::Grpc | Protocol::GrpcUnary => gateway.grpc_url(),
        }
    }

    /// Returns the name of the protocol in `clientlet-interop`.
    fn protocol_name(&self) -> &'static str {
        match self.protocol {
            Protocol::Http => "http",
            Protocol::Websocket | Protocol::WebsocketJson => "websocket",
            Protocol::Grpc | Protocol::GrpcUnary => "grpc",
        }
    }

    /// Returns the URL of the row's real gateway, and what its clients trust. Real gateways take seconds
    /// to start, so the cases of a row share one, which ends with this process.
    fn shared(&self) -> Option<(String, Tls)> {
        static PLAIN: [OnceLock<Option<Mutex<RealGateway>>>; 3] = [const { OnceLock::new() }; 3];
        static SECURE: [OnceLock<Option<Mutex<RealGateway>>>; 3] = [const { OnceLock::new() }; 3];
        let World::Real(environment) = self.world else { return None };
        let shared = if self.is_secure { &SECURE } else { &PLAIN };
        let gateway = shared[environment as usize].get_or_init(|| {
            let options = Options { protocols: ALL, tls: self.is_secure, ..Options::default() };
            start(environment, options).map(Mutex::new)
        });
        let gateway = gateway.as_ref()?.lock().unwrap();
        Some((gateway.url(self.protocol_name()), trust(&gateway)))
    }

    /// Starts a gateway that only this case uses and may break. Its executor is given
    /// `timeout_send`.
    pub(crate) async fn breakable(&'static self, timeout_send: Duration) -> Option<Breakable> {
        let timeout_send = Some(timeout_send);
        let tls = self.is_secure;
        let options = Options { protocols: ALL, timeout_send, tls, ..Options::default() };
        match self.world {
            World::Embedded => {
                Some(Breakable { row: self, world: Broken::Embedded(self.embedded().await) })
            }
            World::Real(environment) => {
                let start = tokio::task::spawn_blocking(move || start(environment, options));
                start
                    .await
                    .unwrap()
                    .map(|gateway| Breakable { row: self, world: Broken::Real(gateway) })
            }
        }
    }
}

/// The protocols of a row's gateway, each on a port of its own.
const ALL: &[&str] = &["http", "websocket", "grpc"];

fn start(environment: Environment, options: Options) -> Option<RealGateway> {
    RealGateway::start_or_skip(environment, options).unwrap_or_else(|error| panic!("{error}"))
}

/// What clients of a real gateway trust.
fn trust(gateway: &RealGateway) -> Tls {
    gateway.ca_pem().map_or_else(Tls::new, trusting)
}

/// A running gateway that a case leaves unchanged.
pub(crate) struct Stage {
    url: String,
    tls: Tls,
    protocol: Protocol,
    /// Ends with the case.
    _embedded: Option<Gateway>,
}

impl Stage {
    pub(crate) fn builder(&self) -> ClientBuilder {
        self.protocol.builder(&self.url).tls(self.tls.clone())
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }
}

/// A running gateway that a case may break.
pub(crate) struct Breakable {
    row: &'static Row,
    world: Broken,
}

enum Broken {
    Embedded(Gateway),
    Real(RealGateway),
}

impl Breakable {
    pub(crate) fn client(&self) -> Client {
        let (url, tls) = match &self.world {
            Broken::Embedded(gateway) => (self.row.url_of(gateway), trusting(served().ca_pem())),
            Broken::Real(gateway) => (gateway.url(self.row.protocol_name()), trust(gateway)),
        };
        self.row.protocol.builder(&url).tls(tls).build().unwrap()
    }

    pub(crate) fn kill_executor(&mut self) {
        match &mut self.world {
            Broken::Embedded(gateway) => gateway.control().executor_down(true),
            Broken::Real(gateway) => gateway.kill_executor().unwrap(),
        }
    }

    pub(crate) fn revive_executor(&mut self) {
        match &mut self.world {
            Broken::Embedded(gateway) => gateway.control().executor_down(false),
            Broken::Real(gateway) => {
                gateway.revive_executor().unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }

    /// Stops the gateway in good order and starts it again at its address. Its executors keep
    /// running.
    pub(crate) async fn restart_gateway(mut self) -> Breakable {
        self.world = match self.world {
            Broken::Embedded(gateway) => Broken::Embedded(self.row.embedded_again(gateway).await),
            Broken::Real(mut gateway) => {
                // Ending and starting processes blocks.
                let restarted = tokio::task::spawn_blocking(move || {
                    gateway.stop_gateway().unwrap();
                    gateway.revive_gateway().unwrap_or_else(|error| panic!("{error}"));
                    gateway
                });
                Broken::Real(restarted.await.unwrap())
            }
        };
        self
    }

    /// Makes `/slow` slower than the gateway's own time-out, if it is not already.
    pub(crate) fn slow_down(&mut self) {
        if let Broken::Embedded(gateway) = &self.world {
            gateway.control().executor_slow(true);
        }
    }
}
