//! `POST /v1/responses`: OpenAI's Responses API.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use dialects::responses::to_chat;
use dispatch::Route;

use super::{admission::Admitted, call, translated};
use crate::{
    app::{App, Live},
    form::Translation,
};

/// Answers with a response, whole or as events.
pub(crate) async fn serve(request: HttpRequest, payload: web::Payload, app: web::Data<Arc<App>>) -> HttpResponse {
    let prepare = |admitted: Admitted, live: &Live| {
        translated::prepare(admitted, live, Route::Responses, to_chat, Translation::Responses, "input")
    };
    call::serve(Route::Responses, &request, payload, &app, prepare).await
}
