//! A test's own executors, and the way of a request through them.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::sleep;

use crate::docarray::DocArray;
use crate::endpoint::{Endpoint, IntoEndpoint};
use crate::exception::Exception;
use crate::identity::Ids;
use crate::mistakes::{Mistake, Mistakes};
use crate::reply::{Content, Reply};
use crate::request::{About, Request};
use crate::sample::{CLASS, DEPLOYMENT, Outcome, results};
use crate::schema::{Schema, Uncarried, V1};
use crate::target::Target;
use crate::value::{ReadError, Value};

/// The endpoint that answers requests to endpoints that are not bound.
pub(crate) const DEFAULT: &str = "/default";

/// An executor with endpoints of the test's own.
///
/// ```
/// use clientlet_gateway::{Executor, Gateway, Reply};
///
/// let encoder = Executor::new("encoder").on("/search", |_| Reply::unchanged());
/// let ranker = Executor::new("ranker").on("/search", |_| Reply::unchanged());
/// let builder = Gateway::builder().executor(encoder).executor(ranker);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Executor {
    pub(crate) name: Arc<str>,
    class: Option<Arc<str>>,
    endpoints: Vec<(String, Endpoint)>,
}

impl Executor {
    /// An executor without endpoints. Its name is what `target_executor` is matched against.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: Arc::from(name.into()), class: None, endpoints: Vec::new() }
    }

    /// The name of the executor's class, which exceptions are said to come from; by default the name of
    /// the executor.
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.class = Some(Arc::from(class.into()));
        self
    }

    /// Binds a handler to an endpoint. Binding the same endpoint again replaces the handler. The
    /// endpoint `/default` also answers requests to endpoints that the executor does not bind.
    pub fn on<M>(mut self, path: impl Into<String>, endpoint: impl IntoEndpoint<M>) -> Self {
        let path = path.into();
        self.endpoints.retain(|(bound, _)| *bound != path);
        self.endpoints.push((path, endpoint.into_endpoint()));
        self
    }

    /// The endpoint that answers requests for this path.
    fn find(&self, path: &str, is_stream: bool) -> Option<&Endpoint> {
        let bound = |path: &str| {
            let is_it = |(bound, endpoint): &&(String, Endpoint)| {
                bound == path && endpoint.is_stream == is_stream
            };
            self.endpoints.iter().find(is_it).map(|(_, endpoint)| endpoint)
        };
        bound(path).or_else(|| bound(DEFAULT))
    }
}

impl Executor {
    /// Why the executor `next` cannot stand behind this one, by the rules of a gateway of 3.33.1.
    fn conflict(&self, next: &Self) -> Option<String> {
        let (name, next_name) = (&self.name, &next.name);
        self.endpoints.iter().find_map(|(path, endpoint)| {
            let bound = |path: &str| next.endpoints.iter().find(|(bound, _)| bound == path);
            if let Some((_, after)) = bound(path) {
                let (gives, takes) = (&endpoint.gives, &after.takes);
                return (!gives.is_passed_on_to(takes)).then(|| {
                    let (gives, takes) = (gives.name(), takes.name());
                    format!(
                        "`{path}` of `{name}` gives `{gives}`, but that of `{next_name}` takes `{takes}`"
                    )
                });
            }
            (path != DEFAULT && bound(DEFAULT).is_none()).then(|| {
                format!(
                    "`{next_name}` cannot stand behind `{name}`, which binds `{path}`: a Flow of \
                     documents v2 starts only if `{next_name}` binds `{path}` or `{DEFAULT}` as well"
                )
            })
        })
    }
}

/// Executors in the order in which requests come to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Executors(pub(crate) Vec<Executor>);

/// An endpoint as the gateway shows it.
pub(crate) struct Shown<'e> {
    pub(crate) path: &'e str,
    /// The class that the first executor with the endpoint takes.
    pub(crate) takes: &'e Schema,
    /// The class that the last executor with the endpoint gives.
    pub(crate) gives: &'e Schema,
    pub(crate) is_stream: bool,
}

