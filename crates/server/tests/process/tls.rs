//! An upstream whose certificate or protocol must not be trusted: it reads no byte of a request, above all not the key, and the
//! other upstream serves. The certificates come from `tls/make.sh`.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::{
    router::{KEY, Router, UPSTREAM_KEY, header, status},
    wire::{Record, listen},
};

const ANSWER: &str = r#"{"id":"w","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"wire"},"finish_reason":"stop"}]}"#;

const ALERT: &str =
    "no TLS connection to the upstream could be made: its certificate or its protocol is not acceptable";

fn file(name: &str) -> String {
    format!("{}/tests/process/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn server(certificate: &str) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(file(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// Shakes hands, reads a request and answers it.
fn serve(config: &Arc<ServerConfig>, mut socket: TcpStream, record: &Record) {
    let mut connection = ServerConnection::new(config.clone()).unwrap();
    let mut stream = Stream::new(&mut connection, &mut socket);
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !read.ends_with(b"}") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => read.extend_from_slice(&buffer[..length]),
        }
    }
    record.push(&read);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    drop(write!(stream, "{head}content-length: {}\r\n\r\n{ANSWER}", ANSWER.len()));
    stream.conn.send_close_notify();
    drop(stream.flush());
}

/// Starts a router that trusts the test's authority alone.
fn router(url: &str) -> Router {
    let authority = file("authority.pem");
    assert!(Path::new(&authority).exists());
    Router::start(url, &[("SSL_CERT_FILE", &authority)], "")
}

#[test]
fn a_certificate_of_a_known_authority_is_trusted() {
    let config = server("good.pem");
    let (addr, record) = listen(move |socket, record| serve(&config, socket, record));
    let answer = router(&format!("https://{addr}/v1")).chat(KEY);
    assert_eq!((status(&answer), header(&answer, "x-llm-router-upstream")), ("200", "first"), "{answer}");
    assert!(record.all().contains(UPSTREAM_KEY), "{}", record.all());
}

/// Fails unless the second upstream served, and, where none did, the log says why.
fn assert_not_trusted(router: &Router, what: &str) {
    let answer = router.chat(KEY);
    assert_eq!((status(&answer), header(&answer, "x-llm-router-upstream")), ("200", "second"), "{what}: {answer}");
    let alone = router.chat_with_the_first();
    assert!(status(&alone).starts_with("50") && alone.contains(ALERT), "{what}: {alone}");
    assert!(!alone.contains("127.0.0.1"), "{what}: the client learns no address: {alone}");
}

#[test]
fn no_request_goes_to_an_upstream_whose_certificate_is_wrong() {
    for certificate in ["expired.pem", "early.pem", "other_host.pem", "self_signed.pem"] {
        let config = server(certificate);
        let (addr, record) = listen(move |socket, record| serve(&config, socket, record));
        assert_not_trusted(&router(&format!("https://{addr}/v1")), certificate);
        assert!(record.len() > 0, "{certificate}: it was called");
        assert_eq!(record.all(), "", "{certificate}");
    }
}

/// Answers a handshake with these bytes; what it reads is recorded.
fn answering(bytes: &'static [u8]) -> (std::net::SocketAddr, Record) {
    listen(move |mut socket, record| {
        let mut buffer = [0; 4096];
        let length = socket.read(&mut buffer).unwrap_or(0);
        record.push(&buffer[..length]);
        drop(socket.write_all(bytes));
        while let Ok(length @ 1..) = socket.read(&mut buffer) {
            record.push(&buffer[..length]);
        }
    })
}

#[test]
fn no_request_goes_to_an_upstream_that_speaks_no_tls_or_an_old_one() {
    // A handshake record with a hello of TLS 1.1: 32 bytes of chance, no session, TLS_RSA_WITH_AES_128_CBC_SHA.
    const OLD: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
        0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";
    const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    for (what, bytes) in [("plain HTTP", PLAIN), ("TLS 1.1", OLD)] {
        let (addr, record) = answering(bytes);
        assert_not_trusted(&router(&format!("https://{addr}/v1")), what);
        let read = record.all();
        assert!(read.starts_with('\u{16}'), "{what}: a handshake");
        for word in [UPSTREAM_KEY, "authorization", "Bearer", "canary"] {
            assert!(!read.contains(word), "{what}: {word}");
        }
    }
}
