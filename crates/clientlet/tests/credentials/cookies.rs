//! Cookies that a gateway sets.

use clientlet::clientlets::{ClientletOptions, DataRequest, HttpClientlet};
use clientlet::{Client, DocArray, Document};
use clientlet_gateway::Gateway;

use crate::ways::{WAYS, Way, one};

/// The cookies of all requests, questions and handshakes that arrived.
fn arrived(gateway: &Gateway) -> Vec<Option<String>> {
    let journal = gateway.journal();
    let all = journal.gets().into_iter().chain(journal.entries());
    all.map(|entry| entry.header("cookie").map(str::to_owned)).collect()
}

/// The cookies of the last request, or of the handshake of its connection.
fn last(gateway: &Gateway, way: Way) -> Option<String> {
    let journal = gateway.journal();
    let entries = if way == Way::Websocket { journal.gets() } else { journal.entries() };
    entries.last().unwrap().header("cookie").map(str::to_owned)
}

/// Makes two calls, for which a WebSocket is opened twice.
async fn twice(client: &Client) {
    one(client).await.unwrap();
    let call = client.post("/upper").documents([Document::text("x")]).header("x-tenant", "b");
    assert_eq!(call.send().await.errors().count(), 0);
}

#[tokio::test]
async fn a_cookie_that_the_gateway_sets_is_sent_with_all_that_follows() {
    for way in WAYS {
        let set = "route=a1; Path=/; HttpOnly";
        let (gateway, builder) = way.serve(|g| g.set_cookie(set)).await;
        let client = builder.build().unwrap();
        client.ready().await.unwrap();
        twice(&client.clone()).await;
        assert_eq!(last(&gateway, way).as_deref(), Some("route=a1"), "{way:?}");
        gateway.control().set_cookies(["route=; Max-Age=0; Path=/"]);
        twice(&client).await;
        twice(&client).await;
        if way != Way::Websocket {
            assert_eq!(last(&gateway, way), None, "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_cookie_of_a_refusal_counts_as_well() {
    for way in WAYS {
        let set = |g: clientlet_gateway::GatewayBuilder| {
            g.set_cookie("route=a1; Path=/").require_authorization("Bearer t")
        };
        let (gateway, builder) = way.serve(set).await;
        let client = builder.docarray(DocArray::V1).build().unwrap();
        client.ready().await.unwrap_err();
        gateway.control().require_authorization(None);
        twice(&client).await;
        assert_eq!(last(&gateway, way).as_deref(), Some("route=a1"), "{way:?}");
    }
}

#[tokio::test]
async fn the_callers_cookies_win_and_the_jar_can_be_switched_off() {
    for way in WAYS {
        let set = "route=a1; Path=/";
        let (gateway, builder) = way.serve(|g| g.set_cookie(set).set_cookie("b=1; Path=/")).await;
        twice(&builder.cookie("route", "own").build().unwrap()).await;
        assert_eq!(last(&gateway, way).as_deref(), Some("route=own; b=1"), "{way:?}");
        let (gateway, builder) = way.serve(|g| g.set_cookie(set)).await;
        twice(&builder.cookie_jar(false).build().unwrap()).await;
        assert!(arrived(&gateway).iter().all(Option::is_none), "{way:?}");
    }
}

#[tokio::test]
async fn cookies_for_other_hosts_paths_and_tls_are_not_sent() {
    for way in WAYS {
        let wrong = ["a=1; Domain=example.com", "b=1; Path=/elsewhere", "c=1; Path=/; Secure"];
        let (gateway, builder) =
            way.serve(|g| wrong.iter().fold(g, |g, cookie| g.set_cookie(*cookie))).await;
        twice(&builder.build().unwrap()).await;
        assert!(arrived(&gateway).iter().all(Option::is_none), "{way:?}");
    }
}

#[tokio::test]
async fn a_cookie_goes_to_no_other_host_that_a_call_names() {
    let (gateway, builder) = Way::Http.serve(|g| g.set_cookie("route=a1; Path=/")).await;
    let client = builder.docarray(DocArray::V1).build().unwrap();
    let call = |host: &'static str| {
        client.post("/upper").documents([Document::text("x")]).header("host", host).send()
    };
    for host in ["one.example", "two.example", "one.example"] {
        assert_eq!(call(host).await.errors().count(), 0);
        gateway.control().set_cookies([]);
    }
    let journal = gateway.journal();
    let with = |host: &str| {
        let all = journal.gets().into_iter().chain(journal.entries());
        let here = all.filter(|entry| entry.header("host") == Some(host));
        here.filter(|entry| entry.header("cookie") == Some("route=a1")).count()
    };
    assert!(with("one.example") > 0);
    assert_eq!(with("two.example"), 0);
}

#[tokio::test]
async fn a_clientlets_calls_share_cookies() {
    let (gateway, _) = Way::Http.serve(|g| g.set_cookie("route=a1; Path=/")).await;
    let url = format!("{}/post", gateway.http_url());
    let mut clientlet = HttpClientlet::new(&url, &ClientletOptions::new()).unwrap();
    let request = DataRequest::new(DocArray::V1, "/upper").document(&Document::text("x")).unwrap();
    for _ in 0..2 {
        clientlet.start().await.unwrap();
        clientlet.send_message(&request).await.unwrap();
        clientlet.close().await;
    }
    assert_eq!(arrived(&gateway), [None, Some("route=a1".to_owned())]);
}
