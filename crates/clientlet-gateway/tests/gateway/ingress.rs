//! What an ingress before a gateway does: tokens, cookies and redirects.

use clientlet_gateway::{DocArray, Gateway, GatewayBuilder};
use prost::Message as _;
use tokio::net::TcpStream;

use crate::common::grpc::{CALL, Channel, DRY_RUN, SINGLE};
use crate::common::websocket::{self, Socket};
use crate::common::{Client, message, request, start};

fn all() -> GatewayBuilder {
    Gateway::builder().websocket(true).grpc(true)
}

/// Asks for an upgrade with these further headers, and returns the head of the answer.
async fn upgrade(gateway: &Gateway, path: &str, headers: &str) -> (u16, Vec<String>) {
    let mut client = Client::connect_to(gateway.websocket_address()).await;
    let headers = format!(
        "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}"
    );
    client.send(&message("GET", path, &headers, b"")).await.unwrap();
    let (status, headers) = client.head().await.unwrap();
    (status, headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect())
}

#[tokio::test]
async fn requests_are_turned_away_until_their_token_is_right() {
    let gateway = all().require_authorization("Bearer one").start().await.unwrap();
    let body = request("r", "/").to_string();
    let mut client = Client::connect(&gateway).await;
    let mut channel = Channel::connect(&gateway).await;
    let right = "authorization: Bearer one\r\n";
    for (headers, status) in [
        ("", 401),
        ("authorization: Bearer two\r\n", 401),
        ("authorization: Bearer one\r\nauthorization: Bearer two\r\n", 401),
        (right, 200),
    ] {
        client.send(&message("POST", "/post", headers, body.as_bytes())).await.unwrap();
        let answer = client.answer(true).await.unwrap();
        assert_eq!(answer.status, status, "{headers}");
        let challenge = answer.headers.get("www-authenticate").map(String::as_str);
        assert_eq!(challenge, (status == 401).then_some("Bearer"));

        client.send(&message("GET", "/status", headers, b"")).await.unwrap();
        assert_eq!(client.answer(true).await.unwrap().status, status, "{headers}");
        for path in ["/", "/dry_run"] {
            let upgraded = if status == 200 { 101 } else { 401 };
            assert_eq!(upgrade(&gateway, path, headers).await.0, upgraded, "{headers}");
        }

        let metadata: Vec<_> = headers.lines().map(|line| line.split_once(": ").unwrap()).collect();
        for path in [CALL, SINGLE, DRY_RUN] {
            let mut call = channel.open_with(path, &metadata).await.unwrap();
            if path != DRY_RUN {
                call.send(&websocket::request("g", "/"));
            } else {
                call.send_bytes(b"");
            }
            call.end();
            let wanted = if status == 200 { (0, "") } else { (16, "Not authenticated") };
            assert_eq!(call.status().await.unwrap(), (wanted.0, wanted.1.to_owned()), "{headers}");
        }
    }
    // A POST, a GET, two upgrades and three calls, three times.
    let journal = gateway.journal();
    assert_eq!((journal.unauthorized(), journal.len()), (21, 3));
    assert!(journal.entries().iter().all(|entry| entry.answered == Some(200)));
}

#[tokio::test]
async fn a_token_may_expire_and_streams_that_are_open_stay_open() {
    let gateway = all().require_authorization("Bearer one").start().await.unwrap();
    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open_with(CALL, &[("authorization", "Bearer one")]).await.unwrap();
    call.send(&websocket::request("a", "/"));
    call.message().await.unwrap().unwrap();
    let control = gateway.control();
    control.require_authorization(Some("Bearer two"));
    call.send(&websocket::request("b", "/"));
    call.message().await.unwrap().unwrap();
    for (token, code) in [("Bearer one", 16), ("Bearer two", 0)] {
        let metadata = [("authorization", token)];
        let call = channel.open_with(DRY_RUN, &metadata).await.unwrap();
        assert_eq!(call.status_of(b"").await.0, code);
    }
    control.require_authorization(None);
    channel.unary(DRY_RUN, b"").await.unwrap();
    assert_eq!(gateway.journal().unauthorized(), 1);
}

