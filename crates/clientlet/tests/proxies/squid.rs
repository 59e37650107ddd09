//! squid, which wants credentials.

use clientlet::{ErrorKind, Hint};
use clientlet_interop::Squid;
use futures_util::future::join_all;

use crate::{Gateways, WAYS, Way, blocking, check_the_proxys, closed, events, is_passed_on, post};

async fn start() -> Option<Squid> {
    blocking(|| Squid::start_or_skip().unwrap_or_else(|error| panic!("{error}"))).await
}

/// Checks what squid's log says of a way to a gateway: all that was sent, the questions before the first
/// request included. Returns the number of lines.
fn check(accesses: &[String], way: Way, authority: &str, status: u16, user: &str) -> usize {
    let own = accesses.iter().filter(|line| line.contains(authority));
    own.map(|line| match is_passed_on(way) {
        true => {
            let (method, rest) = line.split_once(' ').unwrap();
            assert!(matches!(method, "GET" | "POST"), "{line}");
            assert!(rest.starts_with(&format!("http://{authority}/")), "{line}");
            assert!(line.ends_with(&format!(" {status} {user}")), "{line}");
        }
        false => assert_eq!(*line, format!("CONNECT {authority} {status} {user}")),
    })
    .count()
}

fn posts(accesses: &[String]) -> usize {
    accesses.iter().filter(|line| line.starts_with("POST ")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_travel_through_squid_which_counts_them_and_keeps_its_credentials() {
    events::watch();
    let gateways = Gateways::start().await;
    for way in WAYS {
        let Some(squid) = start().await else { return };
        let (user, password) = (Squid::USER, Squid::PASSWORD);
        let proxy = format!("http://{user}:{password}@127.0.0.1:{}", squid.port());
        let client = gateways.client(way, &proxy).build().unwrap();
        let before = gateways.of(way).journal().len();
        for _ in 0..2 {
            assert_eq!(post(&client).await.unwrap(), "A", "{way:?}: {}", squid.log());
        }
        // squid logs a tunnel when it has ended.
        let opened = usize::try_from(client.connections().opened).unwrap();
        drop(client);
        let are_enough = move |lines: &[String]| match is_passed_on(way) {
            true => posts(lines) == 2,
            false => lines.len() >= opened,
        };
        let accesses = blocking(move || squid.accesses(are_enough).unwrap()).await;
        assert!(are_enough(&accesses), "{way:?}: {accesses:?}");
        let lines = check(&accesses, way, &gateways.authority(way), 200, user);
        assert_eq!(lines, accesses.len(), "{way:?}: {accesses:?}");
        let arrived = gateways.of(way).journal().entries();
        assert_eq!(arrived.len(), before + 2, "{way:?}");
        for entry in arrived {
            assert_eq!(entry.header("proxy-authorization"), None, "{way:?}");
        }
    }
}

/// How a request fails at squid.
struct Case {
    userinfo: &'static str,
    /// The host and port of the gateway, or a port of 127.0.0.1 that is closed.
    host: Option<&'static str>,
    /// The answers to a request that is to be passed on, and to a request for a connection.
    status: (u16, u16),
    is_passing: bool,
    hint: Hint,
    /// The user that squid logs.
    user: &'static str,
}

const KNOWN: &str = "user:proxy-secret@";

const CASES: [Case; 5] = [
    Case {
        userinfo: "user:wrong@",
        host: None,
        status: (407, 407),
        is_passing: false,
        hint: Hint::ProxyCredentials,
        user: "user",
    },
    Case {
        userinfo: "",
        host: None,
        status: (407, 407),
        is_passing: false,
        hint: Hint::ProxyCredentials,
        user: "-",
    },
    Case {
        userinfo: KNOWN,
        host: Some("forbidden.example:8080"),
        status: (403, 403),
        is_passing: false,
        hint: Hint::Proxy,
        user: "-",
    },
    Case {
        userinfo: KNOWN,
        host: None,
        status: (503, 503),
        is_passing: true,
        hint: Hint::Proxy,
        user: "user",
    },
    Case {
        userinfo: KNOWN,
        host: Some("no-such-name.invalid:8080"),
        status: (502, 500),
        is_passing: true,
        hint: Hint::Proxy,
        user: "user",
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_squid_refuses_or_cannot_reach_is_reported_as_squids() {
    events::watch();
    let gateways = Gateways::start().await;
    for case in CASES {
        let Some(squid) = start().await else { return };
        let address = format!("127.0.0.1:{}", squid.port());
        let proxy = format!("http://{}{address}", case.userinfo);
        let shown = format!("http://{address}");
        let attempts = WAYS.into_iter().zip(0..).map(async |(way, number)| {
            let authority = match case.host {
                Some(host) => format!("way-{number}.{host}"),
                None => closed(number),
            };
            let what = format!("{way:?} to {authority} by {:?}", case.userinfo);
            let client = gateways.client_of(&authority, way, &proxy).build().unwrap();
            let error = post(&client).await.unwrap_err();
            let status = if is_passed_on(way) { case.status.0 } else { case.status.1 };
            let told = format!("answered {status}");
            if is_passed_on(way) && status == 502 {
                // squid says only that it has read no answer, which can have any reason.
                assert_eq!(error.kind(), ErrorKind::Gateway, "{what}: {error}");
                let told = format!("the proxy {shown} {told}");
                assert!(error.message().contains(&told), "{what}: {error}");
            } else {
                check_the_proxys(&error, &shown, &told, case.is_passing, &what);
                assert_eq!(error.hint(), Some(case.hint), "{what}: {error}");
                let is_refused = error.message().contains("; it does not accept the credentials");
                assert_eq!(is_refused, case.userinfo == "user:wrong@", "{what}: {error}");
            }
            assert!(error.message().contains(&authority), "{what}: {error}");
            assert!(!format!("{error:?}").contains(Squid::PASSWORD), "{what}: {error:?}");
            (way, authority, status)
        });
        // squid takes seconds to find no name.
        let authorities = join_all(attempts).await;
        let awaited = authorities.clone();
        let are_enough = move |lines: &[String]| {
            let is_logged = |authority: &str| lines.iter().any(|line| line.contains(authority));
            awaited.iter().all(|(_, authority, _)| is_logged(authority))
        };
        let accesses = blocking(move || squid.accesses(are_enough).unwrap()).await;
        for (way, authority, status) in authorities {
            let lines = check(&accesses, way, &authority, status, case.user);
            assert!(lines >= 1, "{way:?} to {authority}: {accesses:?}");
        }
    }
    assert!(gateways.plain.journal().is_empty() && gateways.secure.journal().is_empty());
}
