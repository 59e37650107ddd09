//! A value that is sent and comes back, and its expected result.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use clientlet::{Answers, Client, Delivery, DocArray, Error, ErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::worlds::{Protocol, World};

/// The expected result for a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It comes back unchanged.
    Same,
    /// It comes back as something else, given by its debug text.
    Becomes(&'static str),
    /// The client refuses it before anything is sent, with this in the error.
    Refused(&'static str),
    /// The gateway or its executor refuses it, with this in the error.
    Failed(&'static str),
}

/// The actual result for a value, with the text that shows it.
#[derive(Debug, PartialEq)]
enum Found {
    Back(String),
    Refused(String),
    Failed(String),
    /// It came back as something that its type cannot read.
    Unreadable(String),
}

type Run = Box<dyn for<'a> Fn(&'a Client) -> Pin<Box<dyn Future<Output = Found> + Send + 'a>>>;

/// A way to send a value and get it back.
struct Way {
    name: &'static str,
    run: Run,
    sent: String,
    expected: Box<dyn Fn(DocArray, Protocol) -> Fate>,
}

/// A value with all its ways.
pub(crate) struct Case {
    name: &'static str,
    generations: Vec<DocArray>,
    ways: Vec<Way>,
}

const BOTH: [DocArray; 2] = [DocArray::V1, DocArray::V2];

/// The traits that a type needs in these tests.
pub(crate) trait Carried:
    Serialize + DeserializeOwned + Debug + Clone + Send + Sync + Unpin + 'static
{
}

impl<T: Serialize + DeserializeOwned + Debug + Clone + Send + Sync + Unpin + 'static> Carried
    for T
{
}

/// A value deep inside tags and parameters.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Deep<T> {
    within: Within<T>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Within<T> {
    value: T,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Tagged<T> {
    id: String,
    text: String,
    tags: Deep<T>,
}

/// A value in tags and parameters that should come back unchanged.
pub(crate) fn value<T: Carried>(name: &'static str, value: T) -> Case {
    let deep = Deep { within: Within { value } };
    let tagged = Tagged { id: "a".into(), text: "t".into(), tags: deep.clone() };
    Case {
        name,
        generations: BOTH.to_vec(),
        ways: vec![
            Way {
                name: "tags",
                sent: format!("{:?}", deep.within.value),
                run: Box::new(move |client| {
                    let call = client.post("/").documents([tagged.clone()]);
                    Box::pin(async move {
                        let read = |answers: Answers| answers.documents::<Tagged<T>>();
                        outcome(call.send().await, read, |read| {
                            format!("{:?}", read[0].tags.within.value)
                        })
                    })
                }),
                expected: Box::new(|_, _| Fate::Same),
            },
            Way {
                name: "parameters",
                sent: format!("{:?}", deep.within.value),
                run: Box::new(move |client| {
                    let call = client.post("/").parameters(deep.clone());
                    Box::pin(async move {
                        let read = |answers: Answers| {
                            answers.into_result()?.remove(0).parameters::<Deep<T>>()
                        };
                        outcome(call.send().await, read, |read| format!("{:?}", read.within.value))
                    })
                }),
                expected: Box::new(|_, _| Fate::Same),
            },
        ],
    }
}

/// A whole document that should come back unchanged.
pub(crate) fn document<T: Carried>(
    name: &'static str,
    generations: &[DocArray],
    document: T,
) -> Case {
    Case {
        name,
        generations: generations.to_vec(),
        ways: vec![Way {
            name: "document",
            sent: format!("{document:?}"),
            run: Box::new(move |client| {
                let call = client.post("/").documents([document.clone()]);
                Box::pin(async move {
                    let read = |answers: Answers| answers.documents::<T>();
                    outcome(call.send().await, read, |read| format!("{:?}", read[0]))
                })
            }),
            expected: Box::new(|_, _| Fate::Same),
        }],
    }
}

fn outcome<T>(
    answers: Answers,
    read: impl FnOnce(Answers) -> Result<T, Error>,
    show: impl FnOnce(T) -> String,
) -> Found {
    if let Some(error) = answers.errors().next() {
        return match (error.kind(), error.delivery()) {
            (ErrorKind::Encode, Delivery::NotSent) => Found::Refused(error.message().to_owned()),
            _ => Found::Failed(error.message().to_owned()),
        };
    }
    match read(answers) {
        Ok(read) => Found::Back(show(read)),
        Err(error) => Found::Unreadable(error.message().to_owned()),
    }
}

impl Case {
    /// Expects the same result on every way, protocol and generation.
    pub(crate) fn always(self, fate: Fate) -> Case {
        self.by(move |_, _| fate.clone())
    }

    /// Expects results by generation and protocol, on every way.
    pub(crate) fn by(
        mut self,
        expected: impl Fn(DocArray, Protocol) -> Fate + Clone + 'static,
    ) -> Case {
        for way in &mut self.ways {
            way.expected = Box::new(expected.clone());
        }
        self
    }

    /// Expects another result only in tags.
    pub(crate) fn in_tags(
        mut self,
        expected: impl Fn(DocArray, Protocol) -> Fate + 'static,
    ) -> Case {
        self.ways[0].expected = Box::new(expected);
        self
    }

    /// Lists the results that differ from the expected ones, by protocol and way.
    pub(crate) async fn faults(&self, world: &World) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.generations.contains(&world.docarray) {
            return faults;
        }
        for way in &self.ways {
            let mut refusals = Vec::new();
            for (protocol, client) in &world.clients {
                let found = (way.run)(client).await;
                let expected = (way.expected)(world.docarray, *protocol);
                let is_met = match (&expected, &found) {
                    (Fate::Same, Found::Back(back)) => *back == way.sent,
                    (Fate::Becomes(text), Found::Back(back)) => back == text,
                    (Fate::Refused(part), Found::Refused(message)) => message.contains(part),
                    (Fate::Failed(part), Found::Failed(message)) => message.contains(part),
                    _ => false,
                };
                if !is_met {
                    faults.push(format!(
                        "{} in {} over {}: {:?} became {found:?}, expected {expected:?}",
                        self.name, way.name, protocol.name, way.sent
                    ));
                }
                if let Found::Refused(message) = found {
                    refusals.push((message, expected));
                }
            }
            // A value that is refused for one reason must be refused with the same text everywhere.
            for (message, expected) in &refusals {
                let other = refusals.iter().find(|(m, e)| e == expected && m != message);
                if let Some((other, _)) = other {
                    faults.push(format!("{}: {message:?} and {other:?}", self.name));
                    break;
                }
            }
        }
        faults
    }
}
