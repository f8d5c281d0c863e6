//! Other APIs in front of a chat: their requests become chats, and whole answers become theirs.

use bytes::Bytes;
use dialects::{Chat, translation_bytes};
use dispatch::{Route, Served};
use offload::long_work;
use provider::{Error, ErrorKind, InvalidRequest, MemoryBudget, Operation, Request, utf8};
use router::RouterError;

use super::{
    admission::Admitted,
    answer::{Prepared, read_whole},
};
use crate::{
    app::Live,
    error::ApiError,
    form::{About, Form, Translation},
};

/// Bytes for what an answer has beside what the upstream says and what it repeats of the request: ids and names.
const ENVELOPE: usize = 16 << 10;

/// Makes the body a chat with `to_chat`, and prepares that; `translation` makes its answer what the client expects. The client
/// calls the list of messages `list`.
pub(super) fn prepare<A>(
    mut admitted: Admitted,
    live: &Live,
    route: Route,
    to_chat: fn(&str) -> Result<Chat<A>, InvalidRequest>,
    translation: fn(Box<A>) -> Translation,
    list: &'static str,
) -> Result<Box<Prepared>, ApiError> {
    let Chat { body, dropped, asked } = translate(&mut admitted, to_chat)?;
    let request = Request::parse(Operation::Chat, body.into(), live.server.limits);
    let request = request.map_err(|invalid| in_words_of_client(invalid, list))?;
    let resolved = admitted.resolve(live, Some(&request.head.model))?;
    let translation = translation(Box::new(asked));
    // The chat and the copy that is sent take what the key may have at most, where the chat is one of the longest.
    let most = admitted.reservation.budget().limit() / 2;
    let held = admitted.reservation.bytes() + translation.held_bytes();
    admitted.reservation.resize(held.min(most).max(admitted.reservation.bytes()))?;
    let form = Form::Translated(translation);
    Ok(Prepared::new(request, resolved, route, admitted, live, form)?.with_dropped(dropped))
}

/// What is wrong with the chat, by the client's name for the list of messages: there may be too many of them. All else was looked at
/// when they were translated.
fn in_words_of_client(invalid: InvalidRequest, list: &str) -> InvalidRequest {
    if invalid.param.as_deref() != Some("messages") {
        return invalid;
    }
    InvalidRequest::field(list, invalid.message.replace("'messages'", &format!("'{list}'")))
}

/// The chat that a body becomes. While it is made, memory is reserved for all that takes; the largest bodies get what their key may
/// have at most. After that it is reserved for the chat alone.
pub(super) fn translate<A>(
    admitted: &mut Admitted,
    to_chat: fn(&str) -> Result<Chat<A>, InvalidRequest>,
) -> Result<Chat<A>, ApiError> {
    let body = std::mem::take(&mut admitted.body);
    let most = admitted.reservation.budget().limit();
    let needed = (body.len() + translation_bytes(&body)).min(most).max(admitted.reservation.bytes());
    admitted.reservation.resize(needed)?;
    let mut chat = to_chat(utf8(&body)?)?;
    drop(body);
    chat.body.shrink_to_fit();
    // It may be longer than the body: arguments of tools that were objects are texts with escaped quotes. Then the same holds as
    // for a body: one that has no room beside its copy would never be served, however often it is repeated.
    if chat.body.len() > most / 2 {
        return Err(ApiError::body_too_large(most / 2));
    }
    admitted.reservation.resize(chat.body.len())?;
    Ok(chat)
}

/// Reads a whole answer to its end and translates it; the memory for it is counted until the last of the bytes is gone.
pub(super) async fn read(
    mut served: Served,
    translation: Translation,
    about: About,
    memory: &MemoryBudget,
) -> Result<Bytes, RouterError> {
    let body = read_whole(&mut served).await?;
    let attempts = served.attempts;
    let failed = |error| RouterError::Failed { error, attempts, retry_after: None };
    let needed = 2 * body.len() + translation.held_bytes() + ENVELOPE;
    let reservation = memory.reserve(needed).map_err(|none| failed(none.into()))?;
    let translated = long_work(body.len(), move || {
        translation.translate(&about, &String::from_utf8_lossy(&body)).map(|translated| (translated, reservation))
    });
    let (translated, mut reservation) = translated.await.map_err(|malformed| {
        failed(Error::new(ErrorKind::Protocol, format!("the upstream's answer is not valid JSON: {malformed}")))
    })?;
    let translated = translated.into_boxed_slice();
    reservation.resize(translated.len()).map_err(|none| failed(none.into()))?;
    Ok(reservation.attach(translated.into()))
}
