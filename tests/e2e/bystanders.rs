//! Requests that an upstream refuses, or answers oddly, do nothing to the requests beside them.

use e2e::{Answer, CEREBRAS, RUNPOD_LB, RUNPOD_QUEUE, Rig, chat, streamed, with};
use emulator::{Face, Fault, OddStream, OddWhole, Refusal, Rule, Settings};
use serde_json::{Value, json};

/// As many of them are good as are odd.
const REQUESTS: usize = 1_000;
/// Numbers each place of the good and the odd ones in the same way at every run.
const SEED: u64 = 9;
const WEIGHTED: &str = r#"
[[models]]
name = "llama"
strategy = "weighted"
targets = [{ upstream = "runpod", share = 0.8 }, { upstream = "cerebras", share = 0.2 }]
"#;

/// Every kind of refusal that no change of the request avoids.
fn refusals() -> Vec<Refusal> {
    let away = || "https://elsewhere.invalid/v1/chat/completions".to_owned();
    vec![
        Refusal::Moderation,
        Refusal::Moderation403,
        Refusal::FirewallPage,
        Refusal::FirewallPage400,
        Refusal::NoEndpointForTools,
        Refusal::TooLargeForMinute { code: 429 },
        Refusal::TooLargeForMinute { code: 413 },
        Refusal::EchoedNoWorkers,
        Refusal::Redirect { code: 301, location: away() },
        Refusal::Redirect { code: 308, location: away() },
        Refusal::OperationMissing { code: 404 },
        Refusal::OperationMissing { code: 405 },
        Refusal::Foreign401,
        Refusal::Foreign403,
    ]
}

fn odd_streams() -> Vec<OddStream> {
    let label = |label: &str| OddStream::Labelled { content_type: label.to_owned() };
    vec![
        OddStream::NullCounts,
        OddStream::FloatCounts,
        OddStream::TextCounts,
        OddStream::NegativeCounts,
        OddStream::DoubledUsage,
        OddStream::PingEvents,
        OddStream::NoChoicesFirst,
        OddStream::ClosingEmptyObject,
        OddStream::NullChoices,
        OddStream::EmptyError,
        OddStream::BlankDone,
        OddStream::BlankData,
        OddStream::TwiceMembers,
        OddStream::ListDelta,
        OddStream::LoneSurrogate,
        OddStream::UnknownFinish,
        OddStream::EmptyFinish,
        OddStream::NoDone,
        OddStream::HangAfterFinish,
        OddStream::CutAfterFinish,
        OddStream::NoUsage,
        OddStream::LateContent,
        OddStream::LargeEvent { size_bytes: 1_100_000 },
        OddStream::NamedEvents,
        OddStream::Comments,
        label(""),
        label("text/plain"),
        label("application/json"),
        OddStream::WholeForStream,
        OddStream::ContentParts,
    ]
}

fn odd_wholes() -> Vec<OddWhole> {
    vec![
        OddWhole::ErrorBeside,
        OddWhole::FinishError,
        OddWhole::NoChoices,
        OddWhole::NullCounts,
        OddWhole::FloatCounts,
        OddWhole::ContentParts,
        OddWhole::ErrTraceback,
    ]
}

fn all_kinds() -> Vec<Fault> {
    let adjusted = [Refusal::UnknownArgument { name: "stream_options".into() }, Refusal::LimitTooLarge { most: 8 }];
    let refusals = refusals().into_iter().chain(adjusted).map(Fault::Refusal);
    let streams = odd_streams().into_iter().map(Fault::OddStream);
    refusals.chain(streams).chain(odd_wholes().into_iter().map(Fault::OddWhole)).collect()
}

/// What the request of a number is: the kind of its oddness, or none. As many have one as have none, in a random order.
struct Plan {
    kinds: Vec<Fault>,
    of: Vec<Option<usize>>,
}

impl Plan {
    fn new(kinds: Vec<Fault>) -> Self {
        let odd = (0..REQUESTS / 2).map(|number| Some(number % kinds.len()));
        let mut of: Vec<_> = odd.chain((0..REQUESTS / 2).map(|_| None)).collect();
        let mut random = SEED;
        for last in (1..of.len()).rev() {
            // Knuth's linear congruential generator: the order need only be the same at every run.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            of.swap(last, usize::try_from(random >> 33).expect("31 bits") % (last + 1));
        }
        Self { kinds, of }
    }

    /// The words by which an upstream knows a request of this kind.
    fn words(kind: usize) -> String {
        format!("oddity {kind}.")
    }

