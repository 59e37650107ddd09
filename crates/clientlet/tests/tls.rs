//! TLS on every protocol: what is trusted, what a refusal says, sessions that are resumed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::fs;
use std::time::Duration;

use clientlet::{
    Client, ClientBuilder, Delivery, DocArray as Docs, Document, Error, ErrorKind, Hint, Pem,
    RetryPolicy, Tls, TlsVersion,
};
use clientlet_gateway::{
    DocArray, Gateway, GatewayBuilder, Handshake, Tls as Served, TlsVersion as Version,
};
use clientlet_interop::Certificate;

/// A way to a gateway: the scheme, and the settings that go with it.
type Way = (&'static str, bool);
const WAYS: [Way; 4] = [("https", false), ("wss", false), ("grpcs", false), ("grpcs", true)];

const VERSIONS: [Version; 2] = [Version::V1_2, Version::V1_3];

fn served(tls: &Served) -> GatewayBuilder {
    Gateway::builder().docarray(DocArray::V1).websocket(true).grpc(true).tls(tls.clone())
}

fn url(gateway: &Gateway, way: Way) -> String {
    match way.0 {
        "https" => gateway.http_url(),
        "wss" => gateway.websocket_url(),
        _ => gateway.grpc_url(),
    }
}

fn trusting(served: &Served) -> Tls {
    Tls::new().ca(Pem::text(served.ca_pem())).without_system_roots(true)
}

fn client(gateway: &Gateway, way: Way, tls: Tls) -> ClientBuilder {
    let builder = Client::builder(&url(gateway, way)).unary(way.1).docarray(Docs::V1);
    builder.tls(tls).retry(RetryPolicy::standard())
}

async fn post(client: &Client) -> Result<String, Error> {
    let document = Document::text("a");
    let answers = client.post("/upper").document(&document).send().await.into_result()?;
    Ok(answers[0].documents::<Document>()?.remove(0).text.unwrap())
}

#[tokio::test]
async fn documents_travel_over_tls_and_later_connections_resume_the_session() {
    for (way, version) in WAYS.into_iter().flat_map(|way| VERSIONS.map(|version| (way, version))) {
        let what = format!("{way:?} {version:?}");
        let tls = Served::self_signed().maximum_version(version);
        let gateway = served(&tls).start().await.unwrap();
        let client = client(&gateway, way, trusting(&tls)).build().unwrap();
        assert_eq!(post(&client).await.unwrap(), "A", "{what}");
        // Another runtime has connections of its own.
        let second = client.clone();
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(post(&second)).unwrap()
        });
        let posted = tokio::task::spawn_blocking(|| other.join().unwrap()).await.unwrap();
        assert_eq!(posted, "A", "{what}");
        let journal = gateway.journal();
        assert_eq!(journal.full_handshakes(), 1, "{what}");
        assert!(journal.resumed_handshakes() >= 1, "{what}");
        assert_eq!(journal.failed_handshakes(), 0, "{what}");
        let is_it = |handshake: &Handshake| handshake.version == Some(version);
        assert!(journal.handshakes().iter().all(is_it), "{what}");
    }
}

#[tokio::test]
async fn a_restarted_gateway_that_knows_no_session_is_trusted_for_its_certificate_alone() {
    for (way, version) in WAYS.into_iter().flat_map(|way| VERSIONS.map(|version| (way, version))) {
        let what = format!("{way:?} {version:?}");
        let [first, renewed, stranger] =
            [(); 3].map(|()| Served::self_signed().maximum_version(version));
        let mut gateway = served(&first).start().await.unwrap();
        let both = trusting(&first).ca(Pem::text(renewed.ca_pem()));
        let client = client(&gateway, way, both).build().unwrap();
        assert_eq!(post(&client).await.unwrap(), "A", "{what}");
        for tls in [&first, &renewed] {
            gateway = again(gateway, tls).await;
            assert_eq!(post(&client).await.unwrap(), "A", "{what}");
            let journal = gateway.journal();
            let handshakes = (journal.full_handshakes(), journal.failed_handshakes());
            assert_eq!((handshakes, journal.len()), ((1, 0), 1), "{what}");
        }
        gateway = again(gateway, &stranger).await;
        let error = post(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Tls, Delivery::NotSent), "{what}");
        assert!(error.message().contains("which is not trusted"), "{what}: {error}");
        assert_eq!(gateway.journal().len(), 0, "{what}");
    }
}

