//! Everything the threads of an emulator share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{sync::Notify, time::Instant};

use crate::{
    call_log::{CallLog, CallLogs, Recorder},
    chance::lognormal,
    face::Face,
    fault::{Fault, Rule, Rules},
    fleet::{Fleet, Size},
    jobs::Jobs,
    management::Management,
    quota::Quota,
    settings::{CerebrasSettings, Latency, RunpodSettings, Settings, Workers},
};

/// The time the emulator claims to have started at; `created` counts from there, so that answers do not depend on the
/// wall clock.
const EPOCH: u64 = 1_795_500_000;

/// Requests are not counted more often for the scaler, however fast the model runs.
const SHORTEST_COUNT: Duration = Duration::from_millis(1);

/// The settings of a face, in one form for all three.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) api_key: Option<String>,
    pub(crate) models: Vec<String>,
    pub(crate) embedding_models: Vec<String>,
    pub(crate) audio_models: Vec<String>,
    pub(crate) context: u64,
    pub(crate) answer_tokens: usize,
    pub(crate) event_tokens: usize,
    pub(crate) tool_parser: bool,
    pub(crate) images: bool,
    pub(crate) latency: Latency,
    /// Prompt tokens a second.
    pub(crate) prefill: Option<f64>,
    /// Whether the prompts at a worker are read one after the other.
    pub(crate) reads_in_turn: bool,
    pub(crate) max_wait: Option<Duration>,
    pub(crate) no_worker_status: u16,
    pub(crate) failed_job_status: u16,
}

/// One face.
#[derive(Debug)]
pub(crate) struct FaceState {
    pub(crate) profile: Profile,
    pub(crate) fleet: Mutex<Fleet>,
    /// Notified when waiting requests should poll the fleet again.
    pub(crate) changed: Notify,
    /// How many times everything under way was broken off.
    pub(crate) severed: AtomicU64,
    pub(crate) quota: Option<Mutex<Quota>>,
    pub(crate) recorder: Recorder,
    rules: Mutex<Rules>,
    workers: Workers,
    quota_settings: Option<crate::settings::Quota>,
}

/// The whole emulator.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) jobs: Mutex<Jobs>,
    pub(crate) management: Management,
    faces: [FaceState; 3],
    rng: Mutex<SmallRng>,
    speed: f64,
    start: Instant,
    next_id: AtomicU64,
}

impl State {
    pub(crate) fn new(settings: Settings) -> Self {
        let start = Instant::now();
        let speed = settings.speed.max(0.0);
        let scale = |seconds| scaled(seconds, speed);
        let lb_wait = settings.runpod_lb.max_wait_s.unwrap_or(120.0);
        let faces = [
            FaceState::runpod(settings.runpod_lb, Some(fault_time(lb_wait, speed)), scale, start, settings.seed),
            {
                let wait = settings.runpod_queue.max_wait_s.map(|wait| fault_time(wait, speed));
                FaceState::runpod(settings.runpod_queue, wait, scale, start, settings.seed)
            },
            FaceState::cerebras(settings.cerebras, scale, start, settings.seed),
        ];
        Self {
            jobs: Mutex::default(),
            management: Management::new(settings.management),
            faces,
            rng: Mutex::new(SmallRng::seed_from_u64(settings.seed)),
            speed,
            start,
            next_id: AtomicU64::new(settings.seed << 32),
        }
    }

    pub(crate) const fn face(&self, face: Face) -> &FaceState {
        &self.faces[face.index()]
    }

    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Seconds of the calendar, as the emulator counts them.
    pub(crate) fn created(&self) -> u64 {
        EPOCH + self.start.elapsed().as_secs()
    }

