//! References to keys. The configuration names a key and never holds it, and no key is ever printed.

use std::{env, fmt, path::Path};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::read_file;

/// A reference to a key: `env:NAME` or `file:PATH`, or the hash of a client's key: `sha256:HEX`.
///
/// The key is read when it is needed. Names and paths may be printed, the hash may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// The name of an environment variable.
    Env(String),
    /// The path of a file. White space around its content is removed.
    File(String),
    /// The hash of a key. It recognises a client's key; it cannot be sent.
    Sha256(Digest),
}

/// Returns true for a text that may contain a key, such as a URL with a password or a query.
pub(super) fn may_carry_key(text: &str) -> bool {
    text.contains(['@', '?', '#'])
}

/// The SHA-256 hash of a key. It is never printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes a key.
    pub fn of(key: &str) -> Self {
        Self(<Sha256 as sha2::Digest>::digest(key.as_bytes()).into())
    }

    /// The first half in hexadecimal digits: 128 bits, enough to tell names apart.
    pub fn short_hex(&self) -> String {
        self.0
            .iter()
            .take(16)
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    /// Parses 64 hexadecimal digits.
    fn parse(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl ConstantTimeEq for Digest {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The text of a key. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Revealed(String);

impl Revealed {
    /// A text that may not be printed.
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for a header or a comparison.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Secret {
    /// Parses a reference.
    ///
    /// # Errors
    /// The expected format. The text is not repeated, because it may be a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("sha256", hex)) => Digest::parse(hex).map(Self::Sha256).ok_or_else(|| {
                "sha256: takes the 64 hexadecimal digits of the key's SHA-256".into()
            }),
            _ => Err("a key is named, not written here: env:NAME or file:PATH".into()),
        }
    }

    /// Reads the key.
    ///
    /// # Errors
    /// The variable or file that is missing, empty or not valid in a header. A hash is an error too: the key is not known.
    pub fn reveal(&self) -> Result<Revealed, String> {
        let (key, source) = match self {
            Self::Env(name) => (
                env::var(name).ok(),
                format!("the environment variable {name}"),
            ),
            Self::File(path) => {
                let content = read_file(Path::new(path)).ok();
                let text = content.and_then(|content| String::from_utf8(content).ok());
                (text, format!("the file {path}"))
            }
            Self::Sha256(_) => {
                return Err(
                    "a hash does for a client's key only: write env:NAME or file:PATH".into(),
                );
            }
        };
        let key = key
            .map(|key| key.trim().to_owned())
            .filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| format!("{source} is missing, unreadable or empty"))?;
        match key.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Revealed(key)),
            false => Err(format!(
                "{source} holds characters that cannot be sent in a header"
            )),
        }
    }

    /// The hash of the key.
    ///
    /// # Errors
    /// As for [`Secret::reveal`], except that a hash is no error.
    pub fn digest(&self) -> Result<Digest, String> {
        match self {
            Self::Sha256(digest) => Ok(*digest),
            other => Ok(Digest::of(other.reveal()?.expose())),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Sha256(_) => f.write_str("sha256:(hidden)"), // a printed hash would let others guess the key
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Any value is accepted first, so that the error for `key: 12345` does not print the key.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::parse(&text),
            _ => Self::parse(""),
        }
        .map_err(de::Error::custom)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_written_in_clear_is_refused_and_not_repeated() {
        let error = Secret::parse("sk-12345").unwrap_err();
        assert!(error.contains("env:NAME") && !error.contains("sk-12345"));
        let error = serde_json::from_str::<Secret>("12345")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("12345"), "{error}");
    }

    #[test]
    fn a_hash_is_recognised_and_neither_printed_nor_sent() {
        let hex = "9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08";
        let hashed = Secret::parse(&format!("sha256:{hex}")).unwrap();
        assert_eq!(hashed.digest().unwrap(), Digest::of("test"));
        assert!(hashed.reveal().unwrap_err().contains("client's key only"));
        let printed = format!(
            "{hashed} {hashed:?} {}",
            serde_json::to_value(&hashed).unwrap()
        );
        assert!(!printed.to_uppercase().contains("9F86"), "{printed}");
        for wrong in [
            "",
            "9f86",
            &hex.replace('9', "g"),
            &format!("{hex}0"),
            &hex.replace("9F", "+F"),
        ] {
            let error = Secret::parse(&format!("sha256:{wrong}")).unwrap_err();
            assert!(
                error.contains("64 hexadecimal digits") && !error.contains("F86"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_key_in_a_file_is_read_without_its_line_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "sk-1\n").unwrap();
        let key = Secret::parse(&format!("file:{}", file.path().display()))
            .unwrap()
            .reveal()
            .unwrap();
        assert_eq!(
            (key.expose(), format!("{key:?}").as_str()),
            ("sk-1", "(hidden)")
        );
        assert!(
            Secret::parse("env:THINKGATE_NO_SUCH")
                .unwrap()
                .reveal()
                .unwrap_err()
                .contains("THINKGATE_NO_SUCH")
        );
    }
}
