//! `GrpcClientlet` against the embedded gateway and its faults.

use std::collections::BTreeSet;
use std::time::Duration;

use clientlet::clientlets::{ClientletOptions, DataRequest, GrpcClientlet, GrpcStream};
use clientlet::{Delivery, DocArray, Document, ErrorKind, GrpcCode, Health};
use clientlet_gateway::Gateway;
use serde_json::json;

use crate::both::{builder, gateway_with, hasty, request, rest, soon};

async fn started(gateway: &Gateway, options: &ClientletOptions) -> GrpcClientlet {
    let mut clientlet = GrpcClientlet::new(&gateway.grpc_url(), options).unwrap();
    clientlet.start().await.unwrap();
    clientlet
}

async fn plain(gateway: &Gateway) -> GrpcClientlet {
    started(gateway, &ClientletOptions::new()).await
}

fn failing(id: &str) -> DataRequest {
    let request = DataRequest::proto(DocArray::V1, "/fail").with_request_id(id);
    let request = request.parameters(&json!({"message": "boom"})).unwrap();
    request.document(&Document::text("hello")).unwrap()
}

#[tokio::test]
async fn a_dry_run_reports_whether_the_executors_work() {
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    assert!(clientlet.send_dry_run().await.unwrap().is_success());
    gateway.control().executor_down(true);
    let status = clientlet.send_dry_run().await.unwrap();
    assert_eq!(status.code, 1);
    assert!(status.description.contains("deployment"), "{status:?}");
}

#[tokio::test]
async fn a_dry_run_is_not_retried() {
    let gateway = gateway_with(&["grpc-status:14@1,path=/jina.JinaGatewayDryRunRPC/dry_run"]).await;
    let clientlet = started(&gateway, &hasty(5)).await;
    let error = clientlet.send_dry_run().await.unwrap_err();
    assert_eq!((error.attempts().len(), error.delivery()), (1, Delivery::NotSent));
}

#[tokio::test]
async fn status_endpoints_and_health_are_answered() {
    let gateway = builder(&[]).docarray(clientlet_gateway::DocArray::V2).start().await.unwrap();
    let clientlet = plain(&gateway).await;
    assert_eq!(clientlet.status().await.unwrap().docarray(), Some(DocArray::V2));
    assert!(clientlet.endpoints().await.unwrap().paths.iter().any(|path| path == "/upper"));
    assert_eq!(clientlet.health("").await.unwrap(), Health::Serving);
    assert_eq!(clientlet.health("jina.Nothing").await.unwrap(), Health::ServiceUnknown);
    assert_eq!(gateway.journal().grpc_connections(), 1, "one connection for all questions");
}

#[tokio::test]
async fn a_stream_of_documents_comes_over_the_same_connection() {
    let gateway = builder(&[]).docarray(clientlet_gateway::DocArray::V2).start().await.unwrap();
    let clientlet = plain(&gateway).await;
    let document = json!({"text": "a b c"});
    let mut documents =
        clientlet.stream_document("/stream", &document).unwrap().stream::<serde_json::Value>();
    let mut count = 0;
    while let Some(document) = soon(documents.next()).await {
        document.unwrap();
        count += 1;
    }
    assert!(count > 0);
    assert_eq!(gateway.journal().grpc_connections(), 1);
}

#[tokio::test]
async fn a_unary_request_is_answered_or_fails_with_the_executors_exception() {
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    let response = soon(clientlet.send_message(&request("a")).into_future()).await.unwrap();
    assert_eq!(response.request_id(), "a");
    assert_eq!(response.documents::<Document>().unwrap()[0].text.as_deref(), Some("HELLO"));
    let error = clientlet.send_message(&failing("bad")).await.unwrap_err();
    assert_eq!((error.kind(), error.request_id()), (ErrorKind::Executor, Some("bad")));
    assert!(error.message().contains("boom"), "{error}");
    assert_eq!(error.response().unwrap().documents::<Document>().unwrap().len(), 1);
}

