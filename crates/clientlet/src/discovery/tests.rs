use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::sleep;

use super::*;
use crate::address::Address;
use crate::error::{Event, Hint};
use crate::message::{Connections, Encoding, GatewayStatus, RawAnswer, Request, Status};
use crate::options::ClientletOptions;
use crate::retry::later;
use crate::telemetry::Medium;
use crate::transport::{Answer, Facts, Questions, Terms};

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(ToString::to_string).collect())
}

fn v2(endpoints: &[&str]) -> Gateway {
    Gateway {
        docarray: DocArray::V2,
        endpoints: names(endpoints),
        streams: names(endpoints),
        is_by_name: false,
    }
}

fn by_name(docarray: DocArray) -> Gateway {
    Gateway { docarray, endpoints: None, streams: None, is_by_name: true }
}

fn path(gateway: &Gateway, endpoint: &str) -> String {
    gateway.find(endpoint).unwrap().path
}

#[test]
fn each_host_and_each_address_is_a_gateway_of_its_own() {
    let headers = |host: Option<&str>| {
        let host = host.map(|host| (HOST, HeaderValue::from_str(host).unwrap()));
        HeaderMap::from_iter(host)
    };
    let config = |host: Option<&str>| {
        let mut config = ClientletOptions::new().check("http://h").unwrap();
        config.headers = Arc::new(headers(host));
        config
    };
    for own in [None, Some("own.example")] {
        let discoveries = Discoveries::new(&config(own));
        let address = |url| Address::parse(url, None).unwrap();
        let (here, there) = (address("http://h"), address("http://there"));
        let of = |host: Option<&str>| discoveries.of(&here, &headers(host));
        let (usual, other) = (of(own), of(Some("other.example")));
        assert!(Arc::ptr_eq(&usual, &of(own)) && !Arc::ptr_eq(&usual, &other));
        for n in 0..100 {
            let new = of(Some(&format!("{n}.example")));
            assert!(!Arc::ptr_eq(&new, &usual));
            // A gateway in use stays known while others are added.
            assert!(Arc::ptr_eq(&other, &of(Some("other.example"))));
        }
        assert!(Arc::ptr_eq(&usual, &of(own)));
        assert_eq!(discoveries.others.lock().unwrap().len(), MOST_GATEWAYS);
        let elsewhere = discoveries.of(&there, &headers(own));
        assert!(!Arc::ptr_eq(&elsewhere, &usual));
        assert!(Arc::ptr_eq(&elsewhere, &discoveries.of(&there, &headers(own))));
    }
}

#[test]
fn v2_posts_to_the_endpoint_or_else_to_the_default() {
    assert_eq!(path(&v2(&["/", "/upper"]), "/upper"), "/upper");
    assert_eq!(path(&v2(&["/", "/upper"]), "/"), "/");
    assert_eq!(path(&v2(&["/default"]), "/"), "/default");
    assert_eq!(path(&v2(&["/upper", "/default"]), "/x"), "/default");
}

#[test]
fn an_unknown_endpoint_is_an_error_that_lists_the_known_ones() {
    let error = v2(&["/", "/upper"]).find("/uper").unwrap_err();
    assert_eq!(error.event, Event::EndpointUnknown);
    assert_eq!(error.message, "the gateway has no endpoint /uper; it has /, /upper");
    let many = vec!["/endpoint"; 100_000];
    assert!(v2(&many).find("/uper").unwrap_err().message.len() < 3000);
}

#[test]
fn what_is_not_there_has_a_hint_by_its_cause() {
    let streamless = Gateway { streams: names(&[]), ..v2(&["/upper"]) };
    for (error, hint) in [
        (v2(&["/upper"]).find("/uper").unwrap_err(), Hint::UnknownEndpoint),
        (v2(&[]).find("/upper").unwrap_err(), Hint::PortForWebsocket),
        (v2(&["/stream"]).find_stream("/upper").unwrap_err(), Hint::NoStreams),
        (streamless.find_stream("/upper").unwrap_err(), Hint::NoStreams),
        (by_name(DocArray::V1).find_stream("/upper").unwrap_err(), Hint::NoStreams),
    ] {
        assert_eq!(error.detail.hint, Some(hint), "{}", error.message);
    }
}

