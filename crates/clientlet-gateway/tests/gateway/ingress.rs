//! What an ingress before a gateway does: tokens, cookies, redirects and compression.

use std::io::Read as _;

use bytes::Bytes;
use clientlet_gateway::{Compression, DocArray, Gateway, GatewayBuilder};
use flate2::read::{GzDecoder, ZlibDecoder};
use prost::Message as _;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::common::grpc::{CALL, Channel, DRY_RUN, SINGLE};
use crate::common::proto::v1;
use crate::common::websocket::{self, Socket};
use crate::common::{Client, message, request, run_or_skip, start};

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

/// Posts with this `Accept-Encoding`, and returns the answer's `Content-Encoding` and body.
async fn post_accepting(client: &mut Client, accepted: &str) -> (Option<String>, Vec<u8>) {
    let body = request("r", "/upper").to_string();
    let headers = format!("accept-encoding: {accepted}\r\n");
    client.send(&message("POST", "/post", &headers, body.as_bytes())).await.unwrap();
    let answer = client.answer(true).await.unwrap();
    assert_eq!(answer.status, 200);
    (answer.headers.get("content-encoding").cloned(), answer.body)
}

fn is_the_answer(json: &[u8]) {
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["data"][0]["text"], "HI");
}

#[tokio::test]
async fn answers_are_compressed_as_the_client_accepts_it() {
    let reversed = |bytes: &[u8]| bytes.iter().rev().copied().collect::<Vec<_>>();
    let builder = Gateway::builder()
        .compress(Compression::new("br", reversed))
        .compress(Compression::gzip())
        .compress(Compression::deflate());
    let gateway = builder.start().await.unwrap();
    let mut client = Client::connect(&gateway).await;
    for (accepted, encoding) in [
        ("identity", None),
        ("gzip, deflate", Some("gzip")),
        ("gzip;q=0, deflate", Some("deflate")),
        ("gzip, deflate, br, zstd", Some("br")),
    ] {
        let (named, body) = post_accepting(&mut client, accepted).await;
        assert_eq!(named.as_deref(), encoding, "{accepted}");
        let mut json = Vec::new();
        match encoding {
            Some("gzip") => GzDecoder::new(&*body).read_to_end(&mut json).unwrap(),
            Some("deflate") => ZlibDecoder::new(&*body).read_to_end(&mut json).unwrap(),
            Some(_) => reversed(&body).as_slice().read_to_end(&mut json).unwrap(),
            None => body.as_slice().read_to_end(&mut json).unwrap(),
        };
        is_the_answer(&json);
    }
}

#[tokio::test]
async fn events_are_compressed_one_by_one_where_the_encoder_can() {
    let whole = Compression::new("br", |_| panic!("it takes no events"));
    let builder = Gateway::builder().docarray(DocArray::V2).compress(whole);
    let gateway = builder.compress(Compression::gzip()).start().await.unwrap();
    for (accepted, encoding) in [("br", None), ("gzip", Some("gzip"))] {
        let mut client = Client::connect(&gateway).await;
        let headers = format!("accept-encoding: {accepted}\r\nconnection: close\r\n");
        client.send(&message("GET", "/stream?text=hey", &headers, b"")).await.unwrap();
        let (_, head) = client.head().await.unwrap();
        assert_eq!(head.get("content-encoding").map(String::as_str), encoding);
        let mut text = Vec::new();
        for piece in client.chunks().await {
            // Each piece, with those before it, is read without the next one.
            text.extend(piece);
            let mut events = String::new();
            let read = match encoding {
                Some(_) => GzDecoder::new(&*text).read_to_string(&mut events).map(drop),
                None => text.as_slice().read_to_string(&mut events).map(drop),
            };
            let is_whole = events.ends_with("\r\n\r\n");
            assert!(is_whole && (read.is_ok() || encoding.is_some()), "{events}");
        }
    }
}

/// The flags and messages of the answers to two requests on a stream, and the encoding that the
/// head names.
async fn grpc_answers(
    builder: GatewayBuilder,
    accepted: &str,
) -> (Option<String>, Vec<(u8, Bytes)>) {
    let gateway = builder.start().await.unwrap();
    let mut channel = Channel::connect(&gateway).await;
    let metadata = [("grpc-accept-encoding", accepted)];
    let mut call = channel.open_with(CALL, &metadata).await.unwrap();
    let mut answers = Vec::new();
    for id in ["a", "b"] {
        call.send(&websocket::request(id, "/upper"));
        answers.push(call.flagged().await.unwrap().unwrap());
    }
    let encoding = call.head.get("grpc-encoding");
    (encoding.map(|name| name.to_str().unwrap().to_owned()), answers)
}

