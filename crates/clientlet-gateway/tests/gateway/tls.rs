//! The gateway behind TLS: as rustls sees it, and as clients see it that we did not write.

use clientlet_gateway::{Gateway, GatewayBuilder, Tls, TlsVersion};
use prost::Message as _;
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;

use crate::common::grpc::{Channel, DRY_RUN, SINGLE};
use crate::common::proto::v1;
use crate::common::tls::Trust;
use crate::common::websocket::{self, Socket};
use crate::common::{Client, request, run_or_skip};

fn all() -> GatewayBuilder {
    Gateway::builder().websocket(true).grpc(true)
}

/// Posts over HTTP, over WebSocket and over gRPC, each on a connection of its own.
async fn post_everywhere(gateway: &Gateway, trust: &Trust) {
    let http1 = trust.clone().offering(&["http/1.1"]);
    let mut client = Client::over(http1.connect(gateway.http_address()).await.unwrap());
    assert_eq!(client.post("/post", &request("h", "/upper")).await.unwrap().status, 200);

    let stream = http1.connect(gateway.websocket_address()).await.unwrap();
    let mut socket = Socket { stream, ahead: Vec::new() };
    let answer = socket.upgrade("/", Some("bytes")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    socket.send(&websocket::request("w", "/upper")).await;
    assert_eq!(socket.frame().await.unwrap().id(), "w");

    let http2 = trust.clone().offering(&["h2"]);
    let mut channel = Channel::over(http2.connect(gateway.grpc_address()).await.unwrap()).await;
    let message = websocket::request("g", "/upper").encode_to_vec();
    let answer = channel.unary(SINGLE, &message).await.unwrap();
    assert_eq!(v1::DataRequest::decode(answer).unwrap().header.unwrap().request_id, "g");
}

#[tokio::test]
async fn every_protocol_is_spoken_behind_tls_on_its_own_port_and_on_one() {
    for builder in [all(), all().one_port(true)] {
        let tls = Tls::self_signed();
        let gateway = builder.tls(tls.clone()).start().await.unwrap();
        assert_eq!(gateway.http_url(), format!("https://{}", gateway.http_address()));
        assert_eq!(gateway.websocket_url(), format!("wss://{}", gateway.websocket_address()));
        assert_eq!(gateway.grpc_url(), format!("grpcs://{}", gateway.grpc_address()));
        post_everywhere(&gateway, &Trust::new(&tls)).await;
        let journal = gateway.journal();
        assert_eq!(journal.len(), 3);
        assert_eq!((journal.websocket_connections(), journal.grpc_connections()), (1, 1));
        let agreed: Vec<_> =
            journal.handshakes().into_iter().map(|shake| shake.agreed.unwrap()).collect();
        assert_eq!(agreed, ["http/1.1", "http/1.1", "h2"]);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn names_and_versions_are_agreed_on_and_noted() {
    let tls = Tls::self_signed();
    let gateway = Gateway::builder().tls(tls.clone()).start().await.unwrap();
    let address = gateway.http_address();
    for (versions, version) in [(&TLS12, TlsVersion::V1_2), (&TLS13, TlsVersion::V1_3)] {
        let trust = Trust::with(&tls, &[versions], None);
        for name in ["localhost", "127.0.0.1", "::1"] {
            let trust = trust.clone().named(name).offering(&["x", "http/1.1"]);
            let mut client = Client::over(trust.connect(address).await.unwrap());
            client.get("/").await.unwrap();
            let shake = gateway.journal().handshakes().pop().unwrap();
            let sent = (name == "localhost").then(|| name.to_owned());
            assert_eq!((shake.server_name, shake.version), (sent, Some(version)));
            assert_eq!((shake.offered, shake.error), (vec!["x".into(), "http/1.1".into()], None));
        }
    }
    assert_eq!(gateway.journal().full_handshakes(), 6);
}

#[tokio::test]
async fn a_second_connection_resumes_the_session_of_the_first() {
    for version in [&TLS12, &TLS13] {
        let tls = Tls::self_signed();
        let gateway = Gateway::builder().journal(false).tls(tls.clone()).start().await.unwrap();
        let trust = Trust::with(&tls, &[version], None);
        for resumed in 0..3 {
            let stream = trust.connect(gateway.http_address()).await.unwrap();
            // With TLS 1.3 the ticket for the next session comes before the answer.
            assert_eq!(Client::over(stream).get("/").await.unwrap().status, 200);
            let journal = gateway.journal();
            assert_eq!((journal.full_handshakes(), journal.resumed_handshakes()), (1, resumed));
            assert!(journal.handshakes().is_empty());
        }
    }
}

#[tokio::test]
async fn versions_have_a_minimum_and_a_maximum() {
    for (tls, refused) in [
        (Tls::self_signed().minimum_version(TlsVersion::V1_3), &TLS12),
        (Tls::self_signed().maximum_version(TlsVersion::V1_2), &TLS13),
    ] {
        let gateway = Gateway::builder().tls(tls.clone()).start().await.unwrap();
        let trust = Trust::with(&tls, &[refused], None);
        let error = trust.connect(gateway.http_address()).await.unwrap_err().to_string();
        assert!(error.contains("ProtocolVersion"), "{error}");
        gateway.journal().wait_for_handshakes(1).await;
        assert_eq!(gateway.journal().failed_handshakes(), 1);
    }
    let none = Tls::self_signed().minimum_version(TlsVersion::V1_3);
    let none = none.maximum_version(TlsVersion::V1_2);
    let error = Gateway::builder().tls(none).start().await.unwrap_err().to_string();
    assert_eq!(error, "the minimum version of TLS is newer than the maximum version");
}

#[tokio::test]
async fn a_client_certificate_may_be_required() {
    let tls = Tls::self_signed();
    let required = tls.clone().require_client_certificate(tls.ca_pem()).unwrap();
    let gateway = Gateway::builder().tls(required).start().await.unwrap();
    let address = gateway.http_address();
    let foreign = Tls::self_signed().client_identity("mallory");
    for version in [&TLS12, &TLS13] {
        for identity in [None, Some(&foreign)] {
            let trust = Trust::with(&tls, &[version], identity);
            // With TLS 1.3 the refusal comes after the client's side of the handshake.
            match trust.connect(address).await {
                Ok(stream) => Client::over(stream).get("/").await.map(drop).unwrap_err(),
                Err(error) => error,
            };
        }
        let alice = tls.client_identity("alice");
        let trust = Trust::with(&tls, &[version], Some(&alice));
        for is_resumed in [false, true] {
            let mut client = Client::over(trust.connect(address).await.unwrap());
            assert_eq!(client.get("/").await.unwrap().status, 200);
            let shake = gateway.journal().handshakes().pop().unwrap();
            assert_eq!(
                (shake.client_name.as_deref(), shake.is_resumed),
                (Some("alice"), is_resumed)
            );
            assert!(shake.client_certificate.is_some());
        }
    }
    let errors: Vec<_> =
        gateway.journal().handshakes().into_iter().filter_map(|shake| shake.error).collect();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors[0].contains("no certificates"), "{errors:?}");
    assert!(errors[1].contains("UnknownIssuer"), "{errors:?}");
}

#[tokio::test]
async fn a_handshake_that_does_not_begin_holds_up_no_other() {
    let tls = Tls::self_signed();
    let gateway = Gateway::builder().tls(tls.clone()).start().await.unwrap();
    let silent = TcpStream::connect(gateway.http_address()).await.unwrap();
    let trust = Trust::new(&tls);
    let mut client = Client::over(trust.connect(gateway.http_address()).await.unwrap());
    assert_eq!(client.post("/post", &request("r", "/")).await.unwrap().status, 200);
    // Neither does it hold up the stop.
    gateway.stop().await;
    drop(silent);
}

#[tokio::test]
async fn plain_text_on_a_tls_port_is_a_failed_handshake() {
    let gateway = Gateway::builder().tls(Tls::self_signed()).start().await.unwrap();
    let mut client = Client::connect(&gateway).await;
    client.get("/").await.map(drop).unwrap_err();
    let [shake] = gateway.journal().handshakes().try_into().unwrap();
    assert!(shake.error.unwrap().contains("corrupt message"));
    assert!(gateway.journal().gets().is_empty());
}

#[tokio::test]
async fn faults_strike_requests_inside_tls_as_without_it() {
    // By default the end of a connection is not announced, which rustls names.
    for (announces, end) in
        [(true, "unexpected end of file"), (false, "without sending TLS close_notify")]
    {
        let tls = Tls::self_signed().close_notify(announces);
        let mut builder = all().tls(tls.clone());
        for fault in ["reset-after@1", "reset-mid@2", "hang-up@3", "drop@4", "goaway@5"] {
            builder = builder.fault(fault.parse().unwrap());
        }
        let gateway = builder.start().await.unwrap();
        let trust = Trust::new(&tls);
        let client = async || Client::over(trust.connect(gateway.http_address()).await.unwrap());
        let body = request("r", "/");
        for _ in 0..2 {
            let error = client().await.post("/post", &body).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        let is_end = |error: std::io::Error| assert!(error.to_string().contains(end), "{error}");
        let mut hung_up = client().await;
        assert_eq!(hung_up.post("/post", &body).await.unwrap().status, 200);
        is_end(hung_up.read_more().await.unwrap_err());

        let stream = trust.connect(gateway.websocket_address()).await.unwrap();
        let mut socket = Socket { stream, ahead: Vec::new() };
        socket.upgrade("/", Some("bytes")).await.unwrap();
        socket.send(&websocket::request("w", "/")).await;
        is_end(socket.read_more().await.unwrap_err());

        let http2 = trust.clone().offering(&["h2"]);
        let mut channel = Channel::over(http2.connect(gateway.grpc_address()).await.unwrap()).await;
        let message = websocket::request("g", "/").encode_to_vec();
        channel.unary(SINGLE, &message).await.unwrap();
        let ended = channel.connection.await.unwrap();
        assert!(ended.is_ok() || !announces, "{ended:?}");
    }
}

#[tokio::test]
async fn a_shorter_path_is_named_with_https() {
    let tls = Tls::self_signed();
    let gateway = Gateway::builder().tls(tls.clone()).start().await.unwrap();
    let trust = Trust::new(&tls);
    let mut client = Client::over(trust.connect(gateway.http_address()).await.unwrap());
    let answer = client.get("/status/").await.unwrap();
    assert_eq!((answer.status, &*answer.headers["location"]), (307, "https://gateway/status"));
}

/// The error of a handshake on each protocol's port, struck by this fault, and the server's error.
async fn struck(
    fault: &str,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Vec<String> {
    let tls = Tls::self_signed();
    let fault = format!("{fault}@1-3,on=handshake").parse().unwrap();
    let gateway = all().tls(tls.clone()).fault(fault).start().await.unwrap();
    let trust = Trust::with(&tls, versions, None);
    let mut errors = Vec::new();
    for (address, alpn) in [
        (gateway.http_address(), "http/1.1"),
        (gateway.websocket_address(), "http/1.1"),
        (gateway.grpc_address(), "h2"),
    ] {
        let trust = trust.clone().offering(&[alpn]);
        errors.push(trust.connect(address).await.map(drop).unwrap_err().to_string());
    }
    gateway.journal().wait_for_handshakes(3).await;
    // A fault that does not strike leaves no trace.
    post_everywhere(&gateway, &trust).await;
    let journal = gateway.journal();
    assert_eq!((journal.failed_handshakes(), journal.len()), (3, 3), "{errors:?}");
    let shakes = journal.handshakes();
    assert!(shakes[..3].iter().all(|shake| shake.fault.is_some() && shake.error.is_some()));
    assert!(shakes[3..].iter().all(|shake| shake.fault.is_none() && shake.error.is_none()));
    errors
}

#[tokio::test]
async fn each_fault_of_a_handshake_is_what_its_name_says() {
    let both = &[&TLS12, &TLS13][..];
    for (fault, versions, told) in [
        ("reset-after", both, "Connection reset"),
        ("drop", both, "eof"),
        ("expired", both, "certificate expired"),
        ("not-yet-valid", both, "not valid yet"),
        ("wrong-name", both, "elsewhere.test"),
        ("unknown-issuer", both, "UnknownIssuer"),
        ("self-signed", both, "UnknownIssuer"),
        ("wrong-usage", both, "certificate does not allow extended key usage"),
        ("alpn:other", both, "NoApplicationProtocol"),
        ("only-tls:1.1", both, "ServerDoesNotSupportTls12Or13"),
        ("only-tls:1.2", &[&TLS13], "ProtocolVersion"),
        ("only-tls:1.3", &[&TLS12], "ProtocolVersion"),
        ("plain", both, "corrupt message"),
    ] {
        for error in struck(fault, versions).await {
            assert!(error.contains(told), "{fault}: {error}");
        }
    }
}

#[tokio::test]
async fn a_gateway_without_alpn_agrees_on_no_protocol() {
    let tls = Tls::self_signed();
    let fault = "alpn@1,on=handshake".parse().unwrap();
    let gateway = all().http(false).tls(tls.clone()).fault(fault).start().await.unwrap();
    let trust = Trust::new(&tls).offering(&["h2"]);
    for agreed in [None, Some(&b"h2"[..])] {
        let stream = trust.connect(gateway.grpc_address()).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed);
        // gRPC is spoken all the same.
        Channel::over(stream).await.unary(DRY_RUN, b"").await.unwrap();
    }
}

#[tokio::test]
async fn a_stalled_handshake_lasts_until_the_client_leaves_or_the_gateway_stops() {
    let tls = Tls::self_signed();
    let fault = "stall@1-2,on=handshake".parse().unwrap();
    let gateway = all().tls(tls.clone()).fault(fault).start().await.unwrap();
    let trust = Trust::new(&tls);
    let connect = || {
        let (trust, address) = (trust.clone(), gateway.http_address());
        tokio::spawn(async move { trust.connect(address).await.map(drop) })
    };
    let connected = async |number| {
        while gateway.journal().connections() < number {
            tokio::task::yield_now().await;
        }
    };
    let first = connect();
    connected(1).await;
    let second = connect();
    connected(2).await;
    post_everywhere(&gateway, &trust).await;
    assert!(!first.is_finished() && !second.is_finished());
    assert_eq!(gateway.journal().failed_handshakes(), 0);
    first.abort();
    gateway.journal().wait_for_handshakes(4).await;
    assert_eq!(gateway.journal().failed_handshakes(), 1);
    gateway.stop().await;
    second.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_fault_that_cannot_strike_is_an_error_at_the_start() {
    let identity = Tls::self_signed().client_identity("no CA");
    let foreign = Tls::from_pem(identity.certificate, identity.key).unwrap();
    let plain = Gateway::builder();
    for (builder, fault, told) in [
        (plain.clone(), "stall@1,on=handshake", "needs a gateway that speaks TLS"),
        (plain.clone().tls(foreign.clone()), "expired@1,on=handshake", "`Tls::self_signed()`"),
    ] {
        let error = builder.fault(fault.parse().unwrap()).start().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(&format!("fault `{fault}` ")), "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    for fault in ["unknown-issuer@1,on=handshake", "stall@1,on=handshake"] {
        let builder = plain.clone().tls(foreign.clone()).fault(fault.parse().unwrap());
        builder.start().await.unwrap();
    }
}

#[test]
fn bad_certificates_and_keys_are_named_in_one_line() {
    let (one, other) = (Tls::self_signed().client_identity("a"), Tls::self_signed());
    let other = other.client_identity("b");
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----";
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    let cut = &one.certificate[..one.certificate.len() - 30];
    for (certificate, key, told) in [
        (&*one.key, &*one.key, "the certificate: it holds a private key and no certificate"),
        ("", &one.key, "the certificate: it holds no certificate in PEM"),
        (cut, &one.key, "the certificate: it is not well-formed PEM"),
        (rubbish, &one.key, "the certificate: it cannot be read"),
        (&one.certificate, &one.certificate, "the key: it holds a certificate and no private key"),
        (&one.certificate, "", "the key: it holds no private key in PEM"),
        (&one.certificate, encrypted, "the key: the private key is encrypted"),
        (&one.certificate, &other.key, "the key: the private key is not the certificate's"),
    ] {
        let error = Tls::from_pem(certificate, key).map(drop).unwrap_err().to_string();
        assert!(error.starts_with(told) && !error.contains('\n'), "{error}: {told}");
    }
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["c.pem", "k.pem"].map(|name| directory.path().join(name));
    std::fs::write(&certificate, &one.certificate).unwrap();
    let error = Tls::from_files(&certificate, &key).unwrap_err();
    assert!(error.is_about_key() && error.to_string().contains("k.pem: No such file"), "{error}");
    std::fs::write(&key, &one.key).unwrap();
    Tls::from_files(&certificate, &key).map(drop).unwrap();
    let error = Tls::self_signed().require_client_certificate(one.key).unwrap_err();
    assert!(error.to_string().contains("private key and no certificate"), "{error}");
}

#[test]
fn no_key_is_shown() {
    let tls = Tls::self_signed();
    let identity = tls.client_identity("a");
    let shown = format!("{tls:?} {identity:?} {:?}", Gateway::builder().tls(tls.clone()));
    assert!(!shown.contains("PRIVATE"), "{shown}");
    assert!(!shown.contains(identity.key.lines().nth(1).unwrap()), "{shown}");
}

/// The gateway runs beside the program, which blocks the test's thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn openssl_and_curl_agree_that_this_is_tls() {
    let tls = Tls::self_signed();
    let required = tls.clone().require_client_certificate(tls.ca_pem()).unwrap();
    let gateway = all().tls(required).start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let [ca, certificate, key] =
        ["ca.pem", "c.pem", "k.pem"].map(|name| directory.path().join(name).display().to_string());
    let alice = tls.client_identity("alice");
    std::fs::write(&ca, tls.ca_pem()).unwrap();
    std::fs::write(&certificate, &alice.certificate).unwrap();
    std::fs::write(&key, &alice.key).unwrap();

    for name in ["localhost", "127.0.0.1"] {
        let url = format!("https://{name}:{}/status", gateway.http_address().port());
        let asked = ["-sS", "--noproxy", "*", "--cacert", &ca, &url];
        let Some((is_well, told)) = run_or_skip("curl", &asked) else { break };
        assert!(!is_well && told.contains("certificate"), "{told}");
        let asked = [&asked[..], &["--cert", &certificate, "--key", &key]].concat();
        let (is_well, told) = run_or_skip("curl", &asked).unwrap();
        assert!(is_well && told.contains("jina"), "{told}");
        let (is_well, told) = run_or_skip("curl", &["-sS", "--noproxy", "*", &url]).unwrap();
        assert!(!is_well && told.contains("certificate"), "{told}");
    }
    for (address, offered, agreed) in [
        (gateway.grpc_address(), "h2", "ALPN protocol: h2"),
        (gateway.websocket_address(), "h2,http/1.1", "ALPN protocol: http/1.1"),
        (gateway.grpc_address(), "http/1.1", "no application protocol"),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let address = address.to_string();
            let asked = [
                "s_client",
                "-connect",
                &address,
                "-CAfile",
                &ca,
                "-verify_return_error",
                "-verify_ip",
                "127.0.0.1",
                "-cert",
                &certificate,
                "-key",
                &key,
                "-alpn",
                offered,
                version,
            ];
            let Some((_, told)) = run_or_skip("openssl", &asked) else { return };
            assert!(told.contains(agreed), "{told}");
            let is_verified = told.contains("Verify return code: 0 (ok)");
            assert!(is_verified || offered == "http/1.1", "{told}");
        }
    }
    assert_eq!(gateway.journal().refused(), 0);
    let mut channel = Channel::over(
        Trust::with(&tls, &[&TLS13], Some(&alice)).connect(gateway.grpc_address()).await.unwrap(),
    )
    .await;
    channel.unary(DRY_RUN, b"").await.unwrap();
}
