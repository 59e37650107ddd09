//! A gateway of documents v2 with one endpoint, `/stream`, whose answers are scripted.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A step of the answer to a request of `/stream`.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// The head of a chunked answer with server-sent events.
    Head,
    /// Bytes, without a chunk around them.
    Raw(&'static str),
    /// A chunk.
    Chunk(&'static str),
    /// The last chunk.
    Finish,
    /// The same chunk forever.
    Flood(&'static str),
    /// Waits until the client closes.
    AwaitClose,
}

pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    counts: watch::Receiver<Counts>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// The number of requests of `/stream` whose client closed before the end of the answer.
    pub(crate) closed: usize,
    /// The number of bytes of a flood that were written.
    pub(crate) flooded: usize,
}

const STATUS: &str = r#"{"jina":{"jina":"3.33.1","docarray":"0.41.0"},"envs":{}}"#;
const OPENAPI: &str =
    r#"{"paths":{"/stream":{"get":{}},"/upper":{"post":{}},"/status":{"get":{}}}}"#;

impl Server {
    /// Serves each script for one request, in order, and repeats the last one.
    pub(crate) async fn start(scripts: Vec<Vec<Act>>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (counter, counts) = watch::channel(Counts::default());
        let (seen, counter) = (requests.clone(), Arc::new(counter));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, scripts.clone(), seen.clone(), counter.clone()));
            }
        });
        Server { url, requests, counts, task }
    }

    /// Returns the requests of `/stream`, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    pub(crate) async fn wait_for(&self, is_there: impl Fn(&Counts) -> bool) {
        let mut counts = self.counts.clone();
        let waiting = counts.wait_for(|counts| is_there(counts));
        tokio::time::timeout(super::LIMIT, waiting)
            .await
            .expect("the counts are reached in time")
            .unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    scripts: Vec<Vec<Act>>,
    requests: Arc<Mutex<Vec<String>>>,
    counter: Arc<watch::Sender<Counts>>,
) {
    let Some(request) = read_request(&mut stream).await else { return };
    let path = request.split([' ', '?']).nth(1).unwrap();
    if path != "/stream" {
        let body = if path == "/status" { STATUS } else { OPENAPI };
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
        let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    let index = {
        let mut requests = requests.lock().unwrap();
        requests.push(request);
        requests.len() - 1
    };
    let script = scripts.get(index).or(scripts.last()).unwrap();
    for act in script {
        if perform(act, &mut stream, &counter).await.is_err() {
            counter.send_modify(|counts| counts.closed += 1);
            return;
        }
    }
}

async fn perform(
    act: &Act,
    stream: &mut TcpStream,
    counter: &watch::Sender<Counts>,
) -> std::io::Result<()> {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    match act {
        Act::Head => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n";
            let rest = "transfer-encoding: chunked\r\n\r\n";
            stream.write_all(format!("{head}{rest}").as_bytes()).await
        }
        Act::Raw(text) => stream.write_all(text.as_bytes()).await,
        Act::Chunk(text) => stream.write_all(chunk(text).as_bytes()).await,
        Act::Finish => stream.write_all(b"0\r\n\r\n").await,
        Act::Flood(text) => loop {
            stream.write_all(chunk(text).as_bytes()).await?;
            counter.send_modify(|counts| counts.flooded += text.len());
        },
        Act::AwaitClose => match stream.read(&mut [0]).await? {
            0 => Err(std::io::ErrorKind::ConnectionReset.into()),
            _ => Ok(()),
        },
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some(text);
        }
    }
}