    fn rules(&self) -> Vec<Rule> {
        let kinds = self.kinds.iter().enumerate();
        kinds.map(|(kind, fault)| Rule { containing: Some(Self::words(kind)), ..fault.clone().into() }).collect()
    }

    fn ask(&self, number: usize) -> Value {
        let Some(kind) = self.of[number] else {
            let good = chat(&format!("question {number}"));
            return if number.is_multiple_of(2) { streamed(good) } else { good };
        };
        let body = with(chat(&format!("{number} is {}", Self::words(kind))), json!({"seed": "no workers available"}));
        match &self.kinds[kind] {
            Fault::OddStream(_) => streamed(body),
            Fault::OddWhole(_) => body,
            _ if number.is_multiple_of(2) => streamed(body),
            _ => body,
        }
    }

    /// Sends all of them, and gives the answers to the good ones and to the odd ones with their kinds.
    async fn send(&self, rig: &Rig, faces: &[Face]) -> (Vec<Answer>, Vec<(usize, Answer)>) {
        for face in faces {
            rig.emulator.set_rules(*face, self.rules());
        }
        let (mut good, mut odd) = (Vec::new(), Vec::new());
        for (kind, answer) in self.of.iter().zip(rig.client.chats(REQUESTS, 50, |number| self.ask(number)).await) {
            match kind {
                Some(kind) => odd.push((*kind, answer)),
                None => good.push(answer),
            }
        }
        (good, odd)
    }
}

/// Every good request was served by the upstream that its share chose, and both upstreams are as healthy as before.
async fn assert_unharmed(rig: &Rig, good: &[Answer]) {
    assert_eq!(good.len(), REQUESTS / 2);
    for answer in good {
        // Any other reason means that an upstream was parked, broken or passed over.
        assert_eq!((answer.status, answer.reason()), (200, "share"), "{}", answer.text);
    }
    let metrics = rig.metrics().await;
    for upstream in ["runpod", "cerebras"] {
        let breaker = metrics.value("llmrouter_breaker_state", &[("upstream", upstream)]);
        assert!(breaker.abs() < 0.1, "the breaker of {upstream} is at {breaker}");
    }
    let told = rig.client.post("/v1/route/explain", &chat("hello")).await.json();
    assert_eq!(told["excluded"], json!([]), "{told}");
}

#[tokio::test]
async fn requests_of_every_odd_kind_hurt_nobody() {
    for (runpod, face) in [(RUNPOD_LB, Face::RunpodLb), (RUNPOD_QUEUE, Face::RunpodQueue)] {
        let plan = Plan::new(all_kinds());
        let rig = Rig::start(Settings { speed: 20.0, ..Settings::default() }, &format!("{runpod}{CEREBRAS}{WEIGHTED}"));
        let (good, odd) = plan.send(&rig, &[face, Face::Cerebras]).await;
        assert_unharmed(&rig, &good).await;
        for (kind, answer) in odd {
            let kind = &plan.kinds[kind];
            match kind {
                Fault::OddStream(_)
                | Fault::OddWhole(OddWhole::NullCounts | OddWhole::FloatCounts | OddWhole::ContentParts)
                | Fault::Refusal(Refusal::UnknownArgument { .. } | Refusal::LimitTooLarge { .. }) => {
                    assert_eq!(answer.status, 200, "{kind:?}: {}", answer.text);
                }
                _ => assert!(!answer.error_message().is_empty(), "{kind:?}: {} {}", answer.status, answer.text),
            }
        }
    }
}

#[tokio::test]
async fn refused_requests_move_no_share() {
    let plan = Plan::new(refusals().into_iter().map(Fault::Refusal).collect());
    let rig = Rig::start(Settings { speed: 20.0, ..Settings::default() }, &format!("{RUNPOD_LB}{CEREBRAS}{WEIGHTED}"));
    let (mut good, odd) = plan.send(&rig, &[Face::RunpodLb, Face::Cerebras]).await;
    assert_unharmed(&rig, &good).await;
    // While one that will be refused is under way it counts for its target, and good ones beside it go elsewhere: those after it
    // make up for that.
    rig.until_idle().await;
    good.extend(rig.client.chats(250, 4, |_| chat("hello")).await);
    let runpod = good.iter().filter(|answer| answer.provider() == "runpod").count();
    assert!((597..=603).contains(&runpod), "{runpod} of the 750 good ones from RunPod, where 80 % are due");
    for (kind, answer) in odd {
        assert!((400..=502).contains(&answer.status), "{:?}: {} {}", plan.kinds[kind], answer.status, answer.text);
    }
}
