//! Which models a key may use: what it names, what it gets without a name, and what it is shown.
//!
//! A name counts as the client writes it, an alias's own and not those of its models. Of a model that a key may not use it
//! does not even learn whether there is one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    auth::Caller,
    error::Error,
    routing::{Mode, Target},
    state::AppState,
    upstream::Catalog,
};

/// What a request may use that names `name`, or no model.
///
/// # Errors
/// What [`Catalog::resolve`] says, of the models the key may use; a 403 for any other.
pub fn resolve(
    catalog: &Catalog,
    caller: Option<&Caller>,
    name: Option<&str>,
) -> Result<Target, Error> {
    let Some(usable) = caller.and_then(Caller::models) else {
        return catalog.resolve(name);
    };
    if name.is_some_and(|name| !usable.contains(name)) {
        return Err(Error::ModelNotAllowed(name.map(str::to_owned)));
    }
    let target = catalog.resolve(name).map_err(|error| match (error, name) {
        (Error::ModelNotFound { .. }, Some(name)) => Error::ModelNotFound {
            model: name.to_owned(),
            known: choices(catalog, usable),
        },
        (Error::Invalid { .. }, _) => {
            let choices = choices(catalog, usable);
            Error::invalid_field(
                "model",
                format!("`model` is missing; choose one of {choices}."),
            )
        }
        (other, _) => other,
    })?;
    match name {
        Some(_) => Ok(target),
        None if usable.contains(&*target.choose(Mode::Unchanged).0) => Ok(target),
        None => Err(Error::ModelNotAllowed(None)),
    }
}

/// A request of which no body is seen. `is_all`: it has none.
///
/// # Errors
/// As for one that names no model, when its key is not for all of them; a 403 when there is a body that nobody shows us.
pub fn unread(state: &AppState, caller: Option<&Caller>, is_all: bool) -> Result<(), Error> {
    match caller.and_then(Caller::models) {
        None => Ok(()),
        Some(_) if is_all => resolve(&state.catalog.load(), caller, None).map(drop),
        Some(_) => Err(Error::ModelNotAllowed(None)),
    }
}

/// The answer to `GET /v1/models`.
pub fn list(state: &AppState, caller: Option<&Caller>) -> Value {
    let catalog = state.catalog.load();
    match caller.and_then(Caller::models) {
        None => catalog.list(),
        Some(usable) => {
            let entries = usable.iter().filter_map(|name| catalog.entry(name));
            json!({"object": "list", "data": entries.collect::<Vec<Value>>()})
        }
    }
}

/// The answer to `GET /v1/models/{id}`.
///
/// # Errors
/// When there is no such model, or not for this key.
pub fn one(state: &AppState, caller: Option<&Caller>, id: &str) -> Result<Value, Error> {
    let catalog = state.catalog.load();
    resolve(&catalog, caller, Some(id))?;
    catalog.entry(id).ok_or(Error::Internal) // what resolves has an entry
}

/// The models there are of those a key may use, for a message.
fn choices(catalog: &Catalog, usable: &BTreeSet<String>) -> String {
    let there: Vec<&str> = usable
        .iter()
        .map(String::as_str)
        .filter(|name| catalog.entry(name).is_some())
        .collect();
    match there.is_empty() {
        true => "(none)".into(),
        false => there.join(", "),
    }
}