impl Executors {
    /// Binds an endpoint to the executor of those that name none.
    pub(crate) fn bind(&mut self, path: String, endpoint: Endpoint) {
        let index = self.0.iter().position(|executor| *executor.name == *DEPLOYMENT);
        let index = index.unwrap_or_else(|| {
            self.0.insert(0, Executor::new(DEPLOYMENT));
            0
        });
        let executor = &mut self.0[index];
        executor.endpoints.retain(|(bound, _)| *bound != path);
        executor.endpoints.push((path, endpoint));
    }

    /// Every endpoint that is bound, once, in the order of binding.
    pub(crate) fn endpoints(&self) -> Vec<Shown<'_>> {
        let mut shown: Vec<Shown<'_>> = Vec::new();
        for (path, endpoint) in self.0.iter().flat_map(|executor| &executor.endpoints) {
            let is_it = |known: &&mut Shown<'_>| {
                known.path == path && known.is_stream == endpoint.is_stream
            };
            match shown.iter_mut().find(is_it) {
                Some(known) => known.gives = &endpoint.gives,
                None => shown.push(Shown {
                    path,
                    takes: &endpoint.takes,
                    gives: &endpoint.gives,
                    is_stream: endpoint.is_stream,
                }),
            }
        }
        shown
    }

    /// The endpoint bound to exactly this path.
    pub(crate) fn find(&self, path: &str, is_stream: bool) -> Option<Shown<'_>> {
        let mut endpoints = self.endpoints().into_iter();
        endpoints.find(|shown| shown.path == path && shown.is_stream == is_stream)
    }

    /// The streaming endpoint bound to exactly this path, and its executor.
    pub(crate) fn stream(&self, path: &str) -> Option<(&Executor, &Endpoint)> {
        self.0.iter().find_map(|executor| {
            let is_it =
                |(bound, endpoint): &&(String, Endpoint)| bound == path && endpoint.is_stream;
            Some((executor, &executor.endpoints.iter().find(is_it)?.1))
        })
    }

    /// Whether any executor will run for a request.
    pub(crate) fn run_for(&self, path: &str, target: &Target) -> bool {
        self.each_for(path, target).next().is_some()
    }

    /// The first executor that runs for a request, and the class that it takes.
    pub(crate) fn first_for<'e>(
        &'e self,
        path: &'e str,
        target: &'e Target,
    ) -> Option<(&'e Executor, &'e Schema)> {
        let first = self.each_for(path, target).next();
        first.map(|(executor, endpoint)| (executor, &endpoint.takes))
    }

    /// The class that the last executor gives which runs for a request.
    pub(crate) fn last_for<'e>(&'e self, path: &'e str, target: &'e Target) -> Option<&'e Schema> {
        self.each_for(path, target).last().map(|(_, endpoint)| &endpoint.gives)
    }

    fn each_for<'e>(
        &'e self,
        path: &'e str,
        target: &'e Target,
    ) -> impl Iterator<Item = (&'e Executor, &'e Endpoint)> {
        let meant = self.0.iter().filter(|executor| target.is(&executor.name));
        meant.filter_map(|executor| Some((executor, executor.find(path, false)?)))
    }

    /// The way of a request that no executor runs for.
    pub(crate) fn skip(&self) -> Journey {
        let stops = self.0.iter().map(Stop::skipped).collect();
        Journey { stops, ..Journey::default() }
    }

    /// The way of a request whose documents the first executor cannot read.
    pub(crate) fn fail(&self, path: &str, target: &Target, exception: Exception) -> Journey {
        let first = self.first_for(path, target).map(|(executor, _)| &executor.name);
        let mut stops = Vec::new();
        for executor in &self.0 {
            stops.push(Stop::skipped(executor));
            if Some(&executor.name) == first {
                break;
            }
        }
        if let Some(stop) = stops.last_mut() {
            let now = SystemTime::now();
            stop.ran = Some((now, now));
            stop.failure = Some(exception);
        }
        Journey { stops, ..Journey::default() }
    }

    /// Why a Flow of such executors would not start.
    pub(crate) fn flaw(&self, docarray: DocArray) -> Option<String> {
        for executor in &self.0 {
            if executor.endpoints.iter().any(|(path, _)| path.is_empty()) {
                return Some(format!("an endpoint of `{}` has no name", executor.name));
            }
        }
        // Executors of documents v1 have no classes, and nothing is compared.
        if docarray == DocArray::V1 {
            return None;
        }
        let conflict = self.0.windows(2).find_map(|pair| match pair {
            [executor, next] => executor.conflict(next),
            _ => None,
        });
        conflict.or_else(|| self.unheard_stream())
    }

    /// Why a stream would never be heard. A real Flow starts with it all the same, and asks its first
    /// executor alone.
    fn unheard_stream(&self) -> Option<String> {
        let (first, others) = self.0.split_first()?;
        others.iter().find_map(|executor| {
            let mut streams = executor.endpoints.iter().filter(|(_, endpoint)| endpoint.is_stream);
            let (path, _) = streams.find(|(path, _)| first.find(path, true).is_none())?;
            let (first, name) = (&first.name, &executor.name);
            Some(format!(
                "`{path}` of `{name}` streams, but a Flow asks its first executor alone for streams: \
                 bind `{path}` to `{first}`"
            ))
        })
    }
}

