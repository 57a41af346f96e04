//! The head of an answer: what httparse reads of it, and what it says of the body behind it (RFC 9112, 6.3).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use httparse::{ParserConfig, Status};

use super::{chunks::Next, framing::Framing};
use crate::upstream::forward::list_items;

/// Lines of a head, or of trailers, at most; what hyper (1.12) takes of a client.
pub(super) const LINES: usize = 100;

/// An answer that cannot be read, or not in one way only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer that is not HTTP/1.1")]
pub struct Malformed;

/// What comes before the body of an answer.
#[derive(Debug)]
pub struct ResponseHead {
    /// Never an interim one (1xx).
    pub status: StatusCode,
    /// As they came, but that a length is told once, and none beside chunks.
    pub headers: HeaderMap,
    /// How the end of the body is known.
    pub(super) framing: Framing,
    /// Whether its connection can take another request behind it.
    pub keeps: bool,
}

impl ResponseHead {
    /// Reads a head, whole and alone. `method`: of the request that it answers. The values of headers share its bytes.
    pub(super) fn read(head: &Bytes, method: &Method) -> Result<Self, Malformed> {
        let mut lines = [const { MaybeUninit::uninit() }; LINES];
        let mut read = httparse::Response::new(&mut []);
        let length =
            ParserConfig::default().parse_response_with_uninit_headers(&mut read, head, &mut lines);
        if length != Ok(Status::Complete(head.len())) {
            return Err(Malformed);
        }
        let mut headers = headers(head, read.headers)?;
        let status = read.code.and_then(|code| StatusCode::from_u16(code).ok());
        // Neither another protocol nor a tunnel is wanted.
        let switches = |status: &StatusCode| match *method {
            Method::CONNECT => status.is_success(),
            _ => *status == StatusCode::SWITCHING_PROTOCOLS,
        };
        let status = status.filter(|status| !switches(status)).ok_or(Malformed)?;
        let is_1_1 = read.version == Some(1);
        let may_be_reused = stays_open(&headers, is_1_1);
        let has_none = *method == Method::HEAD || matches!(status.as_u16(), 100..=199 | 204 | 304);
        let (framing, is_plain) = match framing(&mut headers, is_1_1) {
            Ok((_, is_plain)) if has_none => (Framing::Over, is_plain),
            Err(Malformed) if has_none => {
                headers.remove(header::CONTENT_LENGTH);
                (Framing::Over, false)
            }
            framing => framing?,
        };
        Ok(Self {
            status,
            headers,
            framing,
            keeps: may_be_reused && is_plain && framing != Framing::UntilClosed,
        })
    }
}

/// Lines of `bytes` as headers.
pub(super) fn headers(
    bytes: &Bytes,
    lines: &[httparse::Header<'_>],
) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value));
        headers.append(name.map_err(|_| Malformed)?, value.map_err(|_| Malformed)?);
    }
    Ok(headers)
}

/// By what the headers say; of a length there is one then, or none. Beside it whether they say it once: whoever has a length and
/// chunks may mean two things by what follows.
fn framing(headers: &mut HeaderMap, is_1_1: bool) -> Result<(Framing, bool), Malformed> {
    if is_chunked(headers)? {
        let is_plain = headers.remove(header::CONTENT_LENGTH).is_none(); // it says nothing
        return match is_1_1 {
            true => Ok((Framing::Chunked(Next::Size), is_plain)),
            false => Err(Malformed),
        };
    }
    let Some(length) = length(headers)? else {
        return Ok((Framing::UntilClosed, true));
    };
    if list_items(headers, header::CONTENT_LENGTH).nth(1).is_some() {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let framing = match length {
        0 => Framing::Over,
        left => Framing::Length(left),
    };
    Ok((framing, true))
}

/// Of the codings only chunks can be undone, and no other was asked for; `identity` (RFC 2616) is none.
fn is_chunked(headers: &HeaderMap) -> Result<bool, Malformed> {
    let mut codings = list_items(headers, header::TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(true),
        (Some(coding), None) if coding.eq_ignore_ascii_case("identity") => Ok(false),
        _ => Err(Malformed),
    }
}

/// The length that is told, as often as it may be.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for digits in list_items(headers, header::CONTENT_LENGTH) {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()); // a sign is none
        let told: i64 = digits.parse().map_err(|_| Malformed)?;
        if !is_number || length.replace(told).is_some_and(|before| before != told) {
            return Err(Malformed);
        }
    }
    Ok(length.map(i64::unsigned_abs))
}

fn stays_open(headers: &HeaderMap, is_1_1: bool) -> bool {
    let says = |word: &str| {
        list_items(headers, header::CONNECTION).any(|option| option.eq_ignore_ascii_case(word))
    };
    !says("close") && (is_1_1 || says("keep-alive"))
}