#[tokio::test]
async fn metadata_of_the_session_and_of_the_call_is_sent_and_the_calls_takes_precedence() {
    let gateway = gateway_with(&[]).await;
    let options = ClientletOptions::new().header("x-who", "session").bearer_token("t");
    let clientlet = started(&gateway, &options).await;
    clientlet.message(&request("a")).header("X-Who", "call").send().await.unwrap();
    let stream = clientlet.open_stream().await.unwrap();
    stream.send_message(&request("b")).await.unwrap();
    gateway.journal().wait_for(2).await;
    let who: Vec<_> = gateway
        .journal()
        .entries()
        .iter()
        .map(|entry| (entry.headers["x-who"].clone(), entry.headers["authorization"].clone()))
        .collect();
    assert_eq!(who[0], ("call".parse().unwrap(), "Bearer t".parse().unwrap()));
    assert_eq!(who[1], ("session".parse().unwrap(), "Bearer t".parse().unwrap()));
    let error = clientlet.message(&request("c")).header("grpc-timeout", "1S").send().await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_deadline_ends_a_request_that_may_have_arrived() {
    let gateway = gateway_with(&["stall@1"]).await;
    let clientlet = plain(&gateway).await;
    let request = request("a");
    let late = clientlet.message(&request).timeout(Duration::from_secs(1)).send();
    let error = soon(late.into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Unknown));
}

