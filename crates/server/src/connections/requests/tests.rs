//! A handler or an answer that panics, behind a real listener.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use actix_web::{
    body::BodyStream,
    rt::System,
    web::{self, ServiceConfig},
};
use futures_util::{StreamExt as _, stream};

use super::*;
use crate::{
    connections::{Listener, bind, serve},
    running::test_app,
};

async fn panics_at_once() -> HttpResponse {
    panic!("a defect with a \"quote\"\nand a second line")
}

async fn panics_later() -> HttpResponse {
    actix_web::rt::task::yield_now().await;
    panic!("a later defect")
}

async fn panics_with_a_permit(app: web::Data<Arc<App>>) -> HttpResponse {
    let _permit = crate::limits::Permit::take(&app.in_flight, 1);
    actix_web::rt::task::yield_now().await;
    panic!("a defect with a permit")
}

async fn panics_amid_its_answer() -> HttpResponse {
    let pieces = stream::iter(0..2).then(async |piece| {
        // What came before is written meanwhile.
        actix_web::rt::task::yield_now().await;
        assert!(piece == 0, "a defect amid an answer");
        Ok::<_, Error>(Bytes::from_static(b"data: first\n\n"))
    });
    HttpResponse::Ok().body(BodyStream::new(pieces))
}

async fn works() -> HttpResponse {
    HttpResponse::Ok().body("well")
}

fn routes(config: &mut ServiceConfig) {
    config
        .service(web::resource("/at-once").to(panics_at_once))
        .service(web::resource("/later").to(panics_later))
        .service(web::resource("/permit").to(panics_with_a_permit))
        .service(web::resource("/amid").to(panics_amid_its_answer))
        .service(web::resource("/well").to(works));
}

/// What the listener answers on one connection, to one request after the other.
fn exchange(address: SocketAddr, paths: &[&str]) -> String {
    let mut connection = TcpStream::connect(address).expect("a connection");
    for (at, path) in paths.iter().enumerate() {
        let close = if at + 1 == paths.len() { "connection: close\r\n" } else { "" };
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: mine-{at}\r\n{close}\r\n");
        connection.write_all(head.as_bytes()).expect("sent");
    }
    let mut answers = String::new();
    connection.read_to_string(&mut answers).expect("answers");
    answers
}

/// Runs `check` beside a listener of one worker.
fn with_listener(check: impl FnOnce(SocketAddr, &App) + Send + 'static) {
    System::new().block_on(async {
        let app = test_app();
        let socket = bind(([127, 0, 0, 1], 0).into()).expect("a socket");
        let address = socket.local_addr().expect("an address");
        let server = serve(Listener::Public, &app, socket, 1, routes).expect("a server");
        let handle = server.handle();
        let checked = actix_web::rt::task::spawn_blocking(move || check(address, &app));
        let stopping = async {
            let checked = checked.await;
            handle.stop(false).await;
            checked
        };
        let (ended, checked) = futures_util::future::join(server, stopping).await;
        ended.expect("it ends in order");
        checked.expect("the check passes");
    });
}

#[test]
fn a_handler_that_panics_answers_500_and_its_connection_goes_on() {
    with_listener(|address, app| {
        let answers = exchange(address, &["/at-once", "/well", "/later", "/permit", "/well"]);
        assert_eq!(answers.matches("HTTP/1.1 500").count(), 3, "{answers}");
        assert_eq!(answers.matches("\r\n\r\nwell").count(), 2, "{answers}");
        assert_eq!(answers.matches(r#""code":"internal_error""#).count(), 3, "{answers}");
        assert_eq!(answers.matches("x-should-retry: false").count(), 3, "{answers}");
        assert!(answers.contains("x-request-id: mine-0") && answers.contains("x-request-id: mine-2"), "{answers}");
        assert!(!answers.contains("defect"), "the cause is not the client's business: {answers}");
        assert_eq!(app.in_flight.load(Ordering::Acquire), 0, "its permit is given back");
        assert!(!app.is_busy());
    });
}

#[test]
fn an_answer_that_panics_ends_its_connection_and_no_other() {
    with_listener(|address, app| {
        let answer = exchange(address, &["/amid", "/well"]);
        assert!(answer.contains("data: first") && !answer.contains("well"), "{answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "a body that breaks is not complete: {answer}");
        assert!(exchange(address, &["/well"]).ends_with("well"));
        assert!(!app.is_busy());
    });
}

#[test]
fn what_a_panic_says_is_one_line_with_its_place() {
    super::super::log_panics();
    let panicked = caught(|| panic!("first\nsecond {}", 7)).expect_err("a panic");
    assert!(
        panicked.0.starts_with("first\nsecond 7 at crates/server/src/connections/requests/tests.rs:"),
        "{panicked:?}"
    );
}
