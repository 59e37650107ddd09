//! What is known of a gateway: asked once, shared by all calls of a client, asked again after a
//! sign that it has changed.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use tokio::time::{Instant, timeout_at};

use crate::error::{AttemptError, Event};
use crate::foreign;
use crate::message::DocArray;
use crate::transport::http::MAYBE_WEBSOCKET;
use crate::transport::{Streams, Transport};

/// What a gateway told of itself.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) docarray: DocArray,
    /// The paths that documents can be posted to; nothing if the gateway does not list them. A v1
    /// gateway has one for all endpoints.
    pub(crate) paths: Option<Vec<String>>,
    /// Whether the endpoint stands in the request, and not in the address that it is sent to.
    pub(crate) is_by_name: bool,
}

/// Where a v1 gateway takes all documents.
const V1_PATH: &str = "/post";
/// Where a v2 gateway takes those for endpoints that no executor binds, if one has a default.
const V2_DEFAULT: &str = "/default";

impl Gateway {
    /// The path that documents for `endpoint` are posted to.
    ///
    /// # Errors
    /// When the gateway lists its endpoints and has neither this one nor a default.
    pub(crate) fn path(&self, endpoint: &str) -> Result<String, AttemptError> {
        let paths = match &self.paths {
            _ if self.is_by_name => return Ok(V1_PATH.to_owned()),
            None => return Ok(endpoint.to_owned()),
            Some(paths) => paths,
        };
        let has = |wanted: &str| paths.iter().any(|path| path == wanted);
        match endpoint {
            endpoint if has(endpoint) => Ok(endpoint.to_owned()),
            _ if has(V2_DEFAULT) => Ok(V2_DEFAULT.to_owned()),
            _ => {
                let listed = match paths.is_empty() {
                    true => format!("none{MAYBE_WEBSOCKET}"),
                    false => foreign::listed(paths),
                };
                let what = format!("the gateway has no endpoint {endpoint}; it has {listed}");
                Err(AttemptError::new(Event::EndpointUnknown, what))
            }
        }
    }

    /// Whether any endpoint is taken, whatever its name.
    pub(crate) fn takes_any(&self) -> bool {
        let paths = self.paths.iter().flatten();
        self.is_by_name || paths.into_iter().any(|path| path == V2_DEFAULT)
    }
}

/// What a client knows of its gateway.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    known: Mutex<Option<Arc<Gateway>>>,
    /// Held by whoever asks; the others wait and find the answer.
    asking: tokio::sync::Mutex<()>,
    /// The endpoints that give streams of documents, once asked for; nothing in it if the gateway does
    /// not list them. Held while it is asked.
    streams: tokio::sync::Mutex<Option<Option<Arc<[String]>>>>,
}

impl Discovery {
    /// What is known already.
    pub(crate) fn known(&self) -> Option<Arc<Gateway>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what a request has shown to be out of date, unless something newer is known.
    pub(crate) fn forget(&self, stale: &Arc<Gateway>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, stale)) {
            *known = None;
        }
    }

    /// What is known, asked for now if need be: one question, however many wait for its answer.
    pub(crate) async fn ask(
        &self,
        transport: &dyn Transport,
        headers: &HeaderMap,
        deadline: Option<Instant>,
    ) -> Result<Arc<Gateway>, AttemptError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let _asking = match deadline {
            None => self.asking.lock().await,
            Some(deadline) => timeout_at(deadline, self.asking.lock()).await.map_err(|_| {
                let what = "another call was asking the gateway for its status all the time";
                AttemptError::new(Event::TimedOutUnsent, what)
            })?,
        };
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let gateway = Arc::new(transport.describe(headers, deadline).await?);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(gateway.clone());
        Ok(gateway)
    }

    /// The name under which a stream of documents is asked for: the endpoint's own, or that of the
    /// default. One that is not known is asked for once more, since it may have been deployed since.
    ///
    /// # Errors
    /// When the gateway lists its endpoints and none of those gives a stream for this one.
    pub(crate) async fn stream_path(
        &self,
        endpoint: &str,
        streams: &dyn Streams,
        headers: &HeaderMap,
        deadline: Option<Instant>,
    ) -> Result<String, AttemptError> {
        let asking = async {
            let mut slot = self.streams.lock().await;
            let mut may_be_old = slot.is_some();
            loop {
                let listed = match &*slot {
                    Some(listed) => listed.clone(),
                    None => {
                        let listed = streams.endpoints(headers, deadline).await?.map(Arc::from);
                        slot.insert(listed).clone()
                    }
                };
                match find_stream(endpoint, listed.as_deref()) {
                    Err(_) if may_be_old => *slot = None,
                    found => return found,
                }
                may_be_old = false;
            }
        };
        match deadline {
            None => asking.await,
            Some(deadline) => timeout_at(deadline, asking).await.unwrap_or_else(|_| {
                let what = "the gateway did not list its endpoints in time";
                Err(AttemptError::new(Event::TimedOutUnsent, what))
            }),
        }
    }
}

