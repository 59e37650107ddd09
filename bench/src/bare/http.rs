//! HTTP over hyper-util's pool.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connection::{HTTP1, connector};
use crate::contest::IN_FLIGHT;
use crate::serve::Addresses;

type Connector = HttpsConnector<HttpConnector>;

pub(crate) struct Bare {
    pool: Pool<Connector, Full<Bytes>>,
    uri: Uri,
}

impl Bare {
    pub(super) fn new(addresses: &Addresses) -> Result<Bare, Box<dyn Error>> {
        let pool = pool(connector(addresses, HTTP1)?);
        Ok(Bare { pool, uri: format!("{}/post", addresses.http).parse()? })
    }

    pub(super) async fn post(
        &self,
        body: &Bytes,
        requests: usize,
    ) -> Result<Bytes, Box<dyn Error>> {
        let (left, last) = (Cell::new(requests), RefCell::new(Bytes::new()));
        let mut loops: FuturesUnordered<_> =
            (0..IN_FLIGHT).map(|_| self.post_while_any_is_left(body, &left, &last)).collect();
        while let Some(result) = loops.next().await {
            result?;
        }
        drop(loops);
        Ok(last.into_inner())
    }

    async fn post_while_any_is_left(
        &self,
        body: &Bytes,
        left: &Cell<usize>,
        last: &RefCell<Bytes>,
    ) -> Result<(), Box<dyn Error>> {
        while let Some(others) = left.get().checked_sub(1) {
            left.set(others);
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = self.uri.clone();
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
            let answer = self.pool.request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            if !status.is_success() || body.is_empty() {
                return Err(format!("the bare transport was answered with {status}").into());
            }
            last.replace(body);
        }
        Ok(())
    }
}

impl fmt::Debug for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bare").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// Makes a pool of connections with the client's settings.
fn pool(connector: Connector) -> Pool<Connector, Full<Bytes>> {
    Pool::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(4))
        .pool_max_idle_per_host(256)
        .http1_max_buf_size(256 << 10)
        .retry_canceled_requests(false)
        .build(connector)
}