#[tokio::test]
async fn sending_is_retried_over_a_new_connection_and_each_attempt_is_reported() {
    let gateway = gateway_with(&["drop@1-2"]).await;
    let clientlet = started(&gateway, &hasty(3)).await;
    let response = soon(clientlet.send_message(&request("a")).into_future()).await.unwrap();
    assert_eq!(response.request_id(), "a");
    assert_eq!(gateway.journal().arrivals()["a"], 3);
    assert_eq!(gateway.journal().grpc_connections(), 3);

    let gateway = gateway_with(&["drop@1-9"]).await;
    let clientlet = started(&gateway, &hasty(3)).await;
    let error = soon(clientlet.send_message(&request("a")).into_future()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    assert_eq!(error.attempts().len(), 3);
}

#[tokio::test]
async fn an_answer_to_another_request_or_beyond_the_limit_is_an_error() {
    let gateway = gateway_with(&["unknown-id@1", "oversize:100000@2"]).await;
    let clientlet = started(&gateway, &ClientletOptions::new().answer_limit(50_000)).await;
    let error = clientlet.send_message(&request("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    let error = clientlet.send_message(&request("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn requests_sent_before_the_end_of_input_are_answered_before_the_status() {
    let gateway = gateway_with(&["slow:0.2@2"]).await;
    let clientlet = plain(&gateway).await;
    let mut stream = clientlet.open_stream().await.unwrap();
    for id in ["a", "b", "c"] {
        stream.send_message(&request(id)).await.unwrap();
    }
    stream.send_eoi().await.unwrap();
    let mut responses = stream.recv_message();
    assert_eq!(responses.status_code(), None);
    assert_eq!(rest(&mut responses).await, ["a", "c", "b"], "answers come as they are ready");
    assert_eq!(
        (responses.status_code(), responses.status_message()),
        (Some(GrpcCode::Ok), Some(""))
    );
    assert!(responses.next().await.is_none());
    assert_eq!(stream.status_code(), Some(GrpcCode::Ok));
    let error = stream.send_message(&request("d")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Closed, Delivery::NotSent));
    assert_eq!(gateway.journal().len(), 3);
}

#[tokio::test]
async fn streams_and_single_requests_share_a_connection() {
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    let mut streams: Vec<GrpcStream> = Vec::new();
    for _ in 0..3 {
        streams.push(clientlet.open_stream().await.unwrap());
    }
    for (n, stream) in streams.iter().enumerate() {
        stream.send_message(&request(&n.to_string())).await.unwrap();
    }
    clientlet.send_message(&request("alone")).await.unwrap();
    for (n, stream) in streams.iter_mut().enumerate() {
        let response = soon(stream.recv_message().next()).await.unwrap().unwrap();
        assert_eq!(response.request_id(), n.to_string());
    }
    assert_eq!(gateway.journal().grpc_connections(), 1);
}

#[tokio::test]
async fn an_exception_on_a_stream_is_an_item_and_the_other_answers_come() {
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    let mut stream = clientlet.open_stream().await.unwrap();
    stream.send_message(&failing("bad")).await.unwrap();
    stream.send_message(&request("good")).await.unwrap();
    stream.send_eoi().await.unwrap();
    let mut responses = stream.recv_message();
    let error = soon(responses.next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.request_id()), (ErrorKind::Executor, Some("bad")));
    assert_eq!(rest(&mut responses).await, ["good"]);
    assert_eq!(responses.status_code(), Some(GrpcCode::Ok));
}

#[tokio::test]
async fn an_executor_that_is_down_ends_the_answers_with_unavailable() {
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    let mut stream = clientlet.open_stream().await.unwrap();
    stream.send_message(&request("a")).await.unwrap();
    let mut responses = stream.recv_message();
    assert_eq!(soon(responses.next()).await.unwrap().unwrap().request_id(), "a");
    gateway.control().executor_down(true);
    stream.send_message(&request("lost")).await.unwrap();
    let mut responses = stream.recv_message();
    assert!(
        soon(responses.next()).await.is_none(),
        "the bare answer before the status is not an answer"
    );
    assert_eq!(responses.status_code(), Some(GrpcCode::Unavailable));
    assert!(responses.status_message().unwrap().contains("deployment"));
}

#[tokio::test]
async fn a_lost_stream_ends_the_answers_and_sending_continues_over_a_new_one() {
    for (fault, code, connections) in [
        ("drop@3", GrpcCode::Unavailable, 2),
        ("reset-after@3", GrpcCode::Unavailable, 2),
        ("goaway:2@3", GrpcCode::Unavailable, 2),
        ("reset-stream@3", GrpcCode::Internal, 2),
        ("reset-stream:8@3", GrpcCode::Cancelled, 2),
        ("reset-stream:11@3", GrpcCode::ResourceExhausted, 2),
        ("truncated@3", GrpcCode::Unknown, 2),
        ("grpc-status:14:restarting@3", GrpcCode::Unavailable, 1),
        ("half-close@3", GrpcCode::Ok, 1),
    ] {
        let gateway = gateway_with(&[fault]).await;
        let clientlet = started(&gateway, &hasty(3)).await;
        let mut stream = clientlet.open_stream().await.unwrap();
        for id in ["a", "b"] {
            stream.send_message(&request(id)).await.unwrap();
            let response = soon(stream.recv_message().next()).await.unwrap().unwrap();
            assert_eq!(response.request_id(), id);
        }
        stream.send_message(&request("lost")).await.unwrap();
        let mut responses = stream.recv_message();
        assert!(soon(responses.next()).await.is_none(), "{fault}");
        assert_eq!(
            responses.status_code(),
            Some(code),
            "{fault}: {:?}",
            responses.status_message()
        );

        // The stream is dead by now: the first attempt fails, and the second opens another.
        stream.send_message(&request("c")).await.unwrap();
        stream.send_eoi().await.unwrap();
        let mut responses = stream.recv_message();
        assert_eq!(rest(&mut responses).await, ["c"], "the lost answer never comes: {fault}");
        assert_eq!(responses.status_code(), Some(GrpcCode::Ok));
        assert_eq!(gateway.journal().grpc_connections(), connections, "{fault}");
        assert_eq!(gateway.journal().arrivals()["c"], 1);
    }
}

#[tokio::test]
async fn a_stream_continues_on_a_connection_that_is_left_and_new_calls_use_another() {
    // A GOAWAY with and without the stream as its last one.
    for (goaway, is_cut) in [
        ("goaway@2", false),
        ("goaway-after@2", false),
        ("goaway@2", true),
        ("goaway-after@2", true),
    ] {
        let faults = [goaway, "drop@5"];
        let gateway = gateway_with(&faults[..1 + usize::from(is_cut)]).await;
        let clientlet = plain(&gateway).await;
        let mut stream = clientlet.open_stream().await.unwrap();
        for id in ["a", "b"] {
            stream.send_message(&request(id)).await.unwrap();
            let response = soon(stream.recv_message().next()).await.unwrap().unwrap();
            assert_eq!(response.request_id(), id);
        }
        // The GOAWAY may come after the answer. Until then the old connection is used.
        soon(async {
            while gateway.journal().grpc_connections() == 1 {
                clientlet.status().await.unwrap();
            }
        })
        .await;
        let response = clientlet.send_message(&request("alone")).await.unwrap();
        assert_eq!((response.request_id(), response.attempts()), ("alone", 1));
        stream.send_message(&request("c")).await.unwrap();
        let response = soon(stream.recv_message().next()).await.unwrap().unwrap();
        assert_eq!(response.request_id(), "c");

        if !is_cut {
            stream.send_eoi().await.unwrap();
            let mut responses = stream.recv_message();
            assert!(soon(responses.next()).await.is_none());
            assert_eq!(responses.status_code(), Some(GrpcCode::Ok), "{goaway}");
            assert_eq!(gateway.journal().grpc_connections(), 2);
            continue;
        }
        stream.send_message(&request("lost")).await.unwrap();
        let mut responses = stream.recv_message();
        assert!(soon(responses.next()).await.is_none());
        assert_eq!(
            responses.status_code(),
            Some(GrpcCode::Unavailable),
            "{:?}",
            responses.status_message()
        );
        let error = stream.send_message(&request("d")).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::NotSent));
        let entries = gateway.journal().entries();
        let on: BTreeSet<_> = entries.iter().map(|entry| entry.connection).collect();
        let stays = entries.iter().filter(|entry| entry.connection == entries[0].connection);
        assert_eq!((on.len(), stays.count()), (2, 4), "{goaway}");
    }
}

