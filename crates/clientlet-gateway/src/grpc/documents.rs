//! `stream_doc`: one document in, one after another out.

use std::future::{pending, poll_fn};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::sleep;

use super::finish::{Finish, compressed};
use super::inbox::Broken;
use super::outbox::COMPRESSED;
use super::services::Service;
use super::status::{DEADLINE, SHUTDOWN, Status, time_out};
use super::stream::Stream;
use super::{End, Unheard};
use crate::delivery::Delivery;
use crate::fault::FaultKind;
use crate::journal::Sent;
use crate::outage::Outage;
use crate::protobuf::single::{self, SingleRequest, answer_of};
use crate::schema::PART;
use crate::streaming::Run;

/// How often the document comes back if the endpoint is not bound.
const ECHOES: usize = 4;

/// Serves a stream to its end.
pub(super) async fn serve(mut stream: Stream) -> Option<Unheard> {
    let finish = run(&mut stream).await;
    stream.finish(finish).await
}

async fn run(stream: &mut Stream) -> Finish {
    let limit = time_out(stream.headers());
    let world = Arc::clone(&stream.shared.world);
    let deadline = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        finish = answer(stream) => finish,
        () = deadline => Finish::Status(DEADLINE),
        () = world.stops() => Finish::Status(SHUTDOWN),
    }
}

async fn answer(stream: &mut Stream) -> Finish {
    let message = match poll_fn(|cx| stream.inbox.poll_message(cx)).await {
        Some(Ok(message)) => message,
        Some(Err(Broken::Gone)) => return Finish::Gone,
        Some(Err(Broken::Status(status))) => return Finish::Status(status),
        None => return Finish::Status(Status::internal("the request has no message")),
    };
    let world = Arc::clone(&stream.shared.world);
    let asked = SingleRequest::read(message.clone());
    let drawn = match stream.draw(Service::StreamDocument, true) {
        Ok(drawn) => drawn,
        Err(finish) => return finish,
    };
    let place = stream.note(&drawn, asked.as_ref().map(SingleRequest::request), |docarray| {
        Some(Sent::new(docarray, &message, single::content))
    });
    let Some(asked) = asked else {
        return Finish::Status(Status::unknown(
            "Unexpected <class 'google.protobuf.message.DecodeError'>: Error parsing message with \
             type 'jina.SingleDocumentRequestProto'",
        ));
    };
    match &drawn.fault {
        Some(FaultKind::Stall) => {
            poll_fn(|cx| stream.outbox.poll_reset(cx)).await;
            return Finish::Gone;
        }
        Some(FaultKind::Slow(time)) => sleep(*time).await,
        Some(FaultKind::GoAway(0)) => stream.shared.end(End::GoAway(0)),
        Some(fault) => {
            if let Some(finish) = Finish::by(fault) {
                return finish;
            }
        }
        None => {}
    }
    let delivery = Delivery::new(Arc::clone(&world), place);
    let endpoint = asked.request().endpoint();
    if world.streams(endpoint) {
        let takes = world.executors.as_ref().and_then(|executors| executors.stream(endpoint));
        let takes = takes.map_or(&*PART, |(_, endpoint)| &endpoint.takes);
        let run = match asked.document(takes, &world.ids) {
            Ok(document) => Run::begin(&world, asked.about(stream.headers()), document).await,
            Err(_) => None,
        };
        return match run.unwrap_or_else(|| Ok(Run::empty())) {
            Ok(run) => give(stream, delivery, run, drawn.fault).await,
            Err((code, retry_after)) => {
                delivery.break_off();
                Finish::http(code, retry_after)
            }
        };
    }
    let answers = match world.binds(endpoint) {
        true => vec![asked.no_generator()],
        false => vec![asked.untouched(); ECHOES],
    };
    for answer in answers {
        stream.outbox.send(answer);
    }
    if !stream.outbox.flush().await {
        return Finish::Gone;
    }
    delivery.end();
    Finish::Status(Status::OK)
}

/// Sends one document after another. A fault strikes the first.
async fn give(
    stream: &mut Stream,
    delivery: Delivery,
    mut run: Run,
    mut fault: Option<FaultKind>,
) -> Finish {
    loop {
        if let Some(outage) = Outage::now(&delivery.world().control) {
            let kind = "Unexpected <class 'jina.excepts.InternalNetworkError'>: ";
            let message = format!("{kind}{}", outage.description()).into();
            delivery.break_off();
            return Finish::Status(Status { message, ..Status::unknown("") });
        }
        let given = tokio::select! {
            biased;
            () = poll_fn(|cx| stream.outbox.poll_reset(cx)) => return Finish::Gone,
            given = run.next(delivery.world()) => given,
        };
        let Some(given) = given else {
            delivery.end();
            return Finish::Status(Status::OK);
        };
        let mut message = answer_of(run.class(), &given, &delivery.world().ids);
        let mut packed = None;
        match fault.take() {
            Some(kind @ (FaultKind::Truncated | FaultKind::ResetMid)) => {
                delivery.break_off();
                return Finish::Cut { message, reset: kind == FaultKind::ResetMid };
            }
            Some(FaultKind::WrongType) => {
                delivery.break_off();
                return Finish::http(200, None);
            }
            // No key of a field is this long, so the message cannot be decoded.
            Some(FaultKind::Malformed) => message = Bytes::from_static(&[0xff; 16]),
            Some(FaultKind::Oversize(bytes)) => message = vec![0; bytes].into(),
            Some(FaultKind::Twice) => stream.outbox.send(message.clone()),
            Some(kind) => packed = compressed(&kind, &message),
            None => {}
        }
        match packed {
            Some(packed) => stream.outbox.push(COMPRESSED, &packed, packed.len()),
            None => stream.outbox.send(message),
        }
        if !stream.outbox.flush().await {
            return Finish::Gone;
        }
        delivery.streamed();
    }
}
