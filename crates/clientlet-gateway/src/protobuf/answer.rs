//! Running a request, and the answer to it.

use std::sync::LazyLock;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use prost::Message as _;

use super::structs::{self, with_results};
use super::{
    Data, Header, Message, Raised, Request, Route, Status, Timestamp, v1, v2, write_bytes,
};
use crate::docarray::DocArray;
use crate::exception::Exception;
use crate::executor::{Executors, Journey, travel};
use crate::outage::Outage;
use crate::request::About;
use crate::sample::{Change, Outcome, Sample};
use crate::schema::{ITEM, Schema};
use crate::target::Target;
use crate::world::World;

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// This answer.
    Answer(Bytes),
    /// No answer, because the executor did not give one.
    Outage(Outage),
    /// No answer, because a handler answered this status of HTTP, and when to come again.
    Status(u16, Option<String>),
    /// The gateway breaks off without a word.
    Broken,
}

impl Request {
    /// Runs the request, which came with these headers.
    pub(crate) async fn answer(mut self, world: &World, headers: &HeaderMap) -> Verdict {
        let header = self.message.header.as_ref();
        let target_executor = header.and_then(|header| header.target_executor.clone());
        let expression = target_executor.as_deref().unwrap_or_default();
        let target = match world.target(self.endpoint(), expression) {
            Ok(target) => target,
            Err(None) => return Verdict::Broken,
            Err(Some(exception)) => {
                let journey = world.fail(self.endpoint(), exception);
                return self.finish(journey);
            }
        };
        let sample = world.sample(self.endpoint(), self.docarray, &target);
        let own = world.own(self.endpoint(), &target).is_some();
        if let Some(outage) = Outage::now(&world.control).filter(|_| sample.is_some() || own) {
            return Verdict::Outage(outage);
        }
        let journey = match (sample, &world.executors) {
            (Some(sample), _) => self.run_sample(sample, world).await,
            (None, Some(executors)) if own => {
                self.run_own(executors, world, &target, target_executor, headers).await
            }
            (None, Some(executors)) => executors.skip(),
            (None, None) => Journey::skipped(),
        };
        match journey.status {
            Some((code, retry_after)) => Verdict::Status(code, retry_after),
            None => self.finish(journey),
        }
    }

    async fn run_sample(&mut self, sample: Sample, world: &World) -> Journey {
        let began = SystemTime::now();
        let sent = self.message.parameters.clone().unwrap_or_default();
        let changed = self.docs().and_then(|docs| match self.docarray {
            DocArray::V1 => Ok(v1::change(&docs, sample.change(), &world.ids)),
            DocArray::V2 => v2::change(&docs, &ITEM, sample.change(), &world.ids),
        });
        let (outcome, docs) = match changed {
            Ok(docs) => (sample.run(|| structs::read(&sent)).await, docs),
            Err(exception) => (Outcome::Failed(exception), Bytes::new()),
        };
        let count = super::documents(&docs).count();
        let docs = match (&outcome, self.docarray) {
            (Outcome::Failed(_), _) => None,
            (Outcome::Documents(bulk), DocArray::V1) => Some(v1::bulk(*bulk)),
            (Outcome::Documents(bulk), DocArray::V2) => Some(v2::bulk(*bulk, &world.ids)),
            (Outcome::Changed | Outcome::Results, _) => Some(docs),
        };
        if docs.is_some() {
            self.message.data = Some(Data { docs, docs_bytes: None });
        }
        Journey::of_sample(outcome, began, || structs::read(&sent), count)
    }

