//! The credentials of a proxy stay with it, and those of a gateway pass it only in requests that it is
//! given to pass on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clientlet::{Pem, Tls};

use crate::own::{Kind, Mood, Proxy};
use crate::{Gateways, WAYS, is_passed_on, post};

const OWN: &str = "proxy-secret";
const GATEWAYS: &str = "gateway-secret";

/// Whether bytes contain a text.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn no_credential_of_the_proxy_reaches_the_gateway_and_none_of_the_gateway_the_proxy() {
    let gateways = Gateways::start().await;
    let coded = STANDARD.encode(format!("user:{OWN}"));
    for kind in Kind::ALL {
        for way in WAYS {
            let what = format!("{way:?} through {kind:?}");
            // The gateway over TLS would accept this certificate; the proxy only asks for one.
            let identity = gateways.tls.client_identity("job-7");
            let clients = Some(gateways.tls.ca_pem());
            let proxy = Proxy::asking(kind, Mood::Works, clients).await;
            let tls = Tls::new()
                .without_system_roots(true)
                .ca(Pem::text(gateways.tls.ca_pem()))
                .ca(Pem::text(proxy.certificate.ca_pem()))
                .client_certificate(Pem::text(identity.certificate), Pem::text(identity.key));
            let url = proxy.url(&format!("user:{OWN}@"));
            let builder = gateways.client(way, &url).tls(tls);
            let builder = builder.bearer_token(GATEWAYS).header("x-key", GATEWAYS);
            assert_eq!(post(&builder.build().unwrap()).await.unwrap(), "A", "{what}");

            let heard = proxy.heard();
            assert!(!heard.words.is_empty(), "{what}");
            let said: Vec<u8> = heard.words.concat();
            let own = if kind == Kind::Socks { OWN } else { &coded };
            assert!(holds(&said, own), "{what}: the proxy got its credentials");
            let is_passed_on = is_passed_on(way) && kind != Kind::Socks;
            assert_eq!(holds(&said, GATEWAYS), is_passed_on, "{what}");
            assert_eq!(heard.certificates, 0, "{what}: the certificate is for the gateway");

            let entries = gateways.of(way).journal().entries();
            for (name, value) in &entries.last().unwrap().headers {
                assert_ne!(name.as_str(), "proxy-authorization", "{what}");
                let value = value.as_bytes();
                assert!(!holds(value, OWN) && !holds(value, &coded), "{what}: {name}");
            }
            assert_eq!(entries.last().unwrap().header("x-key"), Some(GATEWAYS), "{what}");
        }
    }
}