fn find_stream(endpoint: &str, listed: Option<&[String]>) -> Result<String, AttemptError> {
    let Some(listed) = listed else { return Ok(endpoint.to_owned()) };
    let has = |wanted: &str| listed.iter().any(|name| name == wanted);
    match endpoint {
        endpoint if has(endpoint) => Ok(endpoint.to_owned()),
        _ if has(V2_DEFAULT) => Ok(V2_DEFAULT.to_owned()),
        _ => {
            let what = match listed {
                [] => format!(
                    "the gateway gives no stream of documents, from {endpoint} or elsewhere"
                ),
                _ => {
                    let mut names = listed.to_vec();
                    names.sort();
                    let names = foreign::listed(&names);
                    format!("{endpoint} gives no stream of documents; what does is {names}")
                }
            };
            Err(AttemptError::new(Event::EndpointUnknown, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{BoxFuture, RawDocuments, StreamRequest};

    fn v2(paths: &[&str]) -> Gateway {
        let paths = paths.iter().map(ToString::to_string).collect();
        Gateway { docarray: DocArray::V2, paths: Some(paths), is_by_name: false }
    }

    #[test]
    fn v2_posts_to_the_endpoint_or_else_to_the_default() {
        assert_eq!(v2(&["/", "/upper"]).path("/upper").unwrap(), "/upper");
        assert_eq!(v2(&["/", "/upper"]).path("/").unwrap(), "/");
        assert_eq!(v2(&["/default"]).path("/").unwrap(), "/default");
        assert_eq!(v2(&["/upper", "/default"]).path("/x").unwrap(), "/default");
    }

    #[test]
    fn an_endpoint_that_is_not_there_is_an_error_that_lists_those_that_are() {
        let error = v2(&["/", "/upper"]).path("/uper").unwrap_err();
        assert_eq!(error.event, Event::EndpointUnknown);
        assert_eq!(error.message, "the gateway has no endpoint /uper; it has /, /upper");
    }

    #[test]
    fn v1_takes_everything_at_one_path() {
        let v1 = Gateway { docarray: DocArray::V1, paths: None, is_by_name: true };
        assert_eq!(v1.path("/whatever").unwrap(), "/post");
        assert!(v1.takes_any());
    }

    /// A gateway whose list of endpoints is another one each time that it is asked.
    struct Changing(Mutex<Vec<Option<Vec<String>>>>);

    impl Streams for Changing {
        fn endpoints<'a>(
            &'a self,
            _: &'a HeaderMap,
            _: Option<Instant>,
        ) -> BoxFuture<'a, Result<Option<Vec<String>>, AttemptError>> {
            Box::pin(async { Ok(self.0.lock().unwrap().remove(0)) })
        }

        fn open<'a>(
            &'a self,
            _: &'a StreamRequest,
            _: Option<Instant>,
        ) -> BoxFuture<'a, Result<RawDocuments, AttemptError>> {
            panic!("nothing is sent")
        }
    }

    #[tokio::test]
    async fn streams_are_listed_once_and_again_for_one_that_may_be_new() {
        let lists = [&["/old"][..], &["/old", "/new"], &["/default"]];
        let lists = lists.map(|list| Some(list.iter().map(ToString::to_string).collect()));
        let gateway = Changing(Mutex::new(lists.into()));
        let (discovery, headers) = (Discovery::default(), HeaderMap::new());
        let path = async |endpoint| {
            discovery.stream_path(endpoint, &gateway, &headers, None).await.map_err(|e| e.event)
        };
        let left = || gateway.0.lock().unwrap().len();
        assert_eq!(path("/new").await, Err(Event::EndpointUnknown), "what was just asked stands");
        assert_eq!((path("/old").await, left()), (Ok("/old".into()), 2));
        assert_eq!((path("/new").await, left()), (Ok("/new".into()), 1));
        assert_eq!((path("/newer").await, left()), (Ok("/default".into()), 0));
    }

    #[tokio::test]
    async fn any_stream_is_asked_for_where_none_is_listed() {
        let gateway = Changing(Mutex::new(vec![None]));
        let discovery = Discovery::default();
        let path = discovery.stream_path("/any", &gateway, &HeaderMap::new(), None).await;
        assert_eq!(path.unwrap(), "/any");
    }

    #[test]
    fn only_what_is_out_of_date_is_forgotten() {
        let discovery = Discovery::default();
        let (old, new) = (Arc::new(v2(&["/old"])), Arc::new(v2(&["/new"])));
        *discovery.known.lock().unwrap() = Some(new.clone());
        discovery.forget(&old);
        assert!(discovery.known().is_some());
        discovery.forget(&new);
        assert!(discovery.known().is_none());
    }
}