#[tokio::test]
async fn messages_over_grpc_are_compressed_as_the_client_accepts_it() {
    let builder = all().compress(Compression::gzip()).compress(Compression::deflate());
    for (accepted, encoding) in
        [("identity", None), ("identity,deflate,gzip", Some("gzip")), ("deflate", Some("deflate"))]
    {
        let (named, answers) = grpc_answers(builder.clone(), accepted).await;
        assert_eq!(named.as_deref(), encoding);
        for (id, (flag, message)) in ["a", "b"].into_iter().zip(answers) {
            assert_eq!(flag, u8::from(encoding.is_some()));
            let mut plain = Vec::new();
            match encoding {
                Some("gzip") => GzDecoder::new(&*message).read_to_end(&mut plain).unwrap(),
                Some(_) => ZlibDecoder::new(&*message).read_to_end(&mut plain).unwrap(),
                None => (&*message).read_to_end(&mut plain).unwrap(),
            };
            let answer = v1::DataRequest::decode(&*plain).unwrap();
            assert_eq!(answer.header.unwrap().request_id, id);
        }
    }
}

#[tokio::test]
async fn a_bomb_is_the_answer_and_a_thousand_times_as_many_bytes() {
    const BYTES: u64 = 100_000_000;
    let fault = format!("bomb:{BYTES}@1");
    let gateway = start(DocArray::V1, &[&fault]).await;
    let mut client = Client::connect(&gateway).await;
    let (encoding, body) = post_accepting(&mut client, "identity").await;
    assert_eq!(encoding.as_deref(), Some("gzip"));
    assert!(body.len() < 200_000, "{}", body.len());
    let mut json = Vec::new();
    GzDecoder::new(&*body).read_to_end(&mut json).unwrap();
    assert!(json.len() as u64 > BYTES);
    is_the_answer(&json);
    is_the_answer(&post_accepting(&mut client, "gzip").await.1);

    let (encoding, answers) = grpc_answers(all().fault(fault.parse().unwrap()), "identity").await;
    assert_eq!(encoding.as_deref(), Some("gzip"));
    let [(1, bomb), (0, plain)] = &answers[..] else { panic!("{answers:?}") };
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    let mut message = Vec::new();
    GzDecoder::new(&**bomb).read_to_end(&mut message).unwrap();
    assert!(message.len() as u64 > BYTES);
    for message in [&message[..], plain] {
        v1::DataRequest::decode(message).unwrap().header.unwrap();
    }
}

/// The gateway runs beside the program, which blocks the test's thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn curl_follows_keeps_cookies_authorizes_and_decompresses() {
    let builder = Gateway::builder()
        .require_authorization("Bearer one")
        .set_cookie("route=a; Path=/")
        .compress(Compression::gzip())
        // The request that is turned away counts.
        .fault("redirect:302:/status@2,path=/old".parse().unwrap())
        .fault("bomb:50000000@1,path=/dry_run".parse().unwrap());
    let gateway = builder.start().await.unwrap();
    // An empty cookie file switches curl's jar on.
    let curl = ["-sS", "--noproxy", "*", "--compressed", "--location", "--cookie", ""];
    let ask = |path: &str, more: &[&str]| {
        let url = format!("{}{path}", gateway.http_url());
        run_or_skip("curl", &[&curl[..], more, &[&url]].concat())
    };
    let Some((_, told)) = ask("/old", &[]) else { return };
    assert!(told.contains("Not authenticated"), "{told}");
    let (is_well, told) = ask("/old", &["--oauth2-bearer", "one"]).unwrap();
    let status: Value = serde_json::from_str(&told).unwrap();
    assert!(is_well && status["jina"]["jina"].is_string(), "{told}");
    let gets = gateway.journal().gets();
    let [old, status] = &gets[gets.len() - 2..] else { panic!("{gets:?}") };
    assert_eq!((&*old.path, old.answered, old.header("cookie")), ("/old", Some(302), None));
    assert_eq!((&*status.path, status.header("cookie")), ("/status", Some("route=a")));

    let (is_well, told) = ask("/dry_run", &["--oauth2-bearer", "one"]).unwrap();
    let spaces = told.len() - told.trim_start().len();
    assert!(is_well && spaces == 50_000_000, "{spaces}");
}
