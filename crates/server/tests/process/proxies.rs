//! The environment's proxies are for other programs: the key would go through them.

use crate::{
    router::{KEY, Router, header, status},
    wire::listen,
};

#[test]
fn proxies_of_the_environment_are_not_used() {
    let (proxy, record) = listen(|_socket, record| record.push(b"a connection"));
    let proxy = format!("http://{proxy}");
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    // Nothing listens at the first upstream, so that the second one, which is there, has to serve.
    let router =
        Router::start("http://127.0.0.1:9/v1", &names.map(|name| (name, proxy.as_str())), "unset NO_PROXY no_proxy");
    let answer = router.chat(KEY);
    assert_eq!((status(&answer), header(&answer, "x-llm-router-upstream")), ("200", "second"), "{answer}");
    assert_eq!(record.len(), 0, "calls go to the upstreams themselves");
}
