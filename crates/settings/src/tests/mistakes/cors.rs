//! Origins of pages that are none.

use super::*;

#[test]
fn mistakes_in_origins_are_reported() {
    let cases = [
        ("\"app.example\"", "[0]", "\"app.example\" has no scheme", "did you mean \"https://app.example\"?"),
        ("\"https://a.example/\"", "[0]", "\"https://a.example/\" ends in a slash", "\"https://a.example\""),
        ("\"https://a.example/app/\"", "[0]", "\"https://a.example/app/\" has a path", "\"https://a.example\""),
        ("\"https://a.example?x=1\"", "[0]", "\"https://a.example?x=1\" has a path", "\"https://a.example\""),
        ("\"https://A.example\"", "[0]", "\"https://A.example\" has capitals", "\"https://a.example\""),
        ("\"https://a.b:443\"", "[0]", "\"https://a.b:443\" has a port that browsers leave out", "\"https://a.b\""),
        ("\"http://a.b:80\"", "[0]", "\"http://a.b:80\" has a port that browsers leave out", "\"http://a.b\""),
        ("\"https://u:p@a.example\"", "[0]", "\"https://u:p@a.example\" has a user", "\"https://a.example\""),
        ("\"https://*.example\"", "[0]", "\"https://*.example\" has a wildcard", "list each origin"),
        ("\"https://a.example\", \"*\"", "[1]", "\"*\" stands beside other origins", "keep it alone"),
        ("\"null\"", "[0]", "\"null\" is no origin of a page", "sandboxed frames"),
        ("\"https://\"", "[0]", "\"https://\" is not an origin", ""),
        ("\"https://a b\"", "[0]", "\"https://a b\" is not an origin", ""),
        ("\"https://b\u{fc}cher.example\"", "[0]", "\"https://b\u{fc}cher.example\" is not an origin", "xn--"),
        ("\"https://a.example:http\"", "[0]", "\"https://a.example:http\" has no port behind the colon", ""),
        ("\"https://a.b\", \"https://a.b\"", "[1]", "\"https://a.b\" is there twice", ""),
        ("", "", "is empty", "leave [server.cors] out"),
        ("3", "[0]", "3 is not a string", ""),
    ];
    for (origins, place, said, hint) in cases {
        let to = format!("[server.cors]\norigins = [{origins}]\n\n[log]");
        check(&[("[log]", &to, &format!("server.cors.origins{place}"), said, hint)]);
    }
    check(&[
        ("[log]", "[server.cors]\n[log]", "server.cors.origins", "missing", ""),
        (
            "drain_s = 30",
            "cors = { origins = [\"*\"], origin = 1 }",
            "server.cors.origin",
            "unknown key",
            "\"origins\"",
        ),
    ]);
}

/// A page that is open on the machine could spend without a key.
#[test]
fn all_pages_may_not_call_a_router_without_keys() {
    let open = "[server.cors]\norigins = [\"*\"]\n\n[auth]\nmode = \"none\"";
    let said = "\"none\" lets every web page that is open on this machine call";
    check(&[("[auth]\nmode = \"keys\"", open, "auth.mode", said, "server.cors.origins")]);
}

#[test]
fn origins_are_those_that_browsers_send() {
    let cors = |origins: &str| {
        let text = VALID.replace("[log]", &format!("[server.cors]\norigins = {origins}\n\n[log]"));
        parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}")).server.cors
    };
    assert_eq!(cors("[\"*\"]"), Some(CorsOrigins::Any));
    let listed = [
        "https://a.example",
        "http://localhost:5173",
        "http://[::1]:3000",
        "vscode-webview://1a-b",
        "tauri://localhost",
    ];
    let all = Some(CorsOrigins::Listed(listed.map(str::to_owned).to_vec()));
    assert_eq!(cors(&format!("{listed:?}")), all);
    assert_eq!(valid().server.cors, None);
}