#[tokio::test]
async fn an_unprocessed_stream_says_so_and_an_unprocessed_unary_request_begins_anew() {
    for fault in ["goaway-after@1", "goaway-after:11@1", "reset-stream:7@1"] {
        let gateway = gateway_with(&[fault]).await;
        let clientlet = plain(&gateway).await;
        let mut stream = clientlet.open_stream().await.unwrap();
        stream.send_message(&request("a")).await.unwrap();
        let mut responses = stream.recv_message();
        assert!(soon(responses.next()).await.is_none());
        assert_eq!(responses.status_code(), Some(GrpcCode::Unavailable), "{fault}");
        let words = responses.status_message().unwrap();
        assert!(words.contains("the gateway did not take the request"), "{fault}: {words}");
        assert_eq!(gateway.journal().len(), 0);
        let mut stream = clientlet.open_stream().await.unwrap();
        stream.send_message(&request("a")).await.unwrap();
        assert_eq!(soon(stream.recv_message().next()).await.unwrap().unwrap().request_id(), "a");

        let gateway = gateway_with(&[fault]).await;
        let clientlet = plain(&gateway).await;
        let response = clientlet.send_message(&request("a")).await.unwrap();
        assert_eq!(response.attempts(), 1, "{fault}");
        assert_eq!((gateway.journal().len(), gateway.journal().refused()), (1, 1), "{fault}");
    }
}

