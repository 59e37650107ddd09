//! The client for programs without an async runtime: the same names, and calls that wait.
//!
//! ```
//! use clientlet::Document;
//! use clientlet::blocking::Client;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # let gateway = runtime.block_on(clientlet_gateway::Gateway::builder().start())?;
//! # let url = gateway.http_url();
//! // let url = "http://localhost:8080";
//! let client = Client::new(&url)?;
//! let documents = ["one", "two"].map(Document::text);
//! for document in client.post("/upper").documents(documents).send().documents::<Document>()? {
//!     println!("{}", document.text.unwrap_or_default());
//! }
//!
//! let documents = (0..1000).map(|n| Document::text(n.to_string()));
//! let mut answered = 0;
//! for result in client.post("/upper").documents(documents).stream() {
//!     answered += result?.documents::<Document>()?.len();
//! }
//! assert_eq!(answered, 1000);
//! # Ok(())
//! # }
//! ```
//!
//! A client with settings is made by [`build_blocking`](crate::ClientBuilder::build_blocking). The builder is the
//! one of the async client, whose `build` makes an async client:
//!
//! ```no_run
//! use clientlet::blocking::Client;
//!
//! let client = Client::builder("https://flow.example").bearer_token("t0k3n").build_blocking()?;
//! client.ready()?;
//! # Ok::<(), clientlet::Error>(())
//! ```
//!
//! Each client and each clientlet has a runtime of its own. A thread that waits for an answer reads and
//! writes the connections meanwhile; while none waits, a thread of the runtime's own does. That thread
//! ends after the last clone, iterator of answers and sender, once connections have been closed in good
//! order. A program that ends does not wait for it.
//!
//! | called from | what to expect |
//! | --- | --- |
//! | any thread, several at a time | works; callers share connections |
//! | `tokio::task::spawn_blocking`, `block_in_place` | works |
//! | the iterator of a call's documents | works; the iterator may also wait for calls of other threads |
//! | an async task | an error of [`ErrorKind::Config`](crate::ErrorKind::Config), not sent; nothing blocks or panics |
//! | the destructor of a thread-local value | works, or the same error if the thread has ended too far |

mod client;
#[cfg(feature = "clientlets")]
mod clientlets;
mod driver;
mod post;
mod stream_document;

pub use self::client::Client;
#[cfg(feature = "clientlets")]
pub use self::clientlets::*;
pub use self::post::{Post, Responses};
pub use self::stream_document::{DocumentStream, StreamDocument};

/// Implements options that are handed on to the async call, with a line about each and a link to the
/// rest.
macro_rules! same_options {
    ($call:ident $(<$s:tt>)? of $inner:path: $($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*);)*) => {
        impl $(<$s>)? $call $(<$s>)? {
            $($(#[$doc])*
            #[doc = concat!("See [`", stringify!($call), "::", stringify!($name), "`](", stringify!($inner), "::", stringify!($name), ").")]
            pub fn $name(mut self, $($argument: $type),*) -> Self {
                self.call = self.call.$name($($argument),*);
                self
            })*
        }
    };
}

use same_options;
