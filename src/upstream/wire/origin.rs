//! What connections lead to.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use url::Url;

use crate::config::BaseUrl;

/// A server to connect to.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Scheme, name and port.
    pub(super) uri: Uri,
    /// The same as text: what its connections are found by.
    pub(super) key: Arc<str>,
    /// What it is called in requests.
    pub(super) host: HeaderValue,
}

impl Origin {
    /// That of an address; `None` when it makes none, which its reading has refused before.
    pub fn of(url: &BaseUrl) -> Option<Self> {
        let uri = uri(url.as_str())?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        Some(Self {
            key: format!("{scheme}://{authority}").into(),
            host: HeaderValue::try_from(authority.as_str()).ok()?,
            uri: uri.clone(),
        })
    }
}

/// Path and query of a URL as people and browsers read it (the URL standard), to be taken to the letter.
pub fn path_of(url: &str) -> Option<Uri> {
    Some(uri(url)?.path_and_query()?.clone().into())
}

fn uri(text: &str) -> Option<Uri> {
    Url::parse(text).ok()?.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_connected_to_is_the_same_whatever_the_path() {
        let origin = |url| Origin::of(&BaseUrl::parse(url).unwrap()).unwrap();
        let (one, other) = (origin("http://Host:80/team/a/v1"), origin("http://host"));
        assert_eq!(one.key, other.key);
        assert_eq!(one.host, "host");
        assert_eq!(origin("https://[::1]:8443").host, "[::1]:8443");
    }

    #[test]
    fn a_path_goes_on_as_people_wrote_it() {
        let path = |url| path_of(url).unwrap().to_string();
        assert_eq!(path("http://h/a b?q=%2F&r=ä#f"), "/a%20b?q=%2F&r=%C3%A4");
        assert_eq!(path("http://h"), "/");
        assert_eq!(path_of("no url"), None);
    }
}