/// Stops a gateway and starts another at its addresses, with no memory of sessions.
async fn again(gateway: Gateway, tls: &Served) -> Gateway {
    let (http, websocket) = (gateway.http_address(), gateway.websocket_address());
    let grpc = gateway.grpc_address();
    gateway.stop().await;
    loop {
        let builder = served(tls).http_address(http).websocket_address(websocket);
        match builder.grpc_address(grpc).start().await {
            Ok(gateway) => return gateway,
            // Meanwhile another test's connection may use the port.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_agrees_on_another_protocol_is_named() {
    for way in WAYS {
        let tls = Served::self_signed();
        let fault = "alpn:other@100%,on=handshake".parse().unwrap();
        let gateway = served(&tls).fault(fault).start().await.unwrap();
        let error =
            post(&client(&gateway, way, trusting(&tls)).build().unwrap()).await.unwrap_err();
        assert!(error.message().contains("over TLS (ALPN)"), "{way:?}: {error}");
        let port = match way.0 {
            "grpcs" => Hint::PortForHttpOrWebsocket,
            _ => Hint::PortForGrpc,
        };
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Tls, Some(port)), "{way:?}: {error}");
        assert_eq!(error.delivery(), Delivery::NotSent, "{way:?}: {error}");
    }
}

/// What a fault in the handshake makes of a request: what the message says, and whether another attempt
/// may succeed, and what may help.
const FAULTS: &[(&str, &str, bool, Option<Hint>)] = &[
    ("expired", "the server's certificate expired on 20", false, Some(Hint::CertificateDates)),
    (
        "not-yet-valid",
        "the server's certificate is not valid before 20",
        false,
        Some(Hint::CertificateDates),
    ),
    (
        "wrong-name",
        "the server's certificate is not for \"127.0.0.1\" but for ",
        false,
        Some(Hint::CertificateName),
    ),
    (
        "unknown-issuer",
        "the server's certificate is issued by \"",
        false,
        Some(Hint::CertificateIssuer),
    ),
    (
        "self-signed",
        "the server's certificate is self-signed by \"",
        false,
        Some(Hint::CertificateIssuer),
    ),
    ("wrong-usage", "(its extended key usage lacks serverAuth)", false, None),
    ("plain", "TLS is not spoken there", false, Some(Hint::PortWithoutTls)),
    ("only-tls:1.1", "older than the oldest one allowed", false, None),
    ("reset-after", "the connection was lost in the TLS handshake", true, None),
    ("drop", "the connection was lost in the TLS handshake", true, None),
];