/// How a request went through the executors.
#[derive(Default)]
pub(crate) struct Journey {
    /// The documents that go back, if an executor ran.
    pub(crate) documents: Option<Vec<Value>>,
    /// What executors reported, by the key of each.
    pub(crate) results: Vec<(String, Value)>,
    /// The executors that the request came to, in order: a failed one is the last.
    pub(crate) stops: Vec<Stop>,
    /// A status instead of an answer, and when to come again.
    pub(crate) status: Option<(u16, Option<String>)>,
}

/// An executor that a request came to.
pub(crate) struct Stop {
    pub(crate) executor: String,
    /// The name of the executor's class, which an exception is said to come from.
    pub(crate) class: String,
    /// When the executor began and ended; `None` if it was skipped.
    pub(crate) ran: Option<(SystemTime, SystemTime)>,
    pub(crate) failure: Option<Exception>,
}

impl Stop {
    fn skipped(executor: &Executor) -> Self {
        let class = executor.class.as_ref().unwrap_or(&executor.name).to_string();
        Self { executor: executor.name.to_string(), class, ran: None, failure: None }
    }
}

impl Journey {
    /// The way of a request that the sample executor does not run for.
    pub(crate) fn skipped() -> Self {
        let stop =
            Stop { executor: DEPLOYMENT.into(), class: CLASS.into(), ran: None, failure: None };
        Self { documents: None, results: Vec::new(), stops: vec![stop], status: None }
    }

    /// The way of a request that the sample executor fails at once.
    pub(crate) fn failed(exception: &Exception) -> Self {
        let now = SystemTime::now();
        let mut journey = Self::skipped();
        for stop in &mut journey.stops {
            stop.ran = Some((now, now));
            stop.failure = Some(exception.clone());
        }
        journey
    }

    /// The way through the sample executor, which has changed the documents itself.
    pub(crate) fn of_sample(
        outcome: Outcome,
        began: SystemTime,
        parameters: impl Fn() -> Value,
        documents: usize,
    ) -> Self {
        let mut journey = Self::skipped();
        let failure = match outcome {
            Outcome::Failed(exception) => Some(exception),
            Outcome::Results => {
                journey.results.push(results(parameters(), documents));
                None
            }
            Outcome::Changed | Outcome::Documents(_) => None,
        };
        for stop in &mut journey.stops {
            stop.ran = Some((began, SystemTime::now()));
            stop.failure.clone_from(&failure);
        }
        journey
    }

    /// The exception that ended it, and the class of the executor that raised it.
    pub(crate) fn failure(&self) -> Option<(&Exception, &str)> {
        let stop = self.stops.last()?;
        Some((stop.failure.as_ref()?, &stop.class))
    }
}

