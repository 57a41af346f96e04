//! Connections to model servers, and requests over them.
//!
//! Whose task drives a connection is decided here. Over HTTP/1.1 it is the request's own (`http1`): what the server sends is read by
//! whoever waits for it, in one turn, where a client with a task for each connection takes six turns from a request to the first
//! byte of its answer, each behind whatever else the thread has to do. Over HTTP/2 (`http2`), which hyper speaks and many share, a
//! connection has a task.
//!
//! This took the place of reqwest for what is forwarded. Of 157 thousand instructions a request its client took 36, 23 of them
//! around hyper's: for redirects that a proxy does not follow it parses every URL twice and copies the headers' storage.

mod http1;
mod http2;
mod open;
mod origin;
mod shelf;
mod turns;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Request;
use hyper_util::client::legacy::connect::Connection as _;
use parking_lot::Mutex;

use self::{
    open::{Connector, opened},
    shelf::Shelf,
    turns::Turns,
};
use super::{headers::is_media, reply::Reply, sending::Sending};

pub use http1::{AnswerReader, Driven, Head, Malformed};
pub use open::connector;
pub use origin::{Origin, path_of};

/// The head of an answer at most, in bytes: about what hyper (1.12) takes of a client. Its own choice over HTTP/2 is 16 KB.
const HEAD: u32 = 400 << 10;

/// How often connections that are not used are looked at: one that its server has closed goes, and one that lay for too long.
const LOOK: Duration = Duration::from_secs(1);

/// The connections of one thread, opened when they are needed and kept while they work.
#[derive(Clone)]
pub struct Wire(Arc<Inner>);

struct Inner {
    connector: Connector,
    connect: Duration,
    keep: Duration,
    shelves: Mutex<Shelves>,
    is_looked_after: AtomicBool,
    turns: Turns,
}

/// By the servers' addresses.
type Shelves = HashMap<Arc<str>, Arc<Shelf>>;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// No connection within `upstream.connect_ms`.
    TooLong,
    /// No connection.
    Unreachable,
    /// The connection ended before the head of the answer did. `was_kept`: it had carried another before, so that the server may
    /// have closed it while it lay unused.
    Ended {
        /// Whether it had.
        was_kept: bool,
    },
    /// An answer began, and its head is none that can be read.
    Unreadable,
}

/// A request that came back: how much became of it.
enum Back {
    /// Nothing of it was sent; here it is.
    Unsent(Box<Request<Sending>>),
    /// Some of it may have been read.
    Lost,
    /// An answer to it began, and cannot be read.
    Unreadable,
}

impl Back {
    /// Why there is no answer to a request that is not sent again.
    fn lost(self, was_kept: bool) -> Lost {
        match self {
            Self::Unsent(_) | Self::Lost => Lost::Ended { was_kept },
            Self::Unreadable => Lost::Unreadable,
        }
    }
}

impl Wire {
    /// Without a connection yet. `connect`: how long one may take to stand; `keep`: how long one may lie unused.
    pub fn new(connector: Connector, connect: Duration, keep: Duration) -> Self {
        Self(Arc::new(Inner {
            connector,
            connect,
            keep,
            shelves: Mutex::default(),
            is_looked_after: AtomicBool::new(false),
            turns: Turns::default(),
        }))
    }

    /// Sends a request, whose URI is a path, and waits for the head of its answer. What is not sent because its connection was
    /// found closed goes over another one. `streams`: a stream was asked for.
    ///
    /// # Errors
    /// Why there is no answer. Dropping the answer, or what waits for it, closes an HTTP/1.1 connection and resets an HTTP/2 stream.
    pub async fn ask(
        &self,
        origin: &Origin,
        request: Box<Request<Sending>>,
        streams: bool,
    ) -> Result<Reply, Lost> {
        // Whoever reads a stream waits for its beginning, not for the processor to be used well.
        let among = self.0.turns.enter();
        if !streams {
            among.give_way().await;
        }
        let reply = self.exchange(origin, request).await?;
        if !is_media(reply.headers(), "text/event-stream") {
            among.give_way().await;
        }
        Ok(reply)
    }

    async fn exchange(
        &self,
        origin: &Origin,
        mut request: Box<Request<Sending>>,
    ) -> Result<Reply, Lost> {
        let shelf = self.0.shelf(origin);
        while let Some(connection) = shelf.take(self.0.keep) {
            match connection.ask(request, origin, &shelf).await {
                Ok(reply) => return Ok(reply),
                Err(Back::Unsent(unsent)) => {
                    shelf.look(self.0.keep);
                    request = unsent;
                }
                Err(back) => return Err(back.lost(true)),
            }
        }
        // Apart, for it is seldom and large: what holds this would be copied with the room for a handshake of TLS.
        let connection = Box::pin(self.open(origin, &shelf)).await?;
        let asked = connection.ask(request, origin, &shelf).await;
        asked.map_err(|back| back.lost(false))
    }

    async fn open(&self, origin: &Origin, shelf: &Shelf) -> Result<Connection, Lost> {
        self.look_after();
        let io = opened(self.0.connector.clone(), origin, self.0.connect).await?;
        if !io.connected().is_negotiated_h2() {
            return Ok(Connection::Own(http1::Connection::over(io)));
        }
        let shared = http2::Shared::shake(io, shelf).await;
        let shared = shared.map_err(|_| Lost::Ended { was_kept: false })?;
        Ok(Connection::Shared(shared))
    }

    /// From the first connection on somebody looks after those that lie unused, as long as there are any to come.
    fn look_after(&self) {
        if self.0.is_looked_after.swap(true, Ordering::Relaxed) {
            return;
        }
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                match Weak::upgrade(&inner) {
                    Some(inner) => inner.look(),
                    None => return,
                }
            }
        });
    }
}

impl Inner {
    fn shelf(&self, origin: &Origin) -> Arc<Shelf> {
        let mut shelves = self.shelves.lock();
        match shelves.get(&origin.key) {
            Some(shelf) => shelf.clone(),
            None => shelves.entry(origin.key.clone()).or_default().clone(),
        }
    }

    fn look(&self) {
        let all: Vec<_> = self.shelves.lock().values().cloned().collect();
        for shelf in all {
            shelf.look(self.keep);
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// A connection that can take a request.
enum Connection {
    Own(Box<http1::Connection>),
    Shared(http2::Shared),
}

impl Connection {
    async fn ask(
        self,
        request: Box<Request<Sending>>,
        origin: &Origin,
        shelf: &Arc<Shelf>,
    ) -> Result<Reply, Back> {
        match self {
            Self::Own(connection) => connection.ask(request, origin, shelf.clone()).await,
            Self::Shared(connection) => connection.ask(request, origin).await,
        }
    }
}