#[test]
fn a_gateway_whose_requests_name_the_endpoint_has_one_path() {
    let v1 = by_name(DocArray::V1);
    assert_eq!(path(&v1, "/whatever"), "/post");
    assert!(v1.to_endpoints().takes_any);
}

#[test]
fn a_listed_endpoint_is_found_with_and_without_a_slash_and_percent_encoded() {
    let mut by_name = by_name(DocArray::V2);
    by_name.endpoints = names(&["index", "/upper", "/both", "both", "/a b", "文本", "/50%25"]);
    by_name.streams = by_name.endpoints.clone();
    let by_path = v2(&["/index", "/upper", "/a b", "/文本", "/50%25"]);
    let table = [
        ("index", "index", "/index"),
        ("/index", "index", "/index"),
        ("upper", "/upper", "/upper"),
        ("a b", "/a b", "/a%20b"),
        ("/a%20b", "/a b", "/a%20b"),
        ("/文本", "文本", "/%E6%96%87%E6%9C%AC"),
        ("%E6%96%87%e6%9c%ac", "文本", "/%E6%96%87%E6%9C%AC"),
        // A listed name is used exactly as it is listed.
        ("/50%25", "/50%25", "/50%2525"),
    ];
    for (written, name, path) in table {
        assert_eq!(by_name.find(written).unwrap().name, name, "{written}");
        assert_eq!(by_name.find_stream(written).unwrap().name, name, "{written}");
        assert_eq!(by_path.find(written).unwrap().path, path, "{written}");
        assert_eq!(by_path.find_stream(written).unwrap().path, path, "{written}");
    }
    assert_eq!(by_name.find("both").unwrap().name, "both");
    assert_eq!(by_name.find("/both").unwrap().name, "/both");
}

#[test]
fn without_a_list_an_endpoint_is_sent_as_it_was_written() {
    let by_name = by_name(DocArray::V1);
    for written in ["index", "/index", "/a%20b", "/a b"] {
        assert_eq!(by_name.find(written).unwrap().name, written);
    }
    let hidden = Gateway { endpoints: None, streams: None, ..v2(&[]) };
    let table = [
        ("index", "/index"),
        ("/a b", "/a%20b"),
        ("/a%20b", "/a%20b"),
        ("/100%", "/100%25"),
        ("/a?b#c", "/a%3Fb%23c"),
    ];
    for (written, path) in table {
        assert_eq!(hidden.find(written).unwrap().path, path);
        assert_eq!(hidden.find_stream(written).unwrap().path, path);
    }
}

#[test]
fn only_outdated_facts_are_forgotten() {
    let discovery = Discovery::default();
    let (old, new) = (Arc::new(v2(&["/old"])), Arc::new(v2(&["/new"])));
    *discovery.known.lock().unwrap() = Some(new.clone());
    discovery.forget(&old);
    assert!(discovery.known().is_some());
    discovery.forget(&new);
    assert!(discovery.known().is_none());
}

/// A gateway that leaves its first questions unanswered, fails the next ones, then answers.
struct Slow {
    facts: Facts,
    asked: AtomicUsize,
    silent: usize,
    failing: usize,
}

impl Transport for Slow {
    fn attempt<'a>(
        &'a self,
        _: &'a Request,
        _: bytes::Bytes,
        _: Terms<'a>,
    ) -> Answer<'a, RawAnswer> {
        panic!("nothing is sent")
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn questions(&self) -> &dyn Questions {
        self
    }

    fn connections(&self) -> Connections {
        Connections::default()
    }
}

impl Questions for Slow {
    fn status<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, GatewayStatus> {
        Box::pin(async move {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            if number < self.silent {
                let silence = std::future::pending::<()>();
                let deadline = ask.deadline.expect("these tests have one");
                let _ = tokio::time::timeout_at(deadline, silence).await;
                return Err(AttemptError::new(Event::TimedOut, "no answer"));
            }
            sleep(Duration::from_millis(100)).await;
            if number < self.silent + self.failing {
                return Err(AttemptError::new(Event::Unavailable503, "down"));
            }
            let release = ("docarray".to_owned(), "0.40.0".to_owned());
            Ok(GatewayStatus { jina: [release].into(), ..GatewayStatus::default() })
        })
    }

