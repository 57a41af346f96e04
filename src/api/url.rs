//! URLs that are sent as they are written.

use percent_encoding::percent_decode_str;
use url::{Position, Url};

/// Reads a URL. `None` for one that cannot be read, and for one that a [`Url`], which is what the client to the servers sends, would
/// change in more than percent-encoding: it takes `\` for `/`, resolves dots, and cuts off what follows `#`.
pub fn url_as_written(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    let sent = &url[..Position::AfterPath];
    let is_same = url.fragment().is_none() && percent_decode_str(sent).eq(percent_decode_str(path));
    is_same.then_some(url)
}