    /// A number no other answer has.
    pub(crate) fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed)
    }

    pub(crate) const fn speed(&self) -> f64 {
        self.speed
    }

    /// How long something takes that takes this many seconds in real time.
    pub(crate) fn scaled(&self, seconds: f64) -> Duration {
        scaled(seconds, self.speed)
    }

    /// The fault of a request.
    pub(crate) fn pick(&self, face: Face, probe: bool, body: &[u8]) -> Fault {
        self.face(face).rules.lock().pick(probe, body, || self.rng.lock().random::<f64>())
    }

    /// Draws a time to first token.
    pub(crate) fn first_token(&self, latency: Latency) -> Duration {
        if self.speed == 0.0 {
            return Duration::ZERO;
        }
        let factor = lognormal(latency.spread, &mut *self.rng.lock());
        self.scaled(latency.first_token_ms / 1000.0 * factor)
    }

    pub(crate) fn rules(&self, face: Face) -> Vec<Rule> {
        self.face(face).rules.lock().list().to_vec()
    }

    /// Replaces the rules of a face and brings its workers into the state they ask for.
    pub(crate) fn set_rules(&self, face: Face, rules: Vec<Rule>) {
        let now = Instant::now();
        let this = self.face(face);
        let mut fleet = this.fleet.lock();
        fleet.set_throttled(rules.iter().any(|rule| rule.fault == Fault::Throttled));
        for rule in &rules {
            if let Fault::Cold { start_s } = rule.fault {
                fleet.cool(fault_time(start_s, self.speed), now);
            }
        }
        drop(fleet);
        this.rules.lock().set(rules);
        this.changed.notify_waiters();
    }

    /// How long a prompt is read.
    pub(crate) fn prefill(&self, face: Face, prompt_tokens: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a prompt has far fewer than 2^52 tokens")]
        let seconds = |per_second| prompt_tokens as f64 / per_second;
        self.face(face).profile.prefill.map(|per_second| self.scaled(seconds(per_second))).unwrap_or_default()
    }

    /// Breaks off everything that is under way at a face.
    pub(crate) fn sever(&self, face: Face) {
        let this = self.face(face);
        this.severed.fetch_add(1, Relaxed);
        this.changed.notify_waiters();
    }

    /// Changes the workers that are only reported.
    pub(crate) fn report_workers(&self, face: Face, throttled: usize, unhealthy: usize) {
        self.face(face).fleet.lock().report(throttled, unhealthy);
    }

    /// Takes all faults away and gives every face the workers and quota that it started with. The call logs are kept.
    pub(crate) fn reset(&self) {
        let now = Instant::now();
        for face in Face::ALL {
            let this = self.face(face);
            self.set_rules(face, Vec::new());
            this.fleet.lock().renew(size(this.workers, |seconds| self.scaled(seconds)), now);
            if let (Some(quota), Some(settings)) = (&this.quota, this.quota_settings) {
                *quota.lock() = Quota::new(settings, now);
            }
            this.changed.notify_waiters();
        }
    }

    pub(crate) fn call_logs(&self) -> CallLogs {
        let of = |face| self.face(face).call_log();
        CallLogs {
            runpod_lb: of(Face::RunpodLb),
            runpod_queue: of(Face::RunpodQueue),
            cerebras: of(Face::Cerebras),
            management: self.management.calls(),
        }
    }
}

impl FaceState {
    fn runpod(
        settings: RunpodSettings,
        max_wait: Option<Duration>,
        scale: impl Fn(f64) -> Duration,
        now: Instant,
        seed: u64,
    ) -> Self {
        let workers = settings.workers;
        let profile = Profile {
            api_key: settings.api_key,
            models: settings.models,
            embedding_models: settings.embedding_models,
            audio_models: settings.audio_models,
            context: settings.context,
            answer_tokens: settings.answer_tokens,
            event_tokens: settings.event_tokens.max(1),
            tool_parser: settings.tool_parser,
            images: settings.images,
            latency: settings.latency,
            prefill: settings.prefill_tokens_per_s,
            reads_in_turn: true,
            max_wait,
            no_worker_status: settings.no_worker_status,
            failed_job_status: settings.failed_job_status,
        };
        Self::new(profile, workers, None, scale, now, seed)
    }

