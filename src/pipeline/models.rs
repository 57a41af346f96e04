//! Which models a key may use: by name, without a name, and in the list of models.
//!
//! A key is checked against the name that the client writes: an alias's own name, not those of its models. A key never learns
//! whether a model that it may not use exists.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    api::check_model_name,
    auth::Caller,
    error::Error,
    routing::{Mode, Target},
    state::AppState,
    upstream::Catalog,
};

/// What the request's model name stands for. `name` is `None` where the request names no model.
///
/// # Errors
/// What [`Catalog::resolve`] says, of the models the key may use; a 403 for any other; a 400 for a name over 512 bytes.
pub fn resolve(
    catalog: &Catalog,
    caller: Option<&Caller>,
    name: Option<&str>,
) -> Result<Target, Error> {
    name.map_or(Ok(()), check_model_name)?;
    let Some(allowed) = caller.and_then(Caller::models) else {
        return catalog.resolve(name);
    };
    if name.is_some_and(|name| !allowed.contains(name)) {
        return Err(Error::ModelNotAllowed(name.map(str::to_owned)));
    }
    let target = catalog.resolve(name).map_err(|error| match (error, name) {
        (Error::ModelNotFound { .. }, Some(name)) => Error::ModelNotFound {
            model: name.to_owned(),
            known: choices(catalog, allowed),
        },
        (Error::Invalid { .. }, _) => {
            let choices = choices(catalog, allowed);
            Error::invalid_field(
                "model",
                format!("`model` is missing; choose one of {choices}."),
            )
        }
        (other, _) => other,
    })?;
    match name {
        Some(_) => Ok(target),
        None if allowed.contains(&*target.choose(Mode::Unchanged).0) => Ok(target),
        None => Err(Error::ModelNotAllowed(None)),
    }
}

/// Checks a request whose body is not shown to us. `has_no_body`: there is none to show.
///
/// # Errors
/// As for one that names no model, when its key is not for all of them; a 403 when there is a body.
pub fn check_without_body(
    state: &AppState,
    caller: Option<&Caller>,
    has_no_body: bool,
) -> Result<(), Error> {
    match caller.and_then(Caller::models) {
        None => Ok(()),
        Some(_) if has_no_body => resolve(&state.catalog.load(), caller, None).map(drop),
        Some(_) => Err(Error::ModelNotAllowed(None)),
    }
}

/// The answer to `GET /v1/models`.
pub fn list_models(state: &AppState, caller: Option<&Caller>) -> Value {
    let catalog = state.catalog.load();
    match caller.and_then(Caller::models) {
        None => catalog.list(),
        Some(allowed) => {
            let entries = allowed.iter().filter_map(|name| catalog.entry(name));
            json!({"object": "list", "data": entries.collect::<Vec<Value>>()})
        }
    }
}

/// The answer to `GET /v1/models/{id}`.
///
/// # Errors
/// When there is no such model, or not for this key.
pub fn get_model(state: &AppState, caller: Option<&Caller>, id: &str) -> Result<Value, Error> {
    let catalog = state.catalog.load();
    resolve(&catalog, caller, Some(id))?;
    catalog.entry(id).ok_or(Error::Internal) // what resolves has an entry
}

/// The models there are of those a key may use, for a message.
fn choices(catalog: &Catalog, allowed: &BTreeSet<String>) -> String {
    let there: Vec<&str> = allowed
        .iter()
        .map(String::as_str)
        .filter(|name| catalog.entry(name).is_some())
        .collect();
    match there.is_empty() {
        true => "(none)".into(),
        false => there.join(", "),
    }
}