#[tokio::test]
async fn without_retries_a_dead_stream_is_an_error_and_another_can_be_opened() {
    let gateway = gateway_with(&["drop@1"]).await;
    let clientlet = plain(&gateway).await;
    let mut stream = clientlet.open_stream().await.unwrap();
    stream.send_message(&request("lost")).await.unwrap();
    assert!(soon(stream.recv_message().next()).await.is_none());
    let error = stream.send_message(&request("a")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::NotSent));
    assert_eq!((error.attempts().len(), error.request_id()), (1, Some("a")));
    let mut stream = clientlet.open_stream().await.unwrap();
    stream.send_message(&request("a")).await.unwrap();
    assert_eq!(soon(stream.recv_message().next()).await.unwrap().unwrap().request_id(), "a");
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_answers_with_an_error_that_names_the_limit() {
    let gateway = gateway_with(&["oversize:100000@1"]).await;
    let clientlet = started(&gateway, &ClientletOptions::new().answer_limit(50_000)).await;
    let mut stream = clientlet.open_stream().await.unwrap();
    stream.send_message(&request("a")).await.unwrap();
    let mut responses = stream.recv_message();
    let error = soon(responses.next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("50000"), "{error}");
    assert!(soon(responses.next()).await.is_none());
    assert_eq!(responses.status_code(), Some(GrpcCode::OutOfRange));
    clientlet.send_message(&request("b")).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_an_error_and_the_other_answers_come() {
    let gateway = gateway_with(&["malformed@1"]).await;
    let clientlet = plain(&gateway).await;
    let mut stream = clientlet.open_stream().await.unwrap();
    stream.send_message(&request("a")).await.unwrap();
    stream.send_message(&request("b")).await.unwrap();
    stream.send_eoi().await.unwrap();
    let mut responses = stream.recv_message();
    assert_eq!(soon(responses.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(rest(&mut responses).await, ["b"]);
}

#[tokio::test]
async fn sending_and_receiving_happen_at_the_same_time_and_a_cancelled_receiver_loses_no_answer() {
    const COUNT: usize = 2000;
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    let mut stream = clientlet.open_stream().await.unwrap();
    let sender = stream.sender();
    let sending = tokio::spawn(async move {
        for n in 0..COUNT {
            sender.send_message(&request(&n.to_string())).await.unwrap();
        }
        sender.send_eoi().await.unwrap();
    });
    let mut ids = BTreeSet::new();
    let mut responses = stream.recv_message();
    soon(async {
        for n in 0.. {
            tokio::select! {
                biased;
                next = responses.next() => match next {
                    Some(response) => {
                        assert!(ids.insert(response.unwrap().request_id().to_owned()));
                    }
                    None => break,
                },
                () = async { for _ in 0..n % 4 { tokio::task::yield_now().await } } => {}
            }
        }
    })
    .await;
    assert_eq!((ids.len(), responses.status_code()), (COUNT, Some(GrpcCode::Ok)));
    sending.await.unwrap();
}

#[tokio::test]
async fn a_sending_that_is_cancelled_sends_whole_messages_or_none() {
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    let mut stream = clientlet.open_stream().await.unwrap();
    let text = "x".repeat(30_000);
    for n in 0..200 {
        let request = DataRequest::proto(DocArray::V1, "/").with_request_id(n.to_string());
        let request = request.document(&Document::text(&*text)).unwrap();
        tokio::select! {
            biased;
            sent = stream.send_message(&request) => sent.unwrap(),
            () = async { for _ in 0..n % 5 { tokio::task::yield_now().await } } => {}
        }
    }
    stream.send_eoi().await.unwrap();
    let mut responses = stream.recv_message();
    let mut answered = BTreeSet::new();
    while let Some(response) = soon(responses.next()).await {
        assert!(answered.insert(response.unwrap().request_id().to_owned()));
    }
    assert_eq!(responses.status_code(), Some(GrpcCode::Ok), "no message was cut");
    let arrived: BTreeSet<String> = gateway.journal().arrivals().into_keys().collect();
    assert_eq!(arrived, answered);
}

#[tokio::test]
async fn answers_that_the_caller_does_not_take_stop_the_gateway() {
    let gateway = gateway_with(&[]).await;
    let options = hasty(1).answer_limit(1 << 20).attempt_timeout(Duration::from_secs(2));
    let clientlet = started(&gateway, &options).await;
    let mut stream = clientlet.open_stream().await.unwrap();
    let text = "x".repeat(500_000);
    let error = soon(async {
        loop {
            let request = DataRequest::proto(DocArray::V1, "/");
            let request = request.document(&Document::text(&*text)).unwrap();
            if let Err(error) = stream.send_message(&request).await {
                break error;
            }
        }
    })
    .await;
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
    stream.send_eoi().await.unwrap_err();
    assert_eq!(
        soon(stream.recv_message().next())
            .await
            .unwrap()
            .unwrap()
            .documents::<Document>()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_clientlet_works_between_start_and_close_and_can_be_started_again() {
    let gateway = gateway_with(&[]).await;
    let mut clientlet = GrpcClientlet::new(&gateway.grpc_url(), &ClientletOptions::new()).unwrap();
    for round in 1..=2 {
        let error = clientlet.send_message(&request("x")).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Closed, Delivery::NotSent));
        assert_eq!(clientlet.open_stream().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(clientlet.send_dry_run().await.unwrap_err().kind(), ErrorKind::Closed);
        clientlet.start().await.unwrap();
        clientlet.start().await.unwrap();
        assert!(clientlet.is_open());
        clientlet.send_message(&request("a")).await.unwrap();
        let mut stream = clientlet.open_stream().await.unwrap();
        stream.send_message(&request("b")).await.unwrap();
        assert!(soon(stream.recv_message().next()).await.is_some());
        clientlet.close().await;
        assert!(!clientlet.is_open());
        assert!(soon(stream.recv_message().next()).await.is_none());
        assert_eq!(stream.status_code(), Some(GrpcCode::Cancelled));
        assert_eq!(
            stream.send_message(&request("c")).await.unwrap_err().delivery(),
            Delivery::NotSent
        );
        assert_eq!(gateway.journal().grpc_connections(), round);
    }
}

#[tokio::test]
async fn dropping_a_clientlet_closes_its_connection_and_dropping_a_stream_cancels_it() {
    let gateway = gateway_with(&["stall@1"]).await;
    let clientlet = plain(&gateway).await;
    let stream = clientlet.open_stream().await.unwrap();
    let sender = stream.sender();
    sender.send_message(&request("a")).await.unwrap();
    drop(stream);
    assert_eq!(sender.send_message(&request("b")).await.unwrap_err().kind(), ErrorKind::Closed);
    clientlet.send_message(&request("c")).await.unwrap();
    drop(clientlet);
    // A gateway waits for its connections, so it stops at once only if they have closed.
    tokio::time::timeout(Duration::from_secs(4), gateway.stop()).await.unwrap();
}

#[tokio::test]
async fn requests_and_options_that_grpc_does_not_have_are_refused_with_advice() {
    let gateway = gateway_with(&[]).await;
    let clientlet = plain(&gateway).await;
    let json = DataRequest::new(DocArray::V1, "/");
    let stream = clientlet.open_stream().await.unwrap();
    let errors = [
        clientlet.send_message(&json).await.unwrap_err(),
        stream.send_message(&json).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Encode, Delivery::NotSent));
        assert!(error.message().contains("DataRequest::proto"), "{error}");
    }
    assert!(gateway.journal().is_empty());
    let error = GrpcClientlet::new("http://h/", &ClientletOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let mut absent = GrpcClientlet::new("grpc://127.0.0.1:1", &ClientletOptions::new()).unwrap();
    assert_eq!(absent.start().await.unwrap_err().kind(), ErrorKind::Connect);
}
