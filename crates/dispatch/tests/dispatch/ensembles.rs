//! Several models answer as one: in parallel, within one deadline, and each call of theirs is an event with its cost.

use std::sync::Arc;

use bytes::Bytes;
use dispatch::{RequestOutcome, Route, Served, Table};
use futures_util::StreamExt;
use parking_lot::Mutex;
use provider::{ErrorKind, Features, Frame, FrameKind, ModelId, NanoUsd, Quota, Request};
use router::{Ensemble, Extract, Judge, Pick, RouterError, StrategyName};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{
    fake::{Fake, S, Script, Step, USAGE, after, counted, fail, frame},
    rig::{Rig, chat, model, plain, price, streaming, upstream},
};

/// A whole answer with the content `text`.
fn whole_answer(text: &str) -> Script {
    answers(&json!({"role": "assistant", "content": text}), &Value::Null)
}

fn answers(message: &Value, logprobs: &Value) -> Script {
    let choice = json!({"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": USAGE.prompt_tokens, "completion_tokens": USAGE.completion_tokens});
    let whole = json!({"id": "c", "object": "chat.completion", "model": "w", "choices": [choice], "usage": usage});
    body(whole.to_string())
}

fn body(bytes: impl Into<Bytes>) -> Script {
    let frame = Frame { bytes: bytes.into(), kind: FrameKind::Whole, usage: Some(USAGE) };
    vec![Step::Head(Quota::default()), Step::Frame(frame)]
}

/// The models `a`, `b`, `c` and `judge`, each of one upstream of that name. A token costs a hundred nano-dollars.
fn rig() -> (Rig, [Arc<Fake>; 4]) {
    rig_with(Features { tools: true, images: true, json_schema: true })
}

fn rig_with(judges: Features) -> (Rig, [Arc<Fake>; 4]) {
    const NAMES: [&str; 4] = ["a", "b", "c", "judge"];
    let fakes = NAMES.map(|_| Fake::new());
    let upstreams = NAMES.iter().zip(&fakes).map(|(name, fake)| {
        let mut spec = upstream(name, fake);
        spec.0.tariff = Some(price("0.10", "0.10"));
        if *name == "judge" {
            spec.0.features = judges;
        }
        spec
    });
    let models = NAMES
        .map(|name| router::ModelSpec { name: ModelId::from(name), ..model(StrategyName::Weighted, &[(name, 1.0)]) });
    let table = Table::new("test", upstreams.collect(), models.into(), None).expect("a table");
    (Rig::new(table, &fakes.each_ref()), fakes)
}

/// Of `a`, `b` and `c`.
fn of(pick: Pick) -> Ensemble {
    let members = ["a", "b", "c"].map(str::to_owned).into();
    Ensemble { name: "ensemble/abc".to_owned(), members, pick, deadline: 20 * S }
}

fn judged() -> Ensemble {
    of(Pick::Judge(Judge { model: "judge".to_owned(), rubric: Judge::RUBRIC.to_owned() }))
}

/// What every complete call costs.
const COST: u64 = 150_100;

/// The one frame of a whole answer.
async fn whole(mut served: Served) -> Value {
    assert!(served.answer.whole().is_some());
    let frame = served.answer.next().await.expect("a frame").expect("no error");
    assert!(served.answer.next().await.is_none());
    serde_json::from_slice(&frame.bytes).expect("JSON")
}

async fn frames(served: Served) -> Vec<Frame> {
    served.answer.map(|frame| frame.expect("no error")).collect().await
}

fn event(frame: &Frame) -> Value {
    let text = std::str::from_utf8(&frame.bytes).expect("text");
    serde_json::from_str(text.trim().strip_prefix("data: ").expect("an event")).expect("JSON")
}

