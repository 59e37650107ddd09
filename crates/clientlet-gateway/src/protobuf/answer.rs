//! Running a request and answering it.

use bytes::Bytes;
use prost::Message as _;

use super::structs::{to_json, with_results};
use super::{Data, Header, Message, Raised, Request, Route, Status, Timestamp, v1, v2};
use crate::docarray::DocArray;
use crate::endpoint::{self, CLASS, DEPLOYMENT, Endpoint, Exception, Outcome};
use crate::outage::Outage;
use crate::world::World;

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// This answer.
    Answer(Bytes),
    /// No answer, because the executor did not give one.
    Outage(Outage),
    /// The gateway breaks off without a word.
    Broken,
}

impl Request {
    /// The endpoint that will run, of those bound, if any will.
    ///
    /// # Errors
    ///
    /// `target_executor` is no regular expression.
    fn runs(&self, world: &World) -> Result<Option<Endpoint>, regex_lite::Error> {
        let header = self.message.header.as_ref();
        let target = header.and_then(|header| header.target_executor.as_deref());
        if !endpoint::is_target(target.unwrap_or_default())? {
            return Ok(None);
        }
        let bound = world.bindings.find(self.endpoint()).filter(|bound| {
            // Executors of documents v1 have no need of /json_rich.
            self.docarray == DocArray::V2 || *bound != Endpoint::JsonRich
        });
        Ok(bound.or_else(|| world.bindings.find("/default")))
    }

    /// Runs the request. Only `/slow` takes time.
    pub(crate) async fn answer(mut self, world: &World) -> Verdict {
        let Ok(runs) = self.runs(world) else {
            return Verdict::Broken;
        };
        let Some(endpoint) = runs else {
            return self.finish(None, None);
        };
        if let Some(outage) = Outage::now(&world.control) {
            return Verdict::Outage(outage);
        }
        let executor_began = Timestamp::now();
        let failure = self.run(endpoint, world).await.err();
        self.finish(Some((executor_began, Timestamp::now())), failure.as_ref())
    }

    /// # Errors
    ///
    /// What the executor raises; the documents are untouched then.
    async fn run(&mut self, endpoint: Endpoint, world: &World) -> Result<(), Exception> {
        let docs = self.docs()?;
        let docs = match self.docarray {
            DocArray::V1 => v1::change(&docs, endpoint.change(), &world.ids),
            DocArray::V2 => v2::change(&docs, endpoint.change(), &world.ids)?,
        };
        let sent = self.message.parameters.clone().unwrap_or_default();
        // The others do not look at them.
        let parameters = matches!(endpoint, Endpoint::Fail | Endpoint::Big | Endpoint::Slow)
            .then(|| serde_json::Value::Object(to_json(&sent)).to_string());
        let docs = match endpoint.run(parameters.as_deref()).await {
            Outcome::Changed => docs,
            Outcome::Results => {
                let results = with_results(&sent, super::documents(&docs).count());
                self.message.parameters = Some(results.into());
                docs
            }
            Outcome::Documents(bulk) => match self.docarray {
                DocArray::V1 => v1::bulk(bulk),
                DocArray::V2 => v2::bulk(bulk, &world.ids),
            },
            Outcome::Failed(exception) => return Err(exception),
        };
        self.message.data = Some(Data { docs: Some(docs), docs_bytes: None });
        Ok(())
    }

    /// The documents, as the executor finds them.
    ///
    /// # Errors
    ///
    /// They came as bytes that are no list of documents v2. Of v1 they would be a pickle, which
    /// nobody should read.
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

    /// The answer, with the times at which the executor began and ended if it ran.
    fn finish(self, ran: Option<(Timestamp, Timestamp)>, failure: Option<&Exception>) -> Verdict {
        let status = failure.map(status);
        let sent = self.message.header.unwrap_or_default();
        let header = Header {
            status: status.clone().or(sent.status),
            target_executor: Some(String::new()),
            ..sent
        };
        let routes = vec![
            Route {
                executor: "gateway".into(),
                start_time: Some(self.began),
                end_time: Some(Timestamp::now()),
                status: None,
            },
            Route {
                executor: DEPLOYMENT.into(),
                start_time: Some(ran.map_or(self.began, |(began, _)| began)),
                // A deployment that was skipped has no end.
                end_time: ran.map(|(_, ended)| ended),
                status,
            },
        ];
        let answer = Message {
            header: Some(header),
            parameters: Some(self.message.parameters.unwrap_or_default()),
            routes,
            data: self.message.data,
        };
        Verdict::Answer(answer.encode_to_vec().into())
    }
}

pub(super) fn status(exception: &Exception) -> Status {
    Status {
        code: 1,
        description: exception.description(),
        exception: Some(Raised {
            name: exception.name.into(),
            args: vec![exception.argument.clone()],
            stacks: vec!["Traceback (most recent call last):\n".into(), exception.last_line()],
            executor: CLASS.into(),
        }),
    }
}