#[tokio::test]
async fn a_handshake_that_fails_is_not_sent_and_says_what_is_wrong() {
    for way in WAYS {
        for (fault, told, is_passing, hint) in FAULTS {
            let what = format!("{fault} over {way:?}");
            let tls = Served::self_signed();
            let fault = format!("{fault}@100%,on=handshake").parse().unwrap();
            let gateway = served(&tls).fault(fault).start().await.unwrap();
            let policy = RetryPolicy::standard().initial_backoff(Duration::from_millis(1));
            let builder = client(&gateway, way, trusting(&tls)).retry(policy.max_attempts(2));
            let error = post(&builder.build().unwrap()).await.unwrap_err();
            assert!(error.message().contains(told), "{what}: {error}");
            assert_eq!(error.delivery(), Delivery::NotSent, "{what}: {error}");
            assert!(!error.may_have_run(), "{what}: {error}");
            let kind = if *is_passing { ErrorKind::Connect } else { ErrorKind::Tls };
            assert_eq!((error.kind(), error.hint()), (kind, *hint), "{what}: {error}");
            assert_eq!(error.attempts().len(), 1 + usize::from(*is_passing), "{what}: {error}");
            assert_eq!(gateway.journal().len(), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn a_certificate_of_a_ca_is_not_a_servers_whether_it_is_trusted_or_not() {
    let certificate = Certificate::of_authority().unwrap();
    let tls = Served::from_files(certificate.certificate(), certificate.key()).unwrap();
    let stranger = Certificate::of_authority().unwrap();
    for trusted in [&certificate, &stranger] {
        for way in WAYS {
            let gateway = served(&tls).start().await.unwrap();
            let settings = Tls::new().ca(Pem::text(trusted.ca_pem())).without_system_roots(true);
            let error = post(&client(&gateway, way, settings).build().unwrap()).await.unwrap_err();
            let told =
                "the server's certificate is a CA's own (CA:TRUE), which a server may not use";
            assert!(error.message().contains(told), "{way:?}: {error}");
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Tls, Delivery::NotSent));
        }
    }
}

#[tokio::test]
async fn a_stalled_handshake_ends_with_the_time_to_connect_which_names_it() {
    for way in WAYS {
        let tls = Served::self_signed();
        let fault = "stall@100%,on=handshake".parse().unwrap();
        let gateway = served(&tls).fault(fault).start().await.unwrap();
        let builder = client(&gateway, way, trusting(&tls)).retry(RetryPolicy::new());
        let client = builder.connect_timeout(Duration::from_millis(200)).build().unwrap();
        let error = post(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{way:?}: {error}");
        let told = "the TLS handshake was not complete by then";
        assert!(error.message().contains(told), "{way:?}: {error}");
    }
}

#[tokio::test]
async fn without_the_authority_the_error_names_it_and_with_it_or_without_checks_all_is_well() {
    let tls = Served::self_signed();
    let gateway = served(&tls).start().await.unwrap();
    for way in WAYS {
        // The system's roots do not have it.
        let error = post(&client(&gateway, way, Tls::new()).build().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{way:?}: {error}");
        assert!(error.message().contains("which is not trusted"), "{way:?}: {error}");
        let beside = Tls::new().ca(Pem::text(tls.ca_pem()));
        let anything = Tls::new().danger_accept_invalid_certs(true);
        assert!(format!("{anything:?}").contains("danger_accept_invalid_certs: true"));
        for settings in [beside, anything, trusting(&tls).min_version(TlsVersion::V1_3)] {
            let client = client(&gateway, way, settings).build().unwrap();
            assert_eq!(post(&client).await.unwrap(), "A", "{way:?}");
        }
        let other_name = trusting(&tls).server_name("flow.example");
        let error = post(&client(&gateway, way, other_name).build().unwrap()).await.unwrap_err();
        let told = "is not for \"flow.example\" but for localhost, 127.0.0.1, ";
        assert!(error.message().contains(told), "{way:?}: {error}");
        let localhost = trusting(&tls).server_name("localhost");
        post(&client(&gateway, way, localhost).build().unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_one_that_is_missing_or_wrong_is_named() {
    for version in VERSIONS {
        let authority = Served::self_signed();
        let tls = authority.clone().maximum_version(version);
        let tls = tls.require_client_certificate(authority.ca_pem()).unwrap();
        let gateway = served(&tls).start().await.unwrap();
        let identity = authority.client_identity("job-7");
        let with = |identity: clientlet_gateway::ClientIdentity| {
            let (chain, key) = (Pem::text(identity.certificate), Pem::text(identity.key));
            trusting(&authority).client_certificate(chain, key)
        };
        for way in WAYS {
            let what = format!("{way:?} {version:?}");
            let good = client(&gateway, way, with(identity.clone())).build().unwrap();
            assert_eq!(post(&good).await.unwrap(), "A", "{what}");
            let stranger = Served::self_signed().client_identity("job-7");
            for (settings, told) in [
                (trusting(&authority), "client certificate"),
                (with(stranger), "the server refuses the client certificate"),
            ] {
                let client = client(&gateway, way, settings).build().unwrap();
                let error = post(&client).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Tls, "{what}: {error}");
                assert_eq!(error.hint(), Some(Hint::ClientCertificate), "{what}: {error}");
                assert!(error.message().contains(told), "{what}: {error}");
                assert_eq!(error.delivery(), Delivery::NotSent, "{what}: {error:?}");
                assert_eq!(error.attempts().len(), 1, "{what}: {error}");
            }
        }
        assert_eq!(gateway.journal().len(), WAYS.len(), "{version:?}");
    }
}

#[tokio::test]
async fn a_port_for_another_protocol_is_named() {
    let tls = Served::self_signed();
    let gateway = served(&tls).start().await.unwrap();
    let plain = Gateway::builder().websocket(true).grpc(true).start().await.unwrap();
    let at = |scheme: &str, url: String| {
        let rest = url.split_once("://").unwrap().1.to_owned();
        Client::builder(&format!("{scheme}://{rest}")).docarray(Docs::V1).tls(trusting(&tls))
    };
    for (scheme, url, kind, hint) in [
        ("http", gateway.http_url(), ErrorKind::Decode, Hint::PortForTls),
        ("ws", gateway.websocket_url(), ErrorKind::Decode, Hint::PortForTls),
        ("grpc", gateway.grpc_url(), ErrorKind::Decode, Hint::PortForTls),
        ("https", plain.http_url(), ErrorKind::Tls, Hint::PortWithoutTls),
        ("wss", plain.websocket_url(), ErrorKind::Tls, Hint::PortWithoutTls),
        ("grpcs", gateway.http_url(), ErrorKind::Tls, Hint::PortForHttpOrWebsocket),
        ("https", gateway.grpc_url(), ErrorKind::Tls, Hint::PortForGrpc),
        ("wss", gateway.grpc_url(), ErrorKind::Tls, Hint::PortForGrpc),
    ] {
        let error = post(&at(scheme, url.clone()).build().unwrap()).await.unwrap_err();
        assert_eq!((error.kind(), error.hint()), (kind, Some(hint)), "{scheme} at {url}: {error}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_named_with_their_file_and_nothing_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Served::self_signed();
    let (one, other) = (authority.client_identity("a"), authority.client_identity("b"));
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        Pem::file(path)
    };
    let key = file("key.pem", &one.key);
    let certificate = file("certificate.pem", &one.certificate);
    let broken = one.certificate.replacen("-----END", "", 1);
    let der = directory.path().join("ca.der");
    fs::write(&der, b"\x30\x82\x03\x0a").unwrap();
    let der = Pem::file(der);
    let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
               -----END EC PRIVATE KEY-----\n";
    let table = [
        (Tls::new().ca(Pem::file("/no/such.pem")), "the CA \"/no/such.pem\" cannot be read"),
        (Tls::new().ca(key.clone()), "holds a private key and no certificate"),
        (Tls::new().ca(file("empty.pem", "")), "empty.pem\" holds no certificate"),
        (Tls::new().ca(file("marked.key", &format!("\u{feff}{}", one.key))), "holds a private key"),
        (Tls::new().ca(file("broken.pem", &broken)), "without its -----END line"),
        (Tls::new().ca(Pem::file("/dev/zero")), "longer than"),
        (Tls::new().ca(der.clone()), "is binary (DER or PKCS #12) and not PEM"),
        (
            Tls::new().client_certificate(certificate.clone(), der),
            "is binary (DER or PKCS #12) and not PEM",
        ),
        (
            Tls::new().client_certificate(certificate.clone(), file("old.key", old)),
            "old.key\" holds an encrypted private key; decrypt it first",
        ),
        (Tls::new().without_system_roots(true), "no CA is given"),
        (
            Tls::new().client_certificate(certificate.clone(), file("b.key", &other.key)),
            "b.key\" is not the key of the client certificate \"",
        ),
        (
            Tls::new().client_certificate(certificate.clone(), certificate),
            "the client certificate's key \"",
        ),
        (Tls::new().client_certificate(key.clone().named("--cert"), key), "--cert \""),
        (Tls::new().server_name("a b"), "the server name \"a b\" is neither"),
    ];
    for (tls, told) in table {
        let error = Client::builder("https://h").tls(tls.clone()).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(
            error.message().contains(told) && !error.message().contains('\n'),
            "{told}: {error}"
        );
        let shown = format!("{tls:?} {error:?}");
        assert!(!shown.contains(&one.key[60..90]), "{shown}");
    }
}
