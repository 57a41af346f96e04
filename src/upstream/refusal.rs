//! A server that refuses our switch: a 4xx that names a field we set. The client never asked for that field, so its request
//! must not fail on it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use memchr::memmem;
use tokio::time::timeout;

use crate::error::{Error, Limit};

/// Errors are looked into as far as this, in bytes; a refusal is a sentence.
const LONGEST: usize = 64 << 10;

/// What a server's answer says of our switch.
pub enum Refusal {
    /// Nothing; here it is, whole.
    Unrelated(reqwest::Response),
    /// It names one of our fields.
    OfOurSwitch,
}

/// Looks whether an answer is a refusal of one of `fields`. Only a 4xx that may be one is read, with a length or without; any
/// other passes unread. `patience`: for each piece of it.
///
/// # Errors
/// When the answer breaks off while it is read.
pub async fn read(
    response: reqwest::Response,
    fields: &[&str],
    patience: Duration,
) -> Result<Refusal, Error> {
    if !may_refuse(response.status()) || length(&response).is_some_and(|length| length > LONGEST) {
        return Ok(Refusal::Unrelated(response));
    }
    let (parts, mut rest) = Response::<reqwest::Body>::from(response).into_parts();
    let mut read = VecDeque::new();
    let mut text = Vec::new();
    let is_whole = loop {
        let next = timeout(patience, rest.frame()).await;
        let Some(frame) = next.map_err(|_| Error::timeout(Limit::Idle, patience))? else {
            break true;
        };
        let frame = frame.map_err(|_| Error::Reset)?;
        text.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        read.push_back(frame);
        if text.len() > LONGEST {
            break false;
        }
    };
    let is_named = |field: &&str| memmem::find(&text, field.as_bytes()).is_some();
    // What is longer is no refusal, whatever it names: it may repeat the request.
    if is_whole && fields.iter().any(is_named) {
        return Ok(Refusal::OfOurSwitch);
    }
    let rest = (!is_whole).then_some(rest);
    let body = reqwest::Body::wrap(Reread { read, rest });
    Ok(Refusal::Unrelated(Response::from_parts(parts, body).into()))
}

/// Statuses that may blame a field. Of the others it is known what they blame: the key, the path or the model's name, the time,
/// the size, the load.
fn may_refuse(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 404 | 408 | 413 | 429)
}

/// What the answer says of its length; none that can be read counts as none.
fn length(response: &reqwest::Response) -> Option<usize> {
    let value = response.headers().get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// A body of which the beginning was read.
struct Reread {
    read: VecDeque<Frame<Bytes>>,
    /// What was not.
    rest: Option<reqwest::Body>,
}

impl Body for Reread {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        if let Some(frame) = self.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(Frame::data_ref);
        let read: u64 = read.map(|data| data.len() as u64).sum();
        let none = || SizeHint::with_exact(0);
        let rest = self.rest.as_ref().map_or_else(none, Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(read + upper);
        }
        hint
    }
}
