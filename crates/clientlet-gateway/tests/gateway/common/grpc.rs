//! A small gRPC client of the tests' own: HTTP/2 with five bytes before each message.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clientlet_gateway::{DocArray, Fault, Gateway};
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) const CALL: &str = "/jina.JinaRPC/Call";
pub(crate) const SINGLE: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";
pub(crate) const STREAM: &str = "/jina.JinaSingleDocumentRequestRPC/stream_doc";
pub(crate) const DRY_RUN: &str = "/jina.JinaGatewayDryRunRPC/dry_run";
pub(crate) const STATUS: &str = "/jina.JinaInfoRPC/_status";
pub(crate) const ENDPOINTS: &str = "/jina.JinaDiscoverEndpointsRPC/endpoint_discovery";
pub(crate) const HEALTH: &str = "/grpc.health.v1.Health/Check";
pub(crate) const REFLECTION: &str =
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

pub(crate) async fn start(docarray: DocArray, faults: &[&str]) -> Gateway {
    let mut builder = Gateway::builder().docarray(docarray).http(false).grpc(true);
    for fault in faults {
        builder = builder.fault(fault.parse::<Fault>().unwrap());
    }
    builder.start().await.unwrap()
}

pub(crate) struct Channel {
    requests: SendRequest<Bytes>,
    /// Ends with the connection.
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

/// A call's status: its code and what it says.
pub(crate) type Status = (u16, String);

impl Channel {
    pub(crate) async fn connect(gateway: &Gateway) -> Self {
        Self::connect_to(gateway.grpc_address()).await
    }

    pub(crate) async fn connect_to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 24)
            .initial_connection_window_size(1 << 26)
            .handshake(stream)
            .await
            .unwrap();
        Self::of(requests, connection)
    }

    pub(crate) fn of<S>(requests: SendRequest<Bytes>, connection: Connection<S>) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        Self { requests, connection: tokio::spawn(connection) }
    }

    pub(crate) async fn open(&mut self, path: &str) -> Call {
        self.open_with(path, &[]).await.unwrap()
    }

    pub(crate) async fn open_with(
        &mut self,
        path: &str,
        metadata: &[(&str, &str)],
    ) -> Result<Call, h2::Error> {
        let mut request = Request::post(format!("http://gateway{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        std::future::poll_fn(|cx| self.requests.poll_ready(cx)).await?;
        let (answer, out) = self.requests.send_request(request.body(()).unwrap(), false)?;
        let (answer, ahead) = (Some(answer), BytesMut::new());
        Ok(Call { out, answer, body: None, head: HeaderMap::new(), code: 0, ahead })
    }

    /// One message there and one back.
    pub(crate) async fn unary(&mut self, path: &str, message: &[u8]) -> Result<Bytes, Status> {
        let mut call = self.open(path).await;
        call.send_bytes(message);
        call.end();
        let answer = call.message().await.unwrap();
        match call.status().await.unwrap() {
            (0, _) => Ok(answer.expect("an answer goes before OK")),
            status => Err(status),
        }
    }
}

pub(crate) struct Call {
    pub(crate) out: SendStream<Bytes>,
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
    /// The head of the answer, once it has come.
    pub(crate) head: HeaderMap,
    pub(crate) code: u16,
    /// Bytes read but not used yet.
    pub(crate) ahead: BytesMut,
}

impl Call {
    pub(crate) fn send(&mut self, message: &impl Message) {
        self.send_bytes(&message.encode_to_vec());
    }

    pub(crate) fn send_bytes(&mut self, message: &[u8]) {
        self.send_flagged(0, message);
    }

    pub(crate) fn send_flagged(&mut self, flag: u8, message: &[u8]) {
        let mut framed = BytesMut::new();
        framed.put_u8(flag);
        framed.put_u32(message.len() as u32);
        framed.put_slice(message);
        self.out.send_data(framed.freeze(), false).unwrap();
    }

    pub(crate) fn end(&mut self) {
        self.out.send_data(Bytes::new(), true).unwrap();
    }

    /// The next message; `None` at the end of the body.
    pub(crate) async fn message(&mut self) -> Result<Option<Bytes>, h2::Error> {
        let flagged = self.flagged().await?;
        Ok(flagged.map(|(flag, message)| {
            assert_eq!(flag, 0, "the answer is compressed");
            message
        }))
    }

    /// The next message with its flag; `None` at the end of the body.
    pub(crate) async fn flagged(&mut self) -> Result<Option<(u8, Bytes)>, h2::Error> {
        loop {
            if self.ahead.len() >= 5 {
                let length = u32::from_be_bytes(self.ahead[1..5].try_into().unwrap()) as usize;
                if self.ahead.len() >= 5 + length {
                    let flag = self.ahead.get_u8();
                    self.ahead.advance(4);
                    return Ok(Some((flag, self.ahead.split_to(length).freeze())));
                }
            }
            if !self.read_more().await? {
                return Ok(None);
            }
        }
    }

    /// Reads a piece of the body, if there is another.
    pub(crate) async fn read_more(&mut self) -> Result<bool, h2::Error> {
        if let Some(answer) = self.answer.take() {
            let (head, body) = answer.await?.into_parts();
            (self.head, self.code, self.body) = (head.headers, head.status.as_u16(), Some(body));
        }
        let body = self.body.as_mut().unwrap();
        let Some(piece) = body.data().await.transpose()? else { return Ok(false) };
        body.flow_control().release_capacity(piece.len())?;
        self.ahead.extend_from_slice(&piece);
        Ok(true)
    }

    /// The status of the call. Remaining messages are skipped.
    pub(crate) async fn status(&mut self) -> Result<Status, h2::Error> {
        let trailers = self.trailers().await?;
        let code = trailers.get("grpc-status").unwrap().to_str().unwrap().parse().unwrap();
        let message = trailers.get("grpc-message").map(|message| message.to_str().unwrap());
        Ok((code, message.unwrap_or_default().to_owned()))
    }

    pub(crate) async fn trailers(&mut self) -> Result<HeaderMap, h2::Error> {
        while self.read_more().await? {}
        let trailers = self.body.as_mut().unwrap().trailers().await?;
        // Without answers the trailers are in the head.
        Ok(trailers.unwrap_or_else(|| self.head.clone()))
    }

    /// How the stream is reset.
    pub(crate) async fn error(&mut self) -> h2::Error {
        loop {
            if let Err(error) = self.read_more().await {
                return error;
            }
        }
    }
}

impl Call {
    /// Sends one message, and returns the status of the call.
    pub(crate) async fn status_of(mut self, message: &[u8]) -> Status {
        self.send_bytes(message);
        self.end();
        self.status().await.unwrap()
    }
}
