//! A client for production: TLS with a private CA, the proxy of the environment, a token that expires, and
//! time-outs: `cargo run -p clientlet --example real_network -- https://flow.example ca.pem`.
//!
//! Without arguments it starts the embedded gateway behind TLS, which refuses every token but the newest.

#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clientlet::{Client, Document, NextAttempt, Pem, RetryPolicy, Tls};
use clientlet_gateway::Gateway;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The tokens of an issuer. A real one asks the issuer over the network.
#[derive(Debug, Default)]
struct Tokens {
    /// The number of tokens so far.
    issued: Mutex<u32>,
}

impl Tokens {
    /// The token of now, or a new one if the gateway has just refused it.
    async fn token(&self, was_refused: bool) -> Result<String, std::io::Error> {
        let mut issued =
            self.issued.lock().map_err(|_| std::io::Error::other("a task panicked"))?;
        *issued += u32::from(was_refused);
        Ok(format!("token-{issued}"))
    }
}

/// The client, made once and shared by all tasks: its clones have the same connections and cookies.
fn client(url: &str, ca: Pem) -> Result<Client, clientlet::Error> {
    let tokens = Arc::new(Tokens::default());
    let before_attempt = move |next: NextAttempt| {
        let tokens = Arc::clone(&tokens);
        async move {
            let value = format!("Bearer {}", tokens.token(next.was_refused).await?).parse()?;
            Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
        }
    };
    Client::builder(url)
        // Trusted beside the system's roots. For a server that asks for a client certificate, add
        // `.client_certificate(Pem::file("client.pem"), Pem::file("client.key"))`.
        .tls(Tls::new().ca(ca))
        // Or `.proxy("socks5h://user:password@proxy.example:1080")`. Loopback addresses use no proxy of
        // the environment.
        .proxy_from_env()
        .before_attempt(before_attempt)
        // The name, TCP, the proxy and TLS together.
        .connect_timeout(Duration::from_secs(5))
        // One attempt, connecting included.
        .attempt_timeout(Duration::from_secs(30))
        .retry(RetryPolicy::standard().at_most_once(true))
        .build()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", run(std::env::args().skip(1)).await?);
    Ok(())
}

/// Posts a document, and returns the text of the answer.
async fn run(mut arguments: impl Iterator<Item = String>) -> Result<String, Box<dyn Error>> {
    let mut embedded = None;
    let (url, ca) = match (arguments.next(), arguments.next()) {
        (Some(url), Some(ca)) => (url, Pem::file(ca)),
        (Some(_), None) => return Err("the arguments are URL and CA-FILE".into()),
        (None, _) => {
            let tls = clientlet_gateway::Tls::self_signed();
            let builder = Gateway::builder().tls(tls.clone());
            let gateway = builder.require_authorization("Bearer token-1").start().await?;
            (embedded.insert(gateway).http_url(), Pem::text(tls.ca_pem()))
        }
    };

    let client = client(&url, ca)?;
    let hello = Document::text("hello");
    // All attempts of the request together.
    let call = client.post("/upper").document(&hello).timeout(Duration::from_secs(60));
    match call.send().await.documents::<Document>() {
        Ok(found) => Ok(found.into_iter().find_map(|document| document.text).unwrap_or_default()),
        Err(error) => {
            // The message has no secret in it. `hint` is advice if an address, a certificate, a proxy or
            // credentials seem to be wrong.
            let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            Err(format!("{error}{hint}").into())
        }
    }
}

#[tokio::test]
async fn the_newest_token_is_accepted_over_tls() -> Result<(), Box<dyn Error>> {
    assert_eq!(run(std::iter::empty()).await?, "HELLO");
    Ok(())
}
