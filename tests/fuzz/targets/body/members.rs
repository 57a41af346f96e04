//! A second reader of JSON objects, and the slow and obvious way to change one.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};
use thinkgate::api::Change;

/// The members of an object in order: keys unescaped, values as raw JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Members(Vec<(String, String)>);

impl Members {
    /// `None` when the text is no JSON object.
    pub fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// True when both are equal: byte for byte, except white space in the fields that `changes` touch.
    pub fn equal(&self, others: &Self, changes: &[Change]) -> bool {
        let is_touched = |key: &str| {
            changes.iter().any(|change| match change {
                Change::Set(path, _) => path.first() == Some(&key),
                Change::LastUser(_) | Change::System(_) => key == "messages",
                Change::Model(_) => key == "model",
            })
        };
        let is_same = |((key, one), (other_key, other)): (&(String, String), &(String, String))| {
            key == other_key && (one == other || (is_touched(key) && same(one, other)))
        };
        self.0.len() == others.0.len() && self.0.iter().zip(&others.0).all(is_same)
    }

    /// A copy with every change applied.
    pub fn changed(&self, changes: &[Change]) -> Self {
        let mut members = self.clone();
        for change in changes {
            match change {
                Change::Set(path, json) => members.set(path, json),
                Change::LastUser(text) => members.append(|role| role == "user", text, None),
                Change::System(text) => {
                    let is_system = |role: &str| matches!(role, "system" | "developer");
                    let first = json!({"role": "system", "content": text}).to_string();
                    members.append(is_system, &format!("\n{text}"), Some(first));
                }
                Change::Model(name) => members.set(&["model"], &json!(name).to_string()),
            }
        }
        members
    }

    /// Sets the last of equal keys, or adds the key.
    fn set(&mut self, path: &[&str], json: &str) {
        let (key, inner) = path.split_first().expect("a path names something");
        let there = self.0.iter_mut().rev().find(|(name, _)| name == key);
        let value = match inner {
            [] => json.to_owned(),
            inner => {
                let there = there.as_ref().map_or("", |(_, value)| value);
                let mut object = Self::read(there.as_bytes()).unwrap_or(Self(Vec::new()));
                object.set(inner, json);
                object.text()
            }
        };
        match there {
            Some((_, old)) => *old = value,
            None => self.0.push(((*key).to_owned(), value)),
        }
    }

    /// Appends to the last text of a message of this role: the last message of the user, or the first of the system. `or`: the
    /// message to insert when there is none.
    fn append(&mut self, is_meant: impl Fn(&str) -> bool, text: &str, or: Option<String>) {
        let (_, messages) = self
            .0
            .iter_mut()
            .rev()
            .find(|(name, _)| name == "messages")
            .expect("read before");
        let mut all: Vec<Box<RawValue>> = serde_json::from_str(messages).expect("read before");
        let role = |message: &RawValue| {
            Some(
                Self::read(message.get().as_bytes())?
                    .value("role")?
                    .as_str()?
                    .to_owned(),
            )
        };
        let meant = |message: &Box<RawValue>| role(message).is_some_and(|role| is_meant(&role));
        let place = match or {
            None => all.iter().rposition(meant),
            Some(_) => all.iter().position(meant),
        };
        match place.and_then(|place| Some((place, appended(all[place].get(), text)?))) {
            Some((place, message)) => {
                all[place] = RawValue::from_string(message).expect("made of JSON")
            }
            None => {
                let Some(first) = or else { return };
                all.insert(0, RawValue::from_string(first).expect("made of JSON"));
            }
        }
        let all: Vec<&str> = all.iter().map(|message| message.get()).collect();
        *messages = format!("[{}]", all.join(","));
    }

    fn value(&self, key: &str) -> Option<Value> {
        let (_, text) = self.0.iter().rev().find(|(name, _)| name == key)?;
        serde_json::from_str(text).ok()
    }

    fn text(&self) -> String {
        let members = self
            .0
            .iter()
            .map(|(key, value)| format!("{}:{value}", json!(key)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

/// True when two values are equal except for white space between tokens and the spelling of keys.
fn same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    if let (Some(one), Some(other)) = (
        Members::read(one.as_bytes()),
        Members::read(other.as_bytes()),
    ) {
        let pairs = || one.0.iter().zip(&other.0);
        return one.0.len() == other.0.len()
            && pairs().all(|(one, other)| one.0 == other.0 && same(&one.1, &other.1));
    }
    let list = |text: &str| serde_json::from_str::<Vec<Box<RawValue>>>(text).ok();
    match (list(one), list(other)) {
        (Some(one), Some(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(&other)
                    .all(|(one, other)| same(one.get(), other.get()))
        }
        _ => false,
    }
}

/// A message with more text; `None` when it has no text.
fn appended(message: &str, more: &str) -> Option<String> {
    let mut message = Members::read(message.as_bytes())?;
    let (_, content) = message
        .0
        .iter_mut()
        .rev()
        .find(|(name, _)| name == "content")?;
    if content.starts_with('"') {
        *content = longer(content, more);
        return Some(message.text());
    }
    let mut parts: Vec<Box<RawValue>> = serde_json::from_str(content).ok()?;
    for part in parts.iter_mut().rev() {
        let changed = match part.get().starts_with('"') {
            true => longer(part.get(), more),
            false => {
                let mut members = Members::read(part.get().as_bytes())?;
                let text = members
                    .0
                    .iter_mut()
                    .rev()
                    .find(|(name, value)| name == "text" && value.starts_with('"'));
                let Some((_, text)) = text else { continue };
                *text = longer(text, more);
                members.text()
            }
        };
        *part = RawValue::from_string(changed).ok()?;
        let parts: Vec<&str> = parts.iter().map(|part| part.get()).collect();
        *content = format!("[{}]", parts.join(","));
        return Some(message.text());
    }
    None
}

/// A JSON string with more text; its own text stays byte for byte.
fn longer(text: &str, more: &str) -> String {
    let more = json!(more).to_string();
    format!("{}{}", &text[..text.len() - 1], &more[1..])
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<Cow<'de, str>, Box<RawValue>>()? {
                    members.push((key.into_owned(), value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}
