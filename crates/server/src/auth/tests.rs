//! Which keys are let in, and what a reload changes of that.

use actix_web::http::header::HeaderValue;

use super::*;
use crate::limits::{Grant, Limits, Refused};

const REST: &str = "
    [[upstreams]]\nid = \"a\"\nprovider = \"openai\"\nmodel = \"m\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"none\"
    [[models]]\nname = \"m\"\nstrategy = \"cost\"\ntargets = [{ upstream = \"a\" }]\n";

/// A keyring of `[[keys]]` with these lines; a variable holds its own name as key.
fn keyring(keys: &[&str], old: Option<&Keyring>) -> Keyring {
    counted(keys, old, &Limits::default())
}

/// The same, counted by the limiters of `limits`.
fn counted(keys: &[&str], old: Option<&Keyring>, limits: &Limits) -> Keyring {
    let keys: Vec<String> = keys.iter().map(|key| format!("[[keys]]\nteam = \"t\"\n{key}\n")).collect();
    let env = |name: &str| (!name.starts_with("LLM_ROUTER__")).then(|| name.to_owned());
    let text = if keys.is_empty() { format!("[auth]\nmode = \"none\"\n{REST}") } else { keys.concat() + REST };
    let config = settings::parse(&text, "x.toml", &env).unwrap_or_else(|problems| panic!("{problems}"));
    Keyring::new(&config, &limits.set(&config), &MemoryBudget::default(), old)
}

fn find(keyring: &Keyring, authorization: &[u8]) -> Result<Arc<ClientKey>, Denied> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_bytes(authorization).expect("a header"));
    keyring.find(&headers)
}

/// Whether the key's limits let in a request.
fn enter(keyring: &Keyring, authorization: &[u8]) -> Result<Grant, Refused> {
    Grant::enter(&find(keyring, authorization).expect("known").limiters)
}

const FIRST: &str = "id = \"first\"\nenv = \"FIRST\"";

#[test]
fn the_scheme_is_read_as_http_says() {
    let keyring = keyring(&[FIRST], None);
    for good in ["Bearer FIRST", "bearer FIRST", "BEARER   FIRST  "] {
        assert!(find(&keyring, good.as_bytes()).is_ok(), "{good}");
    }
    for (bad, denied) in [
        ("", Denied::Missing),
        ("Bearer", Denied::Missing),
        ("Bearer ", Denied::Missing),
        ("Bearer\tFIRST", Denied::Missing),
        ("BearerFIRST", Denied::Missing),
        ("Basic FIRST", Denied::Missing),
        ("Bearer FIRS", Denied::Wrong),
        ("Bearer FIRSTX", Denied::Wrong),
        ("Bearer first", Denied::Wrong),
        ("Bearer FIRST FIRST", Denied::Wrong),
    ] {
        assert_eq!(find(&keyring, bad.as_bytes()).err(), Some(denied), "{bad}");
    }
    assert_eq!(keyring.find(&HeaderMap::new()).err(), Some(Denied::Missing));
    assert_eq!(find(&keyring, b"Bearer \xff\xfe").err(), Some(Denied::Wrong));
}

#[test]
fn a_key_may_come_as_clients_of_anthropic_send_it_but_a_bearer_wins() {
    let keyring = keyring(&[FIRST, "id = \"second\"\nenv = \"SECOND\""], None);
    let found = |headers: &[(&HeaderName, &str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert((*name).clone(), HeaderValue::from_str(value).expect("a header"));
        }
        keyring.find(&map).map(|key| key.id.as_deref().expect("an id").to_owned())
    };
    assert_eq!(found(&[(&API_KEY, " FIRST ")]).as_deref(), Ok("first"));
    assert_eq!(found(&[(&API_KEY, "FIRST"), (&AUTHORIZATION, "Bearer SECOND")]).as_deref(), Ok("second"));
    assert_eq!(found(&[(&API_KEY, "FIRST"), (&AUTHORIZATION, "Basic x")]).as_deref(), Ok("first"));
    assert_eq!(found(&[(&API_KEY, "FIRST"), (&AUTHORIZATION, "Bearer THIRD")]), Err(Denied::Wrong));
    assert_eq!(found(&[(&API_KEY, "THIRD")]), Err(Denied::Wrong));
    assert_eq!(found(&[(&API_KEY, " ")]), Err(Denied::Missing));
}

