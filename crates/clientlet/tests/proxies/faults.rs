//! Proxies that fail, and proxies over TLS.

use std::time::Duration;

use clientlet::{Client, Delivery, ErrorKind, Hint, Pem, Tls};

use crate::own::{Kind, Mood, Proxy};
use crate::{Gateways, WAYS, Way, check_the_proxys, events, is_passed_on, post};

/// Trusts the gateway over TLS, and the proxy.
fn trusting(gateways: &Gateways, proxy: &Proxy) -> Tls {
    let tls = Tls::new().without_system_roots(true);
    tls.ca(Pem::text(gateways.tls.ca_pem())).ca(Pem::text(proxy.certificate.ca_pem()))
}

fn client(gateways: &Gateways, way: Way, proxy: &Proxy) -> Client {
    let builder = gateways.client(way, &proxy.url("")).tls(trusting(gateways, proxy));
    builder.connect_timeout(Duration::from_secs(60)).build().unwrap()
}

#[tokio::test]
async fn documents_travel_through_a_proxy_over_tls_inside_of_which_is_tls_again() {
    let gateways = Gateways::start().await;
    for way in WAYS {
        let proxy = Proxy::start(Kind::Https, Mood::Works).await;
        assert_eq!(post(&client(&gateways, way, &proxy)).await.unwrap(), "A", "{way:?}");
        let words = proxy.heard().words;
        let authority = gateways.authority(way);
        let connect = format!("CONNECT {authority} HTTP/1.1\r\n");
        let post = format!("POST http://{authority}/post HTTP/1.1\r\n");
        let begin =
            |first: &str| words.iter().filter(|said| said.starts_with(first.as_bytes())).count();
        match is_passed_on(way) {
            true => assert_eq!((begin(&post), begin("CONNECT")), (1, 0), "{way:?}"),
            false => assert!(begin(&connect) >= 1 && begin(&connect) == words.len(), "{way:?}"),
        }
    }
}

#[tokio::test]
async fn a_proxy_whose_certificate_is_not_trusted_is_named() {
    events::watch();
    let gateways = Gateways::start().await;
    for way in WAYS {
        let proxy = Proxy::start(Kind::Https, Mood::Works).await;
        let error = post(&gateways.client(way, &proxy.url("")).build().unwrap()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Tls, Delivery::NotSent),
            "{error}"
        );
        assert_eq!(error.hint(), Some(Hint::Proxy), "{error}");
        let told = format!("the proxy {}: ", proxy.url(""));
        assert!(error.message().contains(&told), "{way:?}: {error}");
        let told = "is issued by \"CN=Clientlet interop CA\", which is not trusted";
        assert!(error.message().contains(told), "{way:?}: {error}");
        assert!(proxy.heard().words.is_empty(), "{way:?}");
    }
}

/// A gateway of gRPC sends its settings unasked. They come in one segment with the proxy's last answer.
#[tokio::test]
async fn what_the_gateway_says_together_with_the_answer_of_socks_is_not_lost() {
    let gateways = Gateways::start().await;
    for way in WAYS {
        let mood = if way.0 == "grpc" { Mood::Coalesces } else { Mood::Works };
        let proxy = Proxy::start(Kind::Socks, mood).await;
        assert_eq!(post(&client(&gateways, way, &proxy)).await.unwrap(), "A", "{way:?}");
    }
}

/// What the message says, and whether another attempt may succeed.
fn told(kind: Kind, mood: Mood) -> (&'static str, bool) {
    match (kind, mood) {
        (Kind::Https, Mood::ClosesAtOnce) => ("was lost in the TLS handshake", true),
        (_, Mood::ClosesAtOnce | Mood::ClosesAfterTheRequest) => {
            ("was lost before it had answered", true)
        }
        (Kind::Socks, _) => ("does not speak SOCKS version 5", false),
        (_, Mood::AnswersGarbage | Mood::EndlessHead) => {
            ("does not answer as an HTTP proxy does; is the scheme of its URL right?", false)
        }
        (_, Mood::NeverAnswers | Mood::Works | Mood::Coalesces | Mood::AnswersItself) => {
            unreachable!("no such case")
        }
    }
}