    /// Cerebras reports no workers. It is emulated by one worker that is never full.
    fn cerebras(settings: CerebrasSettings, scale: impl Fn(f64) -> Duration, now: Instant, seed: u64) -> Self {
        let workers = Workers { min: 1, max: 1, concurrency: u32::MAX, cold_start_s: 0.0, ..Workers::default() };
        let profile = Profile {
            api_key: settings.api_key,
            models: settings.models,
            embedding_models: Vec::new(),
            audio_models: Vec::new(),
            context: settings.context,
            answer_tokens: settings.answer_tokens,
            event_tokens: settings.event_tokens.max(1),
            tool_parser: true,
            images: settings.images,
            latency: settings.latency,
            prefill: settings.prefill_tokens_per_s,
            reads_in_turn: false,
            max_wait: None,
            no_worker_status: 503,
            failed_job_status: 500,
        };
        Self::new(profile, workers, Some(settings.quota), scale, now, seed)
    }

    fn new(
        profile: Profile,
        workers: Workers,
        quota: Option<crate::settings::Quota>,
        scale: impl Fn(f64) -> Duration,
        now: Instant,
        seed: u64,
    ) -> Self {
        Self {
            profile,
            fleet: Mutex::new(Fleet::new(size(workers, scale), SmallRng::seed_from_u64(seed), now)),
            changed: Notify::new(),
            severed: AtomicU64::new(0),
            quota: quota.map(|settings| Mutex::new(Quota::new(settings, now))),
            recorder: Recorder::default(),
            rules: Mutex::default(),
            workers,
            quota_settings: quota,
        }
    }

    fn call_log(&self) -> CallLog {
        let now = Instant::now();
        let (worker_seconds, workers) = {
            let mut fleet = self.fleet.lock();
            (fleet.billed(now).as_secs_f64(), fleet.counts(now))
        };
        let recorder = &self.recorder;
        let lists = recorder.lists.lock();
        let [completed, refused, broken, cancelled] =
            [&recorder.completed, &recorder.refused, &recorder.broken, &recorder.cancelled]
                .map(|count| count.load(Relaxed));
        let received = recorder.received.load(Relaxed);
        CallLog {
            received,
            completed,
            refused,
            broken,
            cancelled,
            in_flight: received.saturating_sub(completed + refused + broken + cancelled),
            probes: recorder.probes.load(Relaxed),
            prompt_tokens: recorder.prompt_tokens.load(Relaxed),
            completion_tokens: recorder.completion_tokens.load(Relaxed),
            tokens_emitted: recorder.tokens_emitted.load(Relaxed),
            worker_seconds,
            workers,
            cancellations: lists.cancellations.iter().cloned().collect(),
            requests: lists.requests.iter().map(crate::call_log::Raw::readable).collect(),
        }
    }
}

fn size(workers: Workers, scale: impl Fn(f64) -> Duration) -> Size {
    Size {
        min: workers.min.min(workers.max),
        max: workers.max,
        concurrency: workers.concurrency.max(1),
        requests_per_worker: workers.requests_per_worker,
        scale_every: scale(1.0).max(SHORTEST_COUNT),
        cold_start: scale(workers.cold_start_s),
        cold_start_spread: workers.cold_start_spread,
        load_share: if workers.cold_start_s > 0.0 { (workers.load_s / workers.cold_start_s).min(1.0) } else { 1.0 },
        idle_timeout: scale(workers.idle_timeout_s),
        throttled: workers.throttled,
        unhealthy: workers.unhealthy,
    }
}

fn scaled(seconds: f64, speed: f64) -> Duration {
    if speed == 0.0 { Duration::ZERO } else { duration(seconds / speed) }
}

/// At speed 0 the times that a fault names are taken as they are.
fn fault_time(seconds: f64, speed: f64) -> Duration {
    if speed == 0.0 { duration(seconds) } else { duration(seconds / speed) }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

/// Shared by handlers.
pub(crate) type Shared = Arc<State>;