/// Sends a request through the executors that it is meant for.
pub(crate) async fn travel(
    ids: &Ids,
    mistakes: &Mistakes,
    executors: &Executors,
    about: About,
    target: &Target,
    documents: Vec<Value>,
) -> Journey {
    let about = Arc::new(about);
    let mut journey = Journey::default();
    let mut documents = Arc::new(documents);
    for executor in &executors.0 {
        let name = executor.name.to_string();
        let endpoint = executor.find(&about.endpoint, false).filter(|_| target.is(&name));
        let Some(endpoint) = endpoint else {
            journey.stops.push(Stop::skipped(executor));
            continue;
        };
        let began = SystemTime::now();
        let request = Request {
            documents: endpoint.takes.without_own_defaults(&documents),
            about: Arc::clone(&about),
            executor: Arc::clone(&executor.name),
        };
        let done = run(ids, mistakes, endpoint, request).await;
        let ran = Some((began, SystemTime::now()));
        let failure = match done {
            Done::Given(given, results) => {
                if let Some(given) = given {
                    documents = Arc::new(given);
                }
                if let Some(results) = results {
                    journey.results.push((format!("{name}/rep-0"), results));
                }
                journey.documents = Some(Vec::new());
                None
            }
            Done::Raised(exception) => Some(exception),
            Done::Status(code, retry_after) => {
                journey.status = Some((code, retry_after));
                return journey;
            }
        };
        let has_failed = failure.is_some();
        journey.stops.push(Stop { ran, failure, ..Stop::skipped(executor) });
        if has_failed {
            break;
        }
    }
    journey.documents = journey.documents.map(|_| Arc::unwrap_or_clone(documents));
    journey
}

/// What came of a handler.
enum Done {
    /// Documents, unless the request's own go back, and results.
    Given(Option<Vec<Value>>, Option<Value>),
    Raised(Exception),
    Status(u16, Option<String>),
}

async fn run(ids: &Ids, mistakes: &Mistakes, endpoint: &Endpoint, request: Request) -> Done {
    let (about, executor) = (Arc::clone(&request.about), Arc::clone(&request.executor));
    let mistake =
        |message: String| mistakes.blame(Mistake::new(&about.endpoint, &executor, &message));
    let Reply { content, delay, results, .. } = match endpoint.call(request).await {
        Ok(reply) => reply,
        Err(panic) => return Done::Raised(mistake(format!("panicked: {panic}"))),
    };
    if !delay.is_zero() {
        sleep(delay).await;
    }
    let results = match results.transpose() {
        Ok(results) => results,
        Err(error) => {
            return Done::Raised(mistake(format!("returned results as no JSON: {error}")));
        }
    };
    match content {
        Content::Unchanged => Done::Given(None, results),
        Content::Documents(documents) => {
            let given = documents.map_err(Unfit::Mistake).and_then(|documents| {
                let each = documents.into_iter().enumerate();
                each.map(|(index, document)| fit(ids, endpoint, about.docarray, index, document))
                    .collect()
            });
            match given {
                Ok(documents) => Done::Given(Some(documents), results),
                Err(unfit) => Done::Raised(unfit.blame(|what| mistake(format!("returned {what}")))),
            }
        }
        Content::Exception(exception) => Done::Raised(exception),
        Content::Status(code @ 200..=599, retry_after) => Done::Status(code, retry_after),
        Content::Status(code, _) => {
            Done::Raised(mistake(format!("returned the status {code}, which HTTP does not have")))
        }
        Content::Stream(_) => {
            let message = "returned a stream, which only `Endpoint::stream` can give";
            Done::Raised(mistake(message.to_owned()))
        }
    }
}

/// Why a document that a handler returned cannot go back.
pub(crate) enum Unfit {
    /// The handler's mistake, which no real executor can make.
    Mistake(ReadError),
    /// A mistake of the handler for which a real executor raises an exception of its own.
    Uncarried(Exception, ReadError),
}

impl Unfit {
    /// Notes the mistake with `blame`, which makes an exception of it, and returns the exception that
    /// the client finds.
    pub(crate) fn blame(self, blame: impl FnOnce(&ReadError) -> Exception) -> Exception {
        match self {
            Self::Mistake(error) => blame(&error),
            Self::Uncarried(exception, error) => {
                blame(&error);
                exception
            }
        }
    }
}

/// A document that a handler returned, as the class of its endpoint has it.
pub(crate) fn fit(
    ids: &Ids,
    endpoint: &Endpoint,
    docarray: DocArray,
    index: usize,
    document: Value,
) -> Result<Value, Unfit> {
    let class = match docarray {
        DocArray::V1 => &*V1,
        DocArray::V2 => &endpoint.gives,
    };
    let placed = |error| ReadError::new(format!("document {index}, {error}"));
    let fitted = class.fit(document, ids).map_err(|error| Unfit::Mistake(placed(error)))?;
    match class.carried(docarray, &fitted) {
        Ok(()) => Ok(fitted),
        Err(Uncarried { exception, error }) => Err(Unfit::Uncarried(exception, placed(error))),
    }
}