#[test]
fn a_key_may_have_so_many_bytes_and_not_one_more() {
    let longest = "k".repeat(Key::MAX_BYTES);
    let hash = hex::encode(Sha256::digest(&longest));
    let too_long = hex::encode(Sha256::digest(format!("{longest}k")));
    let key = |id: &str, hash: &str| format!("id = \"{id}\"\nsha256 = \"{hash}\"");
    let keyring = keyring(&[&key("a", &hash), &key("b", &too_long)], None);
    assert!(find(&keyring, format!("Bearer {longest}").as_bytes()).is_ok());
    assert_eq!(find(&keyring, format!("Bearer {longest}k").as_bytes()).err(), Some(Denied::Wrong));
}

#[test]
fn keys_are_distinguished() {
    let keyring = keyring(&[FIRST, "id = \"second\"\nenv = \"SECOND\"\ndirect = true"], None);
    let first = find(&keyring, b"Bearer FIRST").expect("known");
    let second = find(&keyring, b"Bearer SECOND").expect("known");
    assert_eq!((first.id.as_deref(), second.id.as_deref()), (Some("first"), Some("second")));
    assert_eq!((first.may_choose_upstream, second.may_choose_upstream), (false, true));
    assert_eq!(first.team.as_deref(), Some("t"));
}

#[test]
fn without_keys_everyone_is_let_in_and_may_do_everything() {
    let open = keyring(&[], None);
    let anonymous = open.find(&HeaderMap::new()).expect("anonymous");
    assert!(anonymous.may_choose_upstream && anonymous.may_use_all() && anonymous.id.is_none());
    assert!(open.current(&anonymous).is_some());
    assert!(
        keyring(&[FIRST], Some(&open)).current(&anonymous).is_none(),
        "once keys are asked for, one without is refused"
    );
}

#[test]
fn a_key_that_is_removed_or_replaced_is_not_let_in_any_more() {
    let old = keyring(&[FIRST, "id = \"second\"\nenv = \"SECOND\""], None);
    let (first, second) = (find(&old, b"Bearer FIRST").expect("known"), find(&old, b"Bearer SECOND").expect("known"));
    let new = keyring(&["id = \"first\"\nenv = \"FIRST\"", "id = \"second\"\nenv = \"ROTATED\""], Some(&old));
    assert!(new.current(&first).is_some_and(|key| key.id.as_deref() == Some("first")));
    assert!(new.current(&second).is_none());
    assert_eq!(find(&new, b"Bearer SECOND").err(), Some(Denied::Wrong));
    assert!(find(&new, b"Bearer ROTATED").is_ok());
}

#[test]
fn counts_survive_a_reload_while_the_limits_stay() {
    let limits = Limits::default();
    let with = |limit: u32| format!("{FIRST}\nlimits = {{ concurrent = {limit} }}");
    let old = counted(&[&with(1)], None, &limits);
    let _held = enter(&old, b"Bearer FIRST").expect("free");
    let same = counted(&[&with(1), "id = \"second\"\nenv = \"SECOND\""], Some(&old), &limits);
    assert!(enter(&same, b"Bearer FIRST").is_err());
    assert!(enter(&same, b"Bearer SECOND").is_ok(), "another key has counts of its own");
    let other = counted(&[&with(2)], Some(&same), &limits);
    assert!(enter(&other, b"Bearer FIRST").is_ok());
}

#[test]
fn a_key_may_use_what_it_lists_or_everything() {
    let keyring = keyring(&[FIRST, "id = \"second\"\nenv = \"SECOND\"\nmodels = [\"m\"]"], None);
    let (first, second) =
        (find(&keyring, b"Bearer FIRST").expect("known"), find(&keyring, b"Bearer SECOND").expect("known"));
    assert!(first.may_use_all() && first.may_use("m") && first.may_use("other"));
    assert!(!second.may_use_all() && second.may_use("m") && !second.may_use("other"));
}