    fn dry_run<'a>(&'a self, _: Ask<'a>) -> Answer<'a, Status> {
        panic!("nothing is asked here")
    }
}

impl Default for Slow {
    fn default() -> Slow {
        let address = Address::parse("http://h", None).unwrap();
        let facts = Facts::new(&address, Medium::Http, Encoding::Json);
        Slow { facts, asked: AtomicUsize::new(0), silent: 0, failing: 0 }
    }
}

/// Makes three calls ask, 0.1 s apart, with a time-out in seconds for each. Returns when and how
/// each call ended, and how often the gateway was asked.
async fn three(slow: Slow, seconds: [f64; 3]) -> (Vec<(f64, Option<Event>)>, usize) {
    let trace = AttemptTrace::default();
    let slow = Arc::new(slow);
    let transport: Arc<dyn Transport> = slow.clone();
    let (discovery, headers) = (Discovery::default(), Arc::new(HeaderMap::new()));
    let began = Instant::now();
    let call = async |number: usize| {
        sleep(Duration::from_millis(100) * u32::try_from(number).unwrap()).await;
        let time = Duration::from_secs_f64(seconds[number]);
        let deadline = later(Instant::now(), Some(time));
        let result = discovery.ask(&transport, &headers, deadline, &trace).await;
        (began.elapsed().as_secs_f64(), result.err().map(|error| error.event))
    };
    let ended = futures_util::future::join_all((0..3).map(call)).await;
    (ended, slow.asked.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_share_one_question_and_its_answer() {
    let (ended, asked) = three(Slow::default(), [2.0; 3]).await;
    assert_eq!(asked, 1);
    assert!(ended.iter().all(|(_, error)| error.is_none()), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_share_a_failure() {
    let trace = AttemptTrace::default();
    let slow = Slow { failing: 1, ..Slow::default() };
    let discovery = Discovery::default();
    let (transport, headers): (Arc<dyn Transport>, _) = (Arc::new(slow), Arc::default());
    let ask = || discovery.ask(&transport, &headers, None, &trace);
    let (first, second) = tokio::join!(ask(), ask());
    assert_eq!(first.unwrap_err().message, "down");
    assert_eq!(second.unwrap_err().message, "down");
    assert!(ask().await.is_ok(), "a later call asks again");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_silent_gateway_time_out_together() {
    let (ended, asked) = three(Slow { silent: 9, ..Slow::default() }, [2.0; 3]).await;
    assert_eq!(asked, 1);
    for (at, error) in ended {
        assert!((1.9..2.3).contains(&at), "{at}");
        assert_eq!(error, Some(Event::TimedOut));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_with_more_time_asks_again_after_the_shared_question_timed_out() {
    let (ended, asked) = three(Slow { silent: 1, ..Slow::default() }, [0.3, 5.0, 5.0]).await;
    assert_eq!(asked, 2);
    let errors: Vec<_> = ended.iter().map(|(_, error)| error.is_some()).collect();
    assert_eq!(errors, [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_question_continues_if_the_call_that_asked_it_is_dropped() {
    let trace = AttemptTrace::default();
    let slow = Arc::new(Slow::default());
    let transport: Arc<dyn Transport> = slow.clone();
    let (discovery, headers) = (Discovery::default(), Arc::new(HeaderMap::new()));
    let mut first = Box::pin(discovery.ask(&transport, &headers, None, &trace));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(discovery.ask(&transport, &headers, None, &trace));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    assert!(second.await.is_ok());
    assert_eq!(slow.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn other_credentials_are_another_question() {
    let trace = AttemptTrace::default();
    let slow = Arc::new(Slow { failing: 1, ..Slow::default() });
    let transport: Arc<dyn Transport> = slow.clone();
    let discovery = Discovery::default();
    let with = |token| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static(token));
        Arc::new(headers)
    };
    let (wrong, right) = (with("a"), with("b"));
    let (first, second) = tokio::join!(
        discovery.ask(&transport, &wrong, None, &trace),
        discovery.ask(&transport, &right, None, &trace),
    );
    assert!(first.is_err() && second.is_ok());
}
