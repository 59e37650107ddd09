//! microsocks.

use clientlet::Hint;
use clientlet_interop::Socks;

use crate::{Gateways, WAYS, blocking, check_the_proxys, closed, events, post};

type Credentials = Option<(&'static str, &'static str)>;
const KNOWN: Credentials = Some(("user", "proxy-secret"));

async fn start(credentials: Credentials) -> Option<Socks> {
    blocking(move || Socks::start_or_skip(credentials).unwrap_or_else(|error| panic!("{error}")))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_travel_through_socks_with_and_without_credentials() {
    events::watch();
    let gateways = Gateways::start().await;
    let table = [(None, ""), (KNOWN, "user:proxy-secret@"), (None, "not-asked:for@")];
    for (credentials, userinfo) in table {
        for scheme in ["socks5", "socks5h"] {
            let Some(socks) = start(credentials).await else { return };
            let proxy = format!("{scheme}://{userinfo}127.0.0.1:{}", socks.port());
            for way in WAYS {
                let client = gateways.client(way, &proxy).build().unwrap();
                for _ in 0..2 {
                    assert_eq!(post(&client).await.unwrap(), "A", "{way:?}");
                }
            }
            let connected = socks.connected();
            let own = |way| connected.iter().filter(|to| **to == gateways.authority(way)).count();
            assert!(WAYS.into_iter().all(|way| own(way) >= 1), "{connected:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_socks_refuses_or_cannot_reach_is_reported_as_the_proxys() {
    events::watch();
    let gateways = Gateways::start().await;
    for (credentials, userinfo, host, told, is_passing, hint) in [
        (KNOWN, "user:wrong@", None, "does not accept", false, Hint::ProxyCredentials),
        (KNOWN, "", None, "wants credentials", false, Hint::ProxyCredentials),
        (None, "", None, "the connection was refused (SOCKS reply 5)", true, Hint::Proxy),
        (None, "", Some("no-such-name.invalid:80"), "made no connection to", true, Hint::Proxy),
    ] {
        let Some(socks) = start(credentials).await else { return };
        let address = format!("127.0.0.1:{}", socks.port());
        let proxy = format!("socks5h://{userinfo}{address}");
        for (way, number) in WAYS.into_iter().zip(0..) {
            let authority = match host {
                Some(host) => str::to_owned(host),
                None => closed(number),
            };
            let what = format!("{way:?} to {authority} by {userinfo:?}");
            let client = gateways.client_of(&authority, way, &proxy).build().unwrap();
            let error = post(&client).await.unwrap_err();
            check_the_proxys(&error, &format!("socks5h://{address}"), told, is_passing, &what);
            assert_eq!(error.hint(), Some(hint), "{what}: {error}");
            assert!(!format!("{error:?}").contains("proxy-secret"), "{what}: {error:?}");
        }
        assert!(socks.connected().is_empty(), "{:?}", socks.connected());
    }
    assert!(gateways.plain.journal().is_empty() && gateways.secure.journal().is_empty());
}