    async fn run_own(
        &mut self,
        executors: &Executors,
        world: &World,
        target: &Target,
        target_executor: Option<String>,
        headers: &HeaderMap,
    ) -> Journey {
        let first = executors.first_for(self.endpoint(), target);
        let read = self.docs().and_then(|docs| match self.docarray {
            DocArray::V1 => Ok(super::documents(&docs).map(v1::read).collect()),
            DocArray::V2 => {
                let class = first.map_or_else(Schema::open, |(_, takes)| takes.clone());
                let docs = v2::change(&docs, &class, Change::None, &world.ids)?;
                Ok(super::documents(&docs).map(v2::read).collect())
            }
        });
        let documents = match read {
            Ok(documents) => documents,
            Err(exception) => return executors.fail(self.endpoint(), target, exception),
        };
        let about = About {
            docarray: self.docarray,
            endpoint: self.endpoint().to_owned(),
            parameters: structs::read(self.message.parameters.as_deref().unwrap_or_default()),
            headers: headers.clone(),
            request_id: self.id().map(str::to_owned),
            target_executor,
        };
        let mut journey =
            travel(&world.ids, &world.mistakes, executors, about, target, documents).await;
        if let Some(documents) = journey.documents.take() {
            let class = executors.last_for(self.endpoint(), target);
            let mut docs = Vec::new();
            for document in &documents {
                let written = match self.docarray {
                    DocArray::V1 => v1::write(document),
                    DocArray::V2 => v2::write(class.unwrap_or(&OPEN), document),
                };
                write_bytes(&mut docs, 1, &written);
            }
            self.message.data = Some(Data { docs: Some(docs.into()), docs_bytes: None });
        }
        journey
    }

    /// The documents, as the executor finds them.
    ///
    /// # Errors
    ///
    /// The documents came as bytes that are no list of documents v2. Bytes of documents v1 would be
    /// a pickle, which is never read.
    pub(super) fn docs(&self) -> Result<Bytes, Exception> {
        let Some(data) = &self.message.data else {
            return Ok(Bytes::new());
        };
        match (&data.docs_bytes, self.docarray) {
            (None, _) => Ok(data.docs.clone().unwrap_or_default()),
            (Some(_), DocArray::V1) => Err(Exception::unpickling()),
            (Some(bytes), DocArray::V2) if super::shape::DOCUMENTS_V2.fits(bytes) => {
                Ok(bytes.clone())
            }
            (Some(_), DocArray::V2) => Err(Exception::decoding()),
        }
    }

    /// The answer, as the executors left the request.
    fn finish(mut self, journey: Journey) -> Verdict {
        let status = journey.failure().map(|(exception, class)| status(exception, class));
        let sent = self.message.header.unwrap_or_default();
        let header =
            Header { status: status.or(sent.status), target_executor: Some(String::new()), ..sent };
        let mut routes = vec![Route {
            executor: "gateway".into(),
            start_time: Some(self.began),
            end_time: Some(Timestamp::now()),
            status: None,
        }];
        routes.extend(journey.stops.into_iter().map(|stop| Route {
            status: stop.failure.as_ref().map(|exception| self::status(exception, &stop.class)),
            executor: stop.executor,
            start_time: Some(stop.ran.map_or(self.began, |(began, _)| began.into())),
            // A deployment that was skipped has no end.
            end_time: stop.ran.map(|(_, ended)| ended.into()),
        }));
        let mut parameters = self.message.parameters.take().unwrap_or_default();
        if !journey.results.is_empty() {
            parameters = with_results(&parameters, journey.results).into();
        }
        let answer = Message {
            header: Some(header),
            parameters: Some(parameters),
            routes,
            data: self.message.data,
        };
        Verdict::Answer(answer.encode_to_vec().into())
    }
}

/// The class of endpoints that have no class of their own.
static OPEN: LazyLock<Schema> = LazyLock::new(Schema::open);

pub(super) fn status(exception: &Exception, class: &str) -> Status {
    Status {
        code: 1,
        description: exception.to_string(),
        exception: Some(Raised {
            name: exception.name().into(),
            args: exception.arguments().map(Into::into).collect(),
            stacks: vec!["Traceback (most recent call last):\n".into(), exception.last_line()],
            executor: class.into(),
        }),
    }
}
