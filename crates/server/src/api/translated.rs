//! Other APIs in front of a chat: their requests become chats, and whole answers become theirs.

use bytes::Bytes;
use dialects::Chat;
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

/// Bytes for what an answer has beside what the upstream says: ids, names, and what Responses repeat of the request.
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
    let form = Form::Translated(translation(Box::new(asked)));
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

/// The chat that a body becomes. Memory is reserved for both while there are both, and for the chat alone after that.
pub(super) fn translate<A>(
    admitted: &mut Admitted,
    to_chat: fn(&str) -> Result<Chat<A>, InvalidRequest>,
) -> Result<Chat<A>, ApiError> {
    let body = std::mem::take(&mut admitted.body);
    admitted.reservation.resize(2 * body.len())?;
    let mut chat = to_chat(utf8(&body)?)?;
    chat.body.shrink_to_fit();
    // It may be longer than the body: arguments of tools that were objects are texts with escaped quotes. Then the same holds as
    // for a body: one that has no room beside its copy would never be served, however often it is repeated.
    let most = admitted.reservation.budget().limit() / 2;
    if chat.body.len() > most {
        return Err(ApiError::body_too_large(most));
    }
    admitted.reservation.resize(body.len() + chat.body.len())?;
    drop(body);
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
    let reservation = memory.reserve(2 * body.len() + ENVELOPE).map_err(|none| failed(none.into()))?;
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
