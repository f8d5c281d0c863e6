//! What a refused format means: whether the client caused it, and whether to call again without a member.

use std::borrow::Cow;

use provider::{Adjustment, Call, Error, ErrorKind, Request};

use crate::{fields, messages};

/// Decides whose mistake a refused format is: only a wrong value in a field of the client's own is the client's. What
/// is not known there, and what the answer can do without, is left out of a second call.
pub(crate) fn judged(error: Error, request: &Request, call: &Call) -> Error {
    if error.kind != ErrorKind::InvalidRequest || error.code.as_deref() != Some("wrong_api_format") {
        return error;
    }
    let blamed = request.fields().find(|name| blames(&error, name)).map(Cow::into_owned);
    let is_unsupported = error.message.to_ascii_lowercase().contains("unsupported")
        || (request.head.features.images && names_a_part(&error));
    let names_a_limit = request.head.max_tokens.is_some() && blames(&error, "max_completion_tokens");
    if !is_unsupported && (blamed.is_some() || names_a_limit) {
        return error;
    }
    let is_repeat = !matches!(call.adjustment, None | Some(Adjustment::FreshConnection));
    let without = blamed.filter(|_| is_unsupported && !is_repeat).and_then(|field| dispensable(&error, field));
    Error { kind: ErrorKind::Unsupported, again: without.map(Adjustment::Without), ..error }
}

/// What to leave out of a second call after `error`, which blames `field`: the field, or the member of all messages
/// that is blamed, as `messages.NAME`. `None` if the answer cannot do without.
fn dispensable(error: &Error, field: String) -> Option<String> {
    if fields::is_dispensable(&field) {
        return Some(field);
    }
    if field != "messages" {
        return None;
    }
    let member = blamed_member(error)?;
    messages::is_dispensable(member).then(|| format!("messages.{member}"))
}

/// The member of a message that `error` names by its path, such as `detail` in `messages.0.content.1.image_url.detail`.
fn blamed_member(error: &Error) -> Option<&str> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '[' | ']');
    let said = [error.param.as_deref().unwrap_or_default(), &error.message];
    let paths = said.into_iter().flat_map(|text| {
        text.match_indices("messages").map(move |(at, _)| {
            let path = &text[at..];
            &path[..path.find(|c| !is_path(c)).unwrap_or(path.len())]
        })
    });
    // The object is often named as well as its member.
    let path = paths.max_by_key(|path| path.len())?;
    path.rsplit(['.', '[', ']']).find(|step| step.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Whether `error` is about a part of a message's content, such as `messages.0.user.content.1`. Where a message holds an image,
/// that is what the model does not read.
fn names_a_part(error: &Error) -> bool {
    let is_number =
        |rest: &str| rest.strip_prefix(['.', '[']).is_some_and(|at| at.starts_with(|c: char| c.is_ascii_digit()));
    error.message.split(".content").skip(1).any(is_number)
}

/// Whether `error` is about the field `name`.
pub(crate) fn blames(error: &Error, name: &str) -> bool {
    let outermost = error.param.as_deref().and_then(|param| param.split(['.', '[']).next());
    if outermost == Some(name) {
        return true;
    }
    // Only where a field is quoted or addressed: a bare word may be any word.
    let named = |(before, after): (&str, &str)| {
        error.message.match_indices(name).any(|(at, _)| {
            let (left, right) = (&error.message[..at], &error.message[at + name.len()..]);
            left.ends_with(before) && right.starts_with(after)
        })
    };
    [("'", "'"), ("`", "`"), ("\"", "\"")].into_iter().any(named)
        || [":", ".", "[", " "].into_iter().any(|after| named(("body.", after)))
        || error.message.strip_prefix(name).is_some_and(|rest| rest.starts_with([':', '.', '[']))
}
