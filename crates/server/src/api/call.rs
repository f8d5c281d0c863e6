//! What all calls that an upstream answers have in common: admission, preparation on the body, and the answer.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use dispatch::Route;
use offload::long_work;

use super::{
    admission::{Admitted, RequestContext},
    answer::{Prepared, answer},
};
use crate::{
    app::{App, Live},
    error::ApiError,
};

/// Serves one request, which came in by `route`; `prepare` makes a chat, or another operation, of its body.
pub(super) async fn serve(
    route: Route,
    request: &HttpRequest,
    payload: web::Payload,
    app: &Arc<App>,
    prepare: impl FnOnce(Admitted, &Live) -> Result<Box<Prepared>, ApiError> + Send + 'static,
) -> HttpResponse {
    let mut context = RequestContext::new(route, request, app);
    let prepared = match context.receive(request, payload).await {
        Ok(admitted) => {
            let live = context.live.clone();
            long_work(admitted.body.len(), move || prepare(admitted, &live)).await
        }
        Err(error) => Err(error),
    };
    let counted = match prepared {
        Ok(prepared) => prepared.counted(&mut context).await,
        Err(error) => Err(error),
    };
    match counted {
        // On the heap: the future of the whole answer is large, and every layer above would move it with its own.
        Ok(prepared) => Box::pin(answer(context, prepared)).await,
        Err(error) => context.refuse(&error).await,
    }
}
