//! Redirects of requests, questions and upgrades.

use std::time::Duration;

use clientlet::clientlets::{ClientletOptions, DataRequest, HttpClientlet};
use clientlet::{Client, Delivery, DocArray, Document, Error, ErrorKind, Response, RetryPolicy};
use clientlet_gateway::{Gateway, GatewayBuilder};
use clientlet_interop::{Environment, Options, RealGateway};

fn builder() -> GatewayBuilder {
    crate::events::watch();
    Gateway::builder().docarray(clientlet_gateway::DocArray::V1)
}

/// Serves documents v1 on one port for HTTP and WebSocket alike, with these faults.
async fn gateway(scheme: &str, faults: &[String]) -> (Gateway, String) {
    let builder = builder().http(scheme == "http").websocket(scheme == "ws");
    let builder =
        faults.iter().fold(builder, |builder, fault| builder.fault(fault.parse().unwrap()));
    let gateway = builder.start().await.unwrap();
    let url = if scheme == "http" { gateway.http_url() } else { gateway.websocket_url() };
    (gateway, url)
}

/// The fault that redirects the requests, or upgrades, number `which`.
fn redirect(scheme: &str, code: u16, to: &str, which: &str) -> String {
    let on = if scheme == "ws" { ",on=upgrade" } else { "" };
    format!("redirect:{code}:{to}@{which}{on}")
}

fn client(url: &str) -> Client {
    Client::builder(url).docarray(DocArray::V1).build().unwrap()
}

async fn post(client: &Client) -> Result<Response, Error> {
    let documents = [Document::text("hello")];
    let policy = RetryPolicy::new().max_attempts(1);
    let answers = client.post("/upper").documents(documents).retry(policy).send().await;
    answers.into_iter().next().unwrap()
}

const SCHEMES: [&str; 2] = ["http", "ws"];

#[tokio::test]
async fn five_redirects_within_the_origin_are_one_attempt() {
    for scheme in SCHEMES {
        for code in [307, 308] {
            let to = if scheme == "http" { "/post" } else { "/" };
            let (gateway, url) = gateway(scheme, &[redirect(scheme, code, to, "1-5")]).await;
            let response = post(&client(&url)).await.unwrap();
            assert_eq!(response.attempts(), 1, "{scheme} {code}");
            let documents: Vec<Document> = response.documents().unwrap();
            assert_eq!(documents[0].text.as_deref(), Some("HELLO"), "{scheme} {code}");
            let entries = gateway.journal().entries();
            let run = entries.iter().filter(|entry| entry.answered == Some(200)).count();
            assert_eq!(entries.len(), if scheme == "http" { 6 } else { 1 }, "{scheme} {code}");
            assert!(run <= 1 && entries.iter().all(|entry| entry.body() == entries[0].body()));
            if scheme == "http" {
                assert_eq!(gateway.journal().connections(), 1, "the connection is used again");
            }
        }
    }
}

#[tokio::test]
async fn other_redirects_are_errors_that_say_where_they_point() {
    let (other, _) = gateway("http", &[]).await;
    let away = format!("{}/post", other.http_url());
    let away = away.as_str();
    let elsewhere = "to another host, port or scheme are not followed, so use that address";
    for (scheme, here) in [("http", "/post"), ("ws", "/")] {
        for (code, to, which, said) in [
            (307, here, "1-6", "; five redirects were followed already"),
            (301, here, "1", "; only 307 and 308 are followed, so use that address"),
            (302, here, "1", "; only 307 and 308 are followed, so use that address"),
            (303, here, "1", "; only 307 and 308 are followed, so use that address"),
            (307, away, "1", elsewhere),
            (302, away, "1", elsewhere),
            (
                308,
                "https://127.0.0.1/post?token=s3cr3t",
                "1",
                "points to https://127.0.0.1/post; use that host, with a URL that begins with https",
            ),
            (
                301,
                "https://u:s3cr3t@flow.example/",
                "1",
                "points to https://flow.example/; use that host, with a URL that begins with https",
            ),
        ] {
            let (_gateway, url) = gateway(scheme, &[redirect(scheme, code, to, which)]).await;
            let error = post(&client(&url)).await.unwrap_err();
            let context = format!("{scheme} {code} {to}: {error}");
            assert_eq!(error.kind(), ErrorKind::Gateway, "{context}");
            assert_eq!(error.http_status().map(|status| status.as_u16()), Some(code), "{context}");
            assert!(error.message().contains(said), "{context}");
            assert!(!error.may_have_run() && error.attempts().len() == 1, "{context}");
            assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{context}");
        }
    }
    assert_eq!(other.journal().connections(), 0, "nothing goes to another port");
}

#[tokio::test]
async fn questions_follow_redirects() {
    for scheme in SCHEMES {
        let fault = "redirect:307:/dry_run?again@1,path=/dry_run".to_owned();
        let (gateway, url) = gateway(scheme, &[fault]).await;
        client(&url).ready().await.unwrap();
        let gets = gateway.journal().gets();
        let asked = gets.iter().filter(|get| get.path.starts_with("/dry_run")).count();
        assert_eq!(asked, 2, "{scheme}");
    }
}

#[tokio::test]
async fn a_clientlet_returns_a_redirect_that_is_not_followed() {
    let fault = redirect("http", 307, "https://flow.example/post", "2");
    let (gateway, url) = gateway("http", &[redirect("http", 307, "/post", "1"), fault]).await;
    let url = format!("{url}/post");
    let mut clientlet = HttpClientlet::new(&url, &ClientletOptions::new()).unwrap();
    clientlet.start().await.unwrap();
    let request = DataRequest::new(DocArray::V1, "/upper").document(&Document::text("x")).unwrap();
    let answer = clientlet.send_message(&request).await.unwrap();
    assert_eq!((answer.status().as_u16(), gateway.journal().len()), (307, 2));
    assert_eq!(clientlet.send_message(&request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_followed_redirect_takes_of_its_attempts_time() {
    let (_gateway, url) =
        gateway("http", &[redirect("http", 307, "/post", "1"), "stall@2".to_owned()]).await;
    let call = client(&url).post("/upper").documents([Document::text("x")]);
    let limit = Duration::from_millis(500);
    let error = call.attempt_timeout(limit).send().await.into_iter().next().unwrap().unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Unknown));
    assert_eq!(error.attempts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_gateway_redirects_a_slash_at_the_end_of_a_path_by_the_name_in_host() {
    let options = Options { protocols: &["http"], ..Options::default() };
    let start = move || RealGateway::start_or_skip(Environment::Current, options);
    let Some(gateway) = tokio::task::spawn_blocking(start).await.unwrap().unwrap() else { return };
    // The client leaves out a slash that is not encoded.
    let url = format!("{}/dry_run%2F", gateway.url("http"));
    for host in [None, Some("flow.example"), Some("flow.example:8080")] {
        let options = ClientletOptions::new();
        let options = host.into_iter().fold(options, |o, host| o.header("host", host));
        let mut clientlet = HttpClientlet::new(&url, &options).unwrap();
        clientlet.start().await.unwrap();
        assert_eq!(clientlet.send_dry_run().await.unwrap().status(), 200, "{host:?}");
        // A proxy before the gateway says that the client speaks TLS, which is another origin.
        let call = clientlet.dry_run().header("x-forwarded-proto", "https");
        assert_eq!(call.send().await.unwrap().status(), 307, "{host:?}");
    }
}
