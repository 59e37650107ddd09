//! The sample executor, for both generations of documents.

use std::time::Duration;

use crate::exception::Exception;
use crate::script::StreamScript;
use crate::value::{BytesAs, Value};

/// The deployment's name, which `target_executor` is matched against.
pub(crate) const DEPLOYMENT: &str = "executor0";
/// The key of the deployment's results among the parameters.
pub(crate) const REPLICA: &str = "executor0/rep-0";
/// The class of the executor, which exceptions name.
pub(crate) const CLASS: &str = "WireExecutor";

/// An endpoint that the executor binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    Echo,
    Upper,
    Fail,
    Slow,
    Params,
    Big,
    Empty,
    Rich,
    /// `/rich` without bytes that are not text, because JSON of documents v2 cannot carry those.
    JsonRich,
    /// `/index`, `/search`, `/update`, `/delete`.
    Crud,
    Default,
}

/// The paths that are always bound.
pub(crate) const PATHS: [(&str, Sample); 12] = [
    ("/upper", Sample::Upper),
    ("/fail", Sample::Fail),
    ("/slow", Sample::Slow),
    ("/params", Sample::Params),
    ("/big", Sample::Big),
    ("/empty", Sample::Empty),
    ("/rich", Sample::Rich),
    ("/json_rich", Sample::JsonRich),
    ("/index", Sample::Crud),
    ("/search", Sample::Crud),
    ("/update", Sample::Crud),
    ("/delete", Sample::Crud),
];

/// The endpoints that are bound beside those that always are.
#[derive(Clone, Debug)]
pub(crate) struct Bindings {
    pub(crate) root: bool,
    pub(crate) default: bool,
    /// The streaming endpoints, which only executors with documents v2 can have.
    pub(crate) streams: Vec<(String, StreamScript)>,
}

impl Default for Bindings {
    fn default() -> Self {
        let streams = [
            ("/stream", StreamScript::new(3)),
            ("/stream_fail", StreamScript::new(1).raises(true)),
        ];
        let streams = streams.map(|(path, stream)| (path.to_owned(), stream)).into();
        Self { root: true, default: false, streams }
    }
}

impl Bindings {
    /// The endpoint bound to exactly this path.
    pub(crate) fn find(&self, path: &str) -> Option<Sample> {
        match path {
            "/" if self.root => Some(Sample::Echo),
            "/default" if self.default => Some(Sample::Default),
            _ => PATHS.iter().find(|(bound, _)| *bound == path).map(|(_, endpoint)| *endpoint),
        }
    }

    /// The streaming endpoint bound to exactly this path. If there are several, the last one
    /// counts.
    pub(crate) fn stream(&self, path: &str) -> Option<&StreamScript> {
        self.streams.iter().rev().find(|(bound, _)| bound == path).map(|(_, stream)| stream)
    }

    /// Every bound path, without streaming endpoints.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &'static str> + use<> {
        let root = self.root.then_some("/");
        let default = self.default.then_some("/default");
        root.into_iter().chain(default).chain(PATHS.iter().map(|(path, _)| *path))
    }
}

/// What an endpoint changes in every document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Upper,
    /// Sets this tag to true.
    Tag(&'static str),
}

impl Sample {
    pub(crate) fn change(self) -> Change {
        match self {
            Self::Upper => Change::Upper,
            Self::Crud => Change::Tag("crud"),
            Self::Default => Change::Tag("default"),
            _ => Change::None,
        }
    }

    /// Runs the endpoint. `parameters` is called only if the endpoint uses them.
    pub(crate) async fn run(self, parameters: impl Fn() -> Value) -> Outcome {
        let number = |name: &str| match parameters().get(name) {
            Some(Value::Integer(n)) => Some(*n as f64),
            Some(Value::Float(n)) => Some(*n),
            _ => None,
        };
        match self {
            Self::Echo | Self::Upper | Self::Crud | Self::Default => Outcome::Changed,
            Self::Empty => Outcome::Documents(Bulk::Nothing),
            Self::Rich | Self::JsonRich => Outcome::Documents(Bulk::Rich),
            Self::Params => Outcome::Results,
            Self::Fail => Outcome::Failed(asked_for(&parameters())),
            Self::Big => {
                // A negative size gives empty bytes, as in Python. More than a gigabyte might
                // exhaust the memory.
                let size = number("bytes").map_or(1 << 20, |size| size as usize).min(1 << 30);
                Outcome::Documents(Bulk::Big(size))
            }
            Self::Slow => {
                let seconds = number("seconds").unwrap_or(1.0);
                let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                tokio::time::sleep(time).await;
                Outcome::Changed
            }
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The request's documents go back, as [`Sample::change`] made them.
    Changed,
    /// The request's documents go back, and results are among the parameters.
    Results,
    /// Other documents go back.
    Documents(Bulk),
    /// The executor raised an exception.
    Failed(Exception),
}

/// Documents that an endpoint makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bulk {
    Nothing,
    /// A document for each kind of content.
    Rich,
    /// One document `big` with this many letters x.
    Big(usize),
}

/// The results of `/params`: the parameters of the request and the number of documents.
pub(crate) fn results(parameters: Value, documents: usize) -> (String, Value) {
    // A count fits a float exactly up to 2^53.
    let count = Value::Float(documents as f64);
    let results = vec![("got".into(), parameters), ("count".into(), count)];
    (REPLICA.into(), Value::Map(results))
}

/// The exception that the parameters of `/fail` ask for.
fn asked_for(parameters: &Value) -> Exception {
    let name = match parameters.get("kind") {
        Some(Value::Text(kind)) if kind == "key" => "KeyError",
        Some(Value::Text(kind)) if kind == "runtime" => "RuntimeError",
        _ => "ValueError",
    };
    match parameters.get("message") {
        None => Exception::new(name, ["this endpoint always fails"]),
        Some(Value::Text(text)) => Exception::new(name, [text]),
        // Numbers are floats, since a Struct has no integers. Other values look nearly as Python
        // shows them.
        Some(Value::Integer(n)) => Exception::shown(name, format!("{:?}", *n as f64)),
        Some(Value::Float(n)) => Exception::shown(name, format!("{n:?}")),
        Some(other) => Exception::shown(name, other.to_json(BytesAs::Text).to_string()),
    }
}