#[tokio::test]
async fn cookies_come_with_every_answer_and_upgrade() {
    let cookies = ["route=a; Path=/; HttpOnly", "b=\"c d\"; Max-Age=60; SameSite=Lax"];
    let builder = all().set_cookie(cookies[0]).set_cookie(cookies[1]);
    let gateway = builder.require_authorization("Bearer one").start().await.unwrap();
    let set = |head: &str| -> Vec<String> {
        let lines = head.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
        lines.map(str::to_owned).collect()
    };
    let upgraded = |address| async move {
        let stream = TcpStream::connect(address).await.unwrap();
        Socket { stream, ahead: Vec::new() }.upgrade("/", None).await.unwrap()
    };
    for status in ["401", "101"] {
        let answer = upgraded(gateway.websocket_address()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(set(&answer), cookies);
        gateway.control().require_authorization(None);
    }
    // The port for HTTP has no upgrade.
    let refused = upgraded(gateway.http_address()).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert_eq!(set(&refused), cookies);

    let mut channel = Channel::connect(&gateway).await;
    for path in [SINGLE, "/no.Such/method"] {
        let mut call = channel.open(path).await;
        call.send(&websocket::request("g", "/"));
        call.end();
        call.status().await.unwrap();
        let set: Vec<_> = call.head.get_all("set-cookie").iter().collect();
        assert_eq!(set, cookies, "{path}");
    }

    gateway.control().set_cookies(["route=; Max-Age=0"]);
    let mut client = Client::connect(&gateway).await;
    let answer = client.post("/post", &request("r", "/")).await.unwrap();
    assert_eq!(answer.headers["set-cookie"], "route=; Max-Age=0");
    gateway.control().set_cookies([]);
    let answer = client.post("/post", &request("r", "/")).await.unwrap();
    assert!(!answer.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn redirects_name_their_target_and_run_nothing() {
    let faults = ["redirect:307:/other@1", "redirect:308:https://host:1/a,b@2-3"];
    let gateway = start(DocArray::V1, &faults).await;
    let mut client = Client::connect(&gateway).await;
    for (status, location) in
        [(307, "/other"), (308, "https://host:1/a,b"), (308, "https://host:1/a,b")]
    {
        let answer = client.post("/post", &request("r", "/")).await.unwrap();
        assert_eq!((answer.status, &*answer.headers["location"]), (status, location));
        assert!(answer.body.is_empty());
    }
    assert_eq!(client.post("/post", &request("r", "/")).await.unwrap().status, 200);
    let answered: Vec<_> =
        gateway.journal().entries().into_iter().map(|entry| entry.answered.unwrap()).collect();
    assert_eq!(answered, [307, 308, 308, 200]);
}

#[tokio::test]
async fn gets_upgrades_and_calls_are_redirected_as_well() {
    let mut builder = all();
    for fault in [
        "redirect:302:/elsewhere@1,path=/status",
        "redirect:301:wss://host/@1,on=upgrade",
        "redirect:303:https://host/@1",
    ] {
        builder = builder.fault(fault.parse().unwrap());
    }
    let gateway = builder.start().await.unwrap();
    let mut client = Client::connect(&gateway).await;
    let answer = client.get("/status").await.unwrap();
    assert_eq!((answer.status, &*answer.headers["location"]), (302, "/elsewhere"));
    assert_eq!(client.get("/status").await.unwrap().status, 200);

    let (status, headers) = upgrade(&gateway, "/", "").await;
    assert_eq!(status, 301);
    assert!(headers.contains(&"location: wss://host/".to_owned()), "{headers:?}");
    assert_eq!(upgrade(&gateway, "/", "").await.0, 101);

    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open(SINGLE).await;
    call.send(&websocket::request("g", "/"));
    call.end();
    while call.read_more().await.unwrap() {}
    assert_eq!((call.code, call.head["location"].to_str().unwrap()), (303, "https://host/"));
    channel.unary(SINGLE, &websocket::request("h", "/").encode_to_vec()).await.unwrap();
}