const FAULTS: [Mood; 4] =
    [Mood::ClosesAtOnce, Mood::ClosesAfterTheRequest, Mood::AnswersGarbage, Mood::EndlessHead];

#[tokio::test]
async fn a_proxy_that_fails_before_there_is_a_connection_is_named() {
    events::watch();
    let gateways = Gateways::start().await;
    for kind in Kind::ALL {
        for mood in FAULTS {
            let proxy = Proxy::start(kind, mood).await;
            for way in WAYS {
                if is_passed_on(way) && kind != Kind::Socks {
                    continue;
                }
                let what = format!("{way:?} through {kind:?}, which {mood:?}");
                let error = post(&client(&gateways, way, &proxy)).await.unwrap_err();
                let (told, is_passing) = told(kind, mood);
                check_the_proxys(&error, &proxy.url(""), told, is_passing, &what);
            }
        }
    }
    assert!(gateways.plain.journal().is_empty() && gateways.secure.journal().is_empty());
}

/// A portal that wants a login answers to everything with 200 and a page of its own.
#[tokio::test]
async fn a_handshake_that_fails_behind_a_proxy_names_the_proxy() {
    events::watch();
    let gateways = Gateways::start().await;
    for kind in Kind::ALL {
        let proxy = Proxy::start(kind, Mood::AnswersItself).await;
        for way in WAYS.into_iter().filter(|way| way.0.ends_with('s') && way.0 != "ws") {
            let error = post(&client(&gateways, way, &proxy)).await.unwrap_err();
            let told = format!("through the proxy {}: TLS is not spoken there", proxy.url(""));
            assert!(error.message().contains(&told), "{way:?} through {kind:?}: {error}");
            assert_eq!(error.delivery(), Delivery::NotSent, "{way:?} through {kind:?}: {error}");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_never_answers_is_named_by_the_connect_time_out() {
    let gateways = Gateways::start().await;
    for kind in Kind::ALL {
        let proxy = Proxy::start(kind, Mood::NeverAnswers).await;
        for way in WAYS {
            if is_passed_on(way) && kind != Kind::Socks {
                continue;
            }
            let what = format!("{way:?} through {kind:?}");
            let builder = gateways.client(way, &proxy.url("")).tls(trusting(&gateways, &proxy));
            let client = builder.connect_timeout(Duration::from_millis(300)).build().unwrap();
            let error = post(&client).await.unwrap_err();
            check_the_proxys(&error, &proxy.url(""), "connect time-out", true, &what);
        }
    }
}

#[tokio::test]
async fn a_proxy_that_fails_with_a_request_to_pass_on_is_named() {
    events::watch();
    let gateways = Gateways::start().await;
    for kind in [Kind::Http, Kind::Https] {
        for (mood, expected, told) in [
            (Mood::ClosesAfterTheRequest, ErrorKind::Transport, "the connection was lost"),
            (Mood::AnswersGarbage, ErrorKind::Decode, "the answer is not HTTP/1.1"),
            (Mood::EndlessHead, ErrorKind::TooLarge, "the answer has more than 100 headers"),
        ] {
            let proxy = Proxy::start(kind, mood).await;
            let error = post(&client(&gateways, ("http", false), &proxy)).await.unwrap_err();
            assert_eq!(error.kind(), expected, "{kind:?} {mood:?}: {error}");
            assert_eq!(error.hint(), Some(Hint::Proxy), "{kind:?} {mood:?}: {error}");
            let told = format!("the proxy {}: {told}", proxy.url(""));
            assert!(error.message().contains(&told), "{kind:?} {mood:?}: {error}");
        }
    }
    assert!(gateways.plain.journal().is_empty());
}