#[tokio::test(start_paused = true)]
async fn members_are_asked_at_once_and_one_that_fails_is_left_out() {
    let (rig, [a, b, c, _]) = rig();
    a.always(after(3 * S, whole_answer("short")));
    b.always(after(2 * S, whole_answer("rather long")));
    c.always(fail(ErrorKind::InvalidRequest));
    let start = Instant::now();
    let served = rig.put(&of(Pick::Longest), &plain(), 3).await.expect("served");
    assert_eq!(start.elapsed(), 3 * S);
    assert_eq!((served.upstream.as_str(), served.attempts, served.cost), ("b", 3, Some(NanoUsd(2 * COST))));
    let reply = whole(served).await;
    assert_eq!(reply["choices"][0]["message"]["content"], "rather long");
    assert_eq!(
        (&reply["id"], &reply["model"], &reply["usage"]["prompt_tokens"]),
        (&json!("c"), &json!("w"), &json!(1000))
    );
    let member = |model: &str, score: Value, ms: u64| json!({"model": model, "upstream": model, "provider": "fake", "score": score, "cost_usd": 0.000_150_1, "duration_ms": ms, "error": null});
    let failed = json!({"model": "c", "upstream": null, "provider": null, "score": null, "cost_usd": 0.0, "duration_ms": 0, "error": "invalid_request"});
    let expected = json!({
        "name": "ensemble/abc", "pick": "longest", "winner": 1, "why": "the longest of 2 answers: 11 characters",
        "cost_usd": 0.000_300_2, "members": [member("a", json!(5), 3000), member("b", json!(11), 2000), failed],
    });
    assert_eq!(reply["ensemble"], expected);
    let requests = rig.log.requests.lock();
    assert!(requests.iter().all(|ended| ended.info.route == Route::Ensemble && !ended.info.stream));
    let spent: u64 = requests.iter().filter_map(|ended| ended.cost).map(|cost| cost.0).sum();
    assert_eq!(spent, 2 * COST, "the reply and the events name the same sum");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_for_all_and_what_is_there_by_then_is_used() {
    let (rig, [a, b, c, _]) = rig();
    a.always(vec![Step::Hang]);
    b.always(after(S, whole_answer("there")));
    c.always(after(21 * S, whole_answer("far too late")));
    let start = Instant::now();
    let served = rig.put(&of(Pick::Longest), &plain(), 3).await.expect("served");
    assert_eq!(start.elapsed(), 20 * S);
    assert_eq!((served.upstream.as_str(), served.cost), ("b", None));
    let reply = whole(served).await;
    let ensemble = &reply["ensemble"];
    assert_eq!(ensemble["cost_usd"], Value::Null, "whoever was cut off may have worked");
    assert_eq!(ensemble["why"], "the longest of 1 answers: 5 characters; not every part of the cost is known");
    for late in [0, 2] {
        let member = &ensemble["members"][late];
        assert!(member["error"] == "deadline" || member["error"] == "timeout_first_token", "{member}");
        assert_eq!(member["cost_usd"], Value::Null);
    }
}

#[tokio::test(start_paused = true)]
async fn only_if_all_fail_so_does_it_with_the_error_of_highest_severity() {
    for pick in [Pick::First, Pick::Longest, Pick::Majority(Extract::Text), Pick::Logprob] {
        for request in [plain(), streaming()] {
            let (rig, [a, b, c, _]) = rig();
            a.always(fail(ErrorKind::Unsupported));
            c.always(fail(ErrorKind::Refused));
            // A member that failed could have served what the others refuse.
            for kind in [ErrorKind::ContextOverflow, ErrorKind::Auth] {
                b.always(fail(kind));
                let refused = rig.put(&of(pick.clone()), &request, 3).await.err().expect("all fail");
                let RouterError::Failed { error, attempts, .. } = refused else { panic!("{refused}") };
                assert_eq!((error.kind, attempts), (kind, 3), "{pick:?}");
            }
        }
    }
    let (rig, fakes) = rig();
    for fake in &fakes {
        fake.always(body("no completion"));
    }
    let refused = rig.put(&judged(), &plain(), 3).await.err().expect("all fail");
    assert!(matches!(refused, RouterError::Failed { error, attempts: 3, .. } if error.kind == ErrorKind::Protocol));
    assert_eq!(fakes[3].calls(), 0, "there is nothing to judge");
}

#[tokio::test(start_paused = true)]
async fn members_that_do_not_exist_are_said_to_be_so() {
    let (rig, _) = rig();
    let gone = Ensemble { members: vec!["x".to_owned(), "y".to_owned()], ..of(Pick::First) };
    let refused = rig.put(&gone, &plain(), 2).await.err().expect("nobody is there");
    assert!(matches!(refused, RouterError::NoSuchModel(name) if name == "x" || name == "y"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_every_call() {
    for request in [plain(), streaming()] {
        let (rig, fakes) = rig();
        for fake in &fakes {
            fake.always(vec![Step::Hang]);
        }
        let ensemble = of(Pick::First);
        let left = timeout(S, rig.put(&ensemble, &request, 3)).await;
        assert!(left.is_err());
        assert_eq!(fakes.each_ref().map(|fake| (fake.calls(), fake.live())), [(1, 0), (1, 0), (1, 0), (0, 0)]);
        let requests = rig.log.requests.lock();
        assert!(requests.iter().all(|ended| ended.outcome == RequestOutcome::ClientGone), "{requests:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_good_answer_wins_and_the_others_are_cancelled() {
    let (rig, [a, b, c, _]) = rig();
    a.always(after(5 * S, whole_answer("slow")));
    b.always(after(S, whole_answer(" ")));
    c.always(after(2 * S, whole_answer("quick")));
    let start = Instant::now();
    let served = rig.put(&of(Pick::First), &plain(), 3).await.expect("served");
    assert_eq!((served.upstream.as_str(), start.elapsed()), ("c", 2 * S));
    assert_eq!(a.live(), 0);
    assert_eq!(served.cost, None, "what the cancelled one has cost is not known");
    let reply = whole(served).await;
    assert_eq!(reply["ensemble"]["winner"], 2);
    let errors: Vec<_> = (0..3).map(|at| reply["ensemble"]["members"][at]["error"].clone()).collect();
    assert_eq!(errors, [json!("cancelled"), Value::Null, Value::Null]);

    a.always(fail(ErrorKind::InvalidRequest));
    c.always(fail(ErrorKind::InvalidRequest));
    let served = rig.put(&of(Pick::First), &plain(), 3).await.expect("an answer that says nothing is one");
    assert_eq!((served.upstream.as_str(), served.cost), ("b", Some(NanoUsd(COST))));
    drop(whole(served).await);
}

#[tokio::test(start_paused = true)]
async fn with_first_the_stream_that_begins_first_is_relayed() {
    let (rig, [a, b, c, _]) = rig();
    let step = |kind, json: &str| Step::Frame(Frame { bytes: format!("data: {json}\n\n").into(), kind, usage: None });
    let stream = || {
        vec![
            Step::Head(Quota::default()),
            step(FrameKind::Content, r#"{"choices":[{"delta":{"content":"x"}}]}"#),
            Step::Wait(S),
            step(FrameKind::Finish, r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#),
            counted(FrameKind::Usage),
            frame(FrameKind::Done),
        ]
    };
    a.always(after(2 * S, stream()));
    b.always(after(S, stream()));
    c.always(fail(ErrorKind::InvalidRequest));
    let start = Instant::now();
    let served = rig.put(&of(Pick::First), &streaming(), 3).await.expect("served");
    assert_eq!((served.upstream.as_str(), served.attempts, start.elapsed()), ("b", 2, S));
    assert_eq!(a.live(), 0, "the other is cancelled as soon as one has begun");
    let frames = frames(served).await;
    let finish = frames.iter().find(|frame| frame.kind == FrameKind::Finish).map(event).expect("a finish");
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert_eq!(finish["ensemble"]["winner"], 1);
    let errors: Vec<_> = (0..3).map(|at| finish["ensemble"]["members"][at]["error"].clone()).collect();
    assert_eq!(errors, [json!("cancelled"), Value::Null, json!("invalid_request")]);
    assert_eq!(frames[0].bytes, "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n", "as it came");
}

/// The data of the events of a relayed stream whose upstream sends `content`, `finish` and then the end.
async fn relayed(content: &str, finish: (FrameKind, &str)) -> Vec<Value> {
    let (rig, fakes) = rig();
    let step = |kind, text: &str| Step::Frame(Frame { bytes: text.to_owned().into(), kind, usage: None });
    let stream = vec![
        Step::Head(Quota::default()),
        step(FrameKind::Content, content),
        step(finish.0, finish.1),
        step(FrameKind::Done, "data: [DONE]\n\n"),
    ];
    for fake in &fakes {
        fake.always(after(S, stream.clone()));
    }
    let served = rig.put(&of(Pick::First), &streaming(), 3).await.expect("served");
    let frames = frames(served).await;
    assert_eq!(frames.last().map(|frame| frame.kind), Some(FrameKind::Done), "the end is the last");
    let text: String = frames.iter().map(|frame| str::from_utf8(&frame.bytes).expect("text")).collect();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_relayed_stream_has_the_report_on_its_ensemble_however_it_finishes() {
    let content = json!({"id": "c", "created": 7, "model": "w", "choices": [{"delta": {"content": "{x}"}}]});
    let finish = json!({"id": "c", "choices": [{"delta": {}, "finish_reason": "eos"}]});
    let usage = json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 1}});
    let (first, last) = (format!("data: {content}\n\n"), format!("data: {finish}\n\n"));

    for end in ["\n\n", "\r\n\r\n"] {
        let both = format!("data: {finish}{end}data: {usage}{end}");
        let events = relayed(&first, (FrameKind::Finish, &both)).await;
        assert_eq!((events[1]["ensemble"]["winner"].clone(), &events[2]), (json!(0), &usage), "{events:?}");
        assert_eq!(events[1]["choices"], finish["choices"]);
    }

    // No event is known to finish it, or it is none that can take a member.
    for finish in [(FrameKind::Content, &*last), (FrameKind::Finish, "data: {\ndata: }]\n\n")] {
        let events = relayed(&first, finish).await;
        let [.., added, end] = &events[..] else { panic!("{events:?}") };
        assert_eq!((added["ensemble"]["winner"].clone(), end), (json!(0), &json!("[DONE]")), "{events:?}");
        assert_eq!((added["id"].clone(), added["choices"].clone()), (json!("c"), json!([])));
        assert_eq!(events.iter().filter(|event| event.get("ensemble").is_some()).count(), 1);
    }
    let events = relayed("data: odd\n\n", (FrameKind::Content, "data: odd\n\n")).await;
    assert_eq!((events[2]["ensemble"]["winner"].clone(), events[2]["choices"].clone()), (json!(0), json!([])));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_after_it_was_picked_breaks_visibly() {
    let (rig, fakes) = rig();
    for fake in &fakes {
        fake.always(vec![Step::Wait(S), Step::Head(Quota::default()), frame(FrameKind::Content), Step::Hang]);
    }
    let mut served = rig.put(&of(Pick::First), &streaming(), 3).await.expect("served");
    assert!(served.answer.next().await.expect("a frame").is_ok());
    let error = served.answer.next().await.expect("an error").expect_err("it fell silent");
    assert!(matches!(error.kind, ErrorKind::Timeout(_)), "{error}");
}

/// The bodies that a fake provider receives, in order.
fn recorded_bodies(
    fake: &Arc<Fake>,
    script: impl Fn(&Value) -> Script + Send + Sync + 'static,
) -> Arc<Mutex<Vec<Value>>> {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let log = bodies.clone();
    fake.does(move |request: &Request| {
        let body: Value = serde_json::from_slice(&request.rewrite().finish()).expect("JSON");
        let script = script(&body);
        log.lock().push(body);
        script
    });
    bodies
}

#[tokio::test(start_paused = true)]
async fn what_is_compared_is_asked_for_whole_and_streamed_by_us() {
    let (rig, [a, b, c, _]) = rig();
    let bodies = recorded_bodies(&a, |_| whole_answer("the longest by far"));
    b.always(whole_answer("short"));
    c.always(whole_answer("short"));
    let request = chat(r#","stream":true,"stream_options":{"include_usage":true},"user":"u""#);
    let served = rig.put(&of(Pick::Longest), &request, 3).await.expect("served");
    assert_eq!((served.upstream.as_str(), served.cost), ("a", Some(NanoUsd(3 * COST))));
    let body = bodies.lock()[0].clone();
    assert_eq!(body, json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "user": "u"}));
    let frames = frames(served).await;
    let kinds: Vec<_> = frames.iter().map(|frame| frame.kind).collect();
    let all = [FrameKind::Opening, FrameKind::Content, FrameKind::Finish, FrameKind::Usage, FrameKind::Done];
    assert_eq!(kinds, all);
    assert_eq!(event(&frames[1])["choices"][0]["delta"]["content"], "the longest by far");
    assert_eq!(event(&frames[2])["ensemble"]["winner"], 0);
}

#[tokio::test(start_paused = true)]
async fn log_probabilities_are_asked_for_and_decide() {
    let (rig, [a, b, c, _]) = rig();
    let message = json!({"role": "assistant", "content": "x"});
    let with = |mean: f64| answers(&message, &json!({"content": [{"token": "x", "logprob": mean}]}));
    a.always(with(-0.7));
    let sure = with(-0.1);
    let bodies = recorded_bodies(&b, move |_| sure.clone());
    c.always(whole_answer("no figures"));
    let served = rig.put(&of(Pick::Logprob), &plain(), 3).await.expect("served");
    assert_eq!(served.upstream.as_str(), "b");
    assert_eq!(served.head.injected_params, ["logprobs=true"]);
    assert_eq!(bodies.lock()[0]["logprobs"], true);
    let reply = whole(served).await;
    let scores: Vec<_> = (0..3).map(|at| reply["ensemble"]["members"][at]["score"].clone()).collect();
    assert_eq!(scores, [json!(-0.7), json!(-0.1), Value::Null]);
    let own = rig.put(&of(Pick::Logprob), &chat(r#","logprobs":true"#), 3).await.expect("served");
    assert!(own.head.injected_params.is_empty(), "what the client asks for is not added");
}

/// A judge that gives as many points as the answer has digits.
fn counting(body: &Value) -> Script {
    let text = body["messages"][1]["content"].as_str().expect("a text");
    let answer = text.split("BEGIN ANSWER").nth(1).expect("an answer");
    let digits = answer.chars().filter(char::is_ascii_digit).count();
    after(S, whole_answer(&json!({"score": digits, "reason": "counted"}).to_string()))
}

#[tokio::test(start_paused = true)]
async fn the_judge_sees_each_answer_alone_and_as_soon_as_it_is_there() {
    let (rig, [a, b, c, judge]) = rig();
    a.always(after(4 * S, whole_answer("1")));
    b.always(after(2 * S, whole_answer("12")));
    c.always(fail(ErrorKind::InvalidRequest));
    let bodies = recorded_bodies(&judge, counting);
    let start = Instant::now();
    let served = rig.put(&judged(), &plain(), 5).await.expect("served");
    assert_eq!(start.elapsed(), 5 * S, "one answer is judged while another is still written");
    assert_eq!((served.upstream.as_str(), served.attempts, served.cost), ("b", 5, Some(NanoUsd(4 * COST))));
    let bodies = bodies.lock().clone();
    assert_eq!(bodies.len(), 2);
    let text = |at: usize| bodies[at]["messages"][1]["content"].as_str().expect("a text").to_owned();
    assert!(text(0).contains("\"12\"") && text(1).contains("\"1\"") && !text(1).contains("\"12\""));
    assert_eq!(bodies[0]["response_format"]["type"], "json_schema");
    let reply = whole(served).await;
    assert_eq!(reply["ensemble"]["why"], "judge gave it 2 of 10: counted");
    assert_eq!(reply["ensemble"]["cost_usd"], 0.000_600_4);
    assert_eq!(reply["ensemble"]["members"][1]["cost_usd"], 0.000_150_1, "a member's cost is its own");
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_fails_or_gives_no_verdict_leaves_the_first_good_answer() {
    for script in [fail(ErrorKind::InvalidRequest), whole_answer("I would rather not"), body("junk"), vec![Step::Hang]]
    {
        let (rig, [a, b, c, judge]) = rig();
        a.always(fail(ErrorKind::InvalidRequest));
        b.always(whole_answer("one"));
        c.always(whole_answer("two"));
        judge.always(script);
        let start = Instant::now();
        let served = rig.put(&judged(), &plain(), 5).await.expect("served");
        assert!(start.elapsed() <= 20 * S);
        assert_eq!(served.upstream.as_str(), "b");
        let why = whole(served).await["ensemble"]["why"].as_str().expect("a text").to_owned();
        assert!(
            why.starts_with("the judge gave no verdict that can be read: the first good answer was taken"),
            "{why}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_judge_without_schemas_is_asked_in_words_alone() {
    let (rig, [a, .., judge]) = rig_with(Features::default());
    a.always(whole_answer("1"));
    let bodies = recorded_bodies(&judge, counting);
    let two = Ensemble { members: vec!["a".to_owned(), "a".to_owned()], ..judged() };
    let served = rig.put(&two, &plain(), 4).await.expect("served");
    assert!(bodies.lock().iter().all(|body| body.get("response_format").is_none()));
    let reply = whole(served).await;
    assert_eq!((&reply["ensemble"]["winner"], &reply["ensemble"]["members"][1]["score"]), (&json!(0), &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn one_model_can_agree_with_itself() {
    let (rig, [a, ..]) = rig();
    a.next(["It is 41.", "So 42", "42.0"].map(whole_answer));
    let thrice = Ensemble { members: vec!["a".to_owned(); 3], ..of(Pick::Majority(Extract::Number)) };
    let served = rig.put(&thrice, &plain(), 3).await.expect("served");
    let reply = whole(served).await;
    assert_eq!(reply["choices"][0]["message"]["content"], "So 42");
    assert_eq!(reply["ensemble"]["why"], "2 of 3 answers agree on 42");
}

#[tokio::test(start_paused = true)]
async fn a_model_of_less_patience_keeps_it() {
    let (rig, [a, b, ..]) = rig();
    a.always(vec![Step::Hang]);
    b.always(vec![Step::Hang]);
    let patient = Ensemble { deadline: 600 * S, ..of(Pick::First) };
    let two = Ensemble { members: vec!["a".to_owned(), "b".to_owned()], ..patient };
    let start = Instant::now();
    assert!(rig.put(&two, &plain(), 2).await.is_err());
    assert_eq!(start.elapsed(), 60 * S, "the models' own deadline");
}
