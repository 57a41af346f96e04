//! The address of the store of `auth.shared_limits`.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use super::{Revealed, Secret};

/// The address of a Redis or Valkey: by reference in whole (`env:NAME`, `file:PATH`), or written out, with its password by reference:
/// `rediss://USER:env:NAME@HOST:PORT`. A password is never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Whole(Secret),
    Written {
        /// As it was written. It holds no password.
        url: Url,
        password: Option<Secret>,
    },
}

const FORMS: &str = "write redis://HOST:PORT, rediss://HOST:PORT, env:NAME or file:PATH";

impl StoreUrl {
    /// Parses an address or a reference to one.
    ///
    /// # Errors
    /// What is wrong. The text is not repeated, because it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("env:") || text.starts_with("file:") {
            return Secret::parse(text).map(Form::Whole).map(Self);
        }
        let url = checked(text)?;
        let password = url.password().map(|reference| {
            let reference = percent_decode_str(reference).decode_utf8_lossy();
            match Secret::parse(&reference) {
                Ok(secret @ (Secret::Env(_) | Secret::File(_))) => Ok(secret),
                _ => Err("a password is named, not written here: rediss://USER:env:NAME@HOST:PORT, or the whole address by env:NAME or file:PATH".to_owned()),
            }
        });
        let password = password.transpose()?;
        Ok(Self(Form::Written { url, password }))
    }

    /// The reference in it, if it has one.
    pub fn secret(&self) -> Option<&Secret> {
        match &self.0 {
            Form::Whole(secret) => Some(secret),
            Form::Written { password, .. } => password.as_ref(),
        }
    }

    /// The whole address, with its password.
    ///
    /// # Errors
    /// The variable or file that is missing, or holds no address of a store.
    pub fn reveal(&self) -> Result<Revealed, String> {
        Ok(Revealed::new(self.url()?.into()))
    }

    /// The scheme, host and port, for the log.
    ///
    /// # Errors
    /// As for [`StoreUrl::reveal`].
    pub fn address(&self) -> Result<String, String> {
        let url = self.url()?;
        let port = url.port().unwrap_or(6379);
        let host = url.host_str().unwrap_or_default();
        Ok(format!("{}://{host}:{port}", url.scheme()))
    }

    fn url(&self) -> Result<Url, String> {
        match &self.0 {
            Form::Whole(secret) => {
                let text = secret.reveal()?;
                checked(text.expose()).map_err(|message| format!("what {secret} holds {message}"))
            }
            Form::Written { url, password } => {
                let mut url = url.clone();
                if let Some(password) = password {
                    let password = password.reveal()?;
                    let set = url.set_password(Some(password.expose()));
                    set.map_err(|()| "takes no password".to_owned())?;
                }
                Ok(url)
            }
        }
    }
}

/// An address of a store.
fn checked(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("is no address of a store; {FORMS}"))?;
    if !matches!(url.scheme(), "redis" | "rediss" | "valkey" | "valkeys") {
        return Err(format!("is no address of a store; {FORMS}"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("names no host; {FORMS}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query or fragment".into());
    }
    let database = url.path().trim_matches('/');
    match database.is_empty() || database.parse::<u16>().is_ok() {
        true => Ok(url),
        false => Err("must end in the number of a database, such as /1, or in nothing".into()),
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Whole(secret) => secret.fmt(f),
            // The colon of `env:NAME` is encoded within a URL.
            Form::Written { url, password } => match password {
                None => f.write_str(url.as_str()),
                Some(password) => {
                    let address = &url[url::Position::BeforeHost..];
                    write!(
                        f,
                        "{}://{}:{password}@{address}",
                        url.scheme(),
                        url.username()
                    )
                }
            },
        }
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Any value is accepted first, so that no error prints it.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::parse(&text),
            _ => Err(format!("expected an address; {FORMS}")),
        }
        .map_err(de::Error::custom)
    }
}

impl Serialize for StoreUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_store_comes_in_whole_by_reference_or_with_its_password_by_reference() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "p/ss@1\n").unwrap();
        let path = file.path().display().to_string();
        let encoded = path.replace('/', "%2F");
        for (text, url, shown) in [
            ("redis://h", "redis://h", "redis://h"),
            ("rediss://h:1/2", "rediss://h:1/2", "rediss://h:1/2"),
            ("valkey://u@h", "valkey://u@h", "valkey://u@h"),
            (
                &format!("rediss://u:file:{encoded}@h:1"),
                "rediss://u:p%2Fss%401@h:1",
                &format!("rediss://u:file:{path}@h:1"),
            ),
            (
                &format!("redis://:file:{encoded}@h"),
                "redis://:p%2Fss%401@h",
                &format!("redis://:file:{path}@h"),
            ),
        ] {
            let parsed = StoreUrl::parse(text).unwrap();
            assert_eq!(parsed.reveal().unwrap().expose(), url);
            assert_eq!(parsed.to_string(), shown);
        }
        std::fs::write(file.path(), "rediss://u:secret@h:1\n").unwrap();
        let whole = StoreUrl::parse(&format!("file:{path}")).unwrap();
        assert_eq!(whole.reveal().unwrap().expose(), "rediss://u:secret@h:1");
        assert_eq!(whole.address().unwrap(), "rediss://h:1");
        std::fs::write(file.path(), "https://u:secret@h:1\n").unwrap();
        let error = whole.reveal().unwrap_err();
        assert!(
            error.contains("no address of a store") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn a_password_written_in_clear_is_refused_and_not_repeated() {
        for wrong in [
            "redis://u:sk-1@h",
            "redis://:sk-1@h",
            "http://sk-1",
            "sk-1",
            "redis://h?password=sk-1",
            "redis://h/sk-1",
            "redis://h#sk-1",
            "redis://",
        ] {
            let error = StoreUrl::parse(wrong).unwrap_err();
            assert!(!error.contains("sk-1"), "{error}");
        }
    }
}
