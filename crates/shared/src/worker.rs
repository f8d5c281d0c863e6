//! The thread that talks to the server: it sends what has come since the last answer, all at once, and hands out the answers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use redis::{Pipeline, RedisError, Value, from_redis_value};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    budgets::{Held, Hold},
    client::{ANSWER_TIMEOUT, Link, Node, Peer, Turn, View},
    connection::{Connected, Server},
    limits::{Demand, Limits, Verdict},
    pipeline::Keys,
    settlement::{Settlement, Settlements},
};

/// How often replicas report to each other what they know.
const EXCHANGE: Duration = Duration::from_millis(250);
/// All budgets are reported with every so manyth exchange.
const EXCHANGES_TO_BUDGETS: u32 = 4;
/// An exchange is slow that takes longer than a request would wait; after so many in turn the server counts as away.
const SLOW_EXCHANGES_TO_AWAY: u32 = 2;
/// After one answer that takes this long the server counts as away: while it stays as slow, the requests at the beginning of each
/// trip would wait for nothing.
const VERY_SLOW: Duration = Duration::from_millis(200);
/// Most tokens of one settlement, so that an absurd report of an upstream is no absurd number here.
pub(crate) const MOST_TOKENS: u64 = 1 << 40;

/// In nano-dollars, in the order of the question; `None` where nobody knows.
pub(crate) type Amounts = Vec<Option<u64>>;

/// The names of budgets, and who asks what is spent of them.
type Question = (Vec<Arc<str>>, Sender<Option<Amounts>>);

/// What became of a request's demands.
pub(crate) type Counted = (Verdict, Vec<Demand>);

/// What is asked of the thread.
pub(crate) enum Op {
    Count(Vec<Demand>, oneshot::Sender<Counted>),
    Ended(Arc<str>, Limits, u32, i64),
    Need(Vec<(u64, u64)>, oneshot::Sender<()>),
    Spent(Vec<Arc<str>>, Sender<Option<Amounts>>),
    Correct(Vec<(Arc<str>, u64, u64)>),
    Stop,
}

pub(crate) struct Worker {
    server: Server,
    keys: Keys,
    ops: Receiver<Op>,
    link: Arc<Link>,
    node: Box<dyn Node>,
    connected: Option<Connected>,
    settlements: Settlements,
    next_exchange: Instant,
    exchanges: u32,
    /// Slow exchanges since the last one that was not.
    slow: u32,
    /// The last answer took very long.
    was_very_slow: bool,
    /// Whether it has been logged that the server is away.
    has_warned: bool,
}

/// What is sent at once.
#[derive(Default)]
struct Round {
    counts: Vec<(Vec<Demand>, oneshot::Sender<Counted>)>,
    needs: BTreeMap<u64, u64>,
    waiting: Vec<oneshot::Sender<()>>,
    questions: Vec<Question>,
    corrections: Vec<(Arc<str>, u64, u64)>,
    settlement: Option<Settlement>,
    holds: Vec<Hold>,
    exchanges: bool,
    is_last: bool,
}

/// The thread ends, by a defect if nobody has stopped it: this replica decides by itself from then on.
struct Ended(Arc<Link>);

impl Drop for Ended {
    fn drop(&mut self) {
        let view = View { is_away: true, is_leader: false, peers: Vec::new(), ..View::clone(&self.0.view.load()) };
        self.0.view.store(Arc::new(view));
        self.0.set_waiting(false);
    }
}

impl Worker {
    pub(crate) fn new(server: Server, keys: Keys, ops: Receiver<Op>, link: Arc<Link>, node: Box<dyn Node>) -> Self {
        Self {
            server,
            keys,
            ops,
            link,
            node,
            connected: None,
            settlements: Settlements::default(),
            next_exchange: Instant::now(),
            exchanges: 0,
            slow: 0,
            was_very_slow: false,
            has_warned: false,
        }
    }

    pub(crate) fn run(mut self) {
        let _ended = Ended(self.link.clone());
        loop {
            let Some(mut round) = self.collect() else { return };
            let is_last = round.is_last;
            round.exchanges = !is_last && Instant::now() >= self.next_exchange;
            // It is connected to with an exchange.
            if self.connected.is_some() || round.exchanges {
                self.link.set_waiting(true);
                let done = self.do_round(&mut round);
                self.link.set_waiting(false);
                if let Err(error) = done {
                    self.fail(&error);
                }
            }
            if round.exchanges {
                self.next_exchange = Instant::now() + EXCHANGE;
                self.exchanges = self.exchanges.wrapping_add(1);
            }
            // It may have been slow only once: nobody is to go without it for longer than that.
            if std::mem::take(&mut self.was_very_slow) {
                self.next_exchange = Instant::now();
            }
            self.leave_unanswered(round);
            if is_last {
                return;
            }
        }
    }

    /// What has come, or comes before the next exchange is due. `None` if nobody can ask any more.
    fn collect(&mut self) -> Option<Round> {
        let mut round = Round::default();
        match self.ops.recv_timeout(self.next_exchange.saturating_duration_since(Instant::now())) {
            Ok(op) => self.add(op, &mut round),
            Err(RecvTimeoutError::Timeout) => return Some(round),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
        while let Ok(op) = self.ops.try_recv() {
            self.add(op, &mut round);
        }
        Some(round)
    }

    fn add(&mut self, op: Op, round: &mut Round) {
        match op {
            Op::Count(demands, reply) => round.counts.push((demands, reply)),
            Op::Ended(owner, limits, calls, tokens) => self.settlements.ended(&owner, &limits, calls, tokens),
            Op::Need(needs, reply) => {
                for (id, amount) in needs {
                    let sum = round.needs.entry(id).or_default();
                    *sum = sum.saturating_add(amount);
                }
                round.waiting.push(reply);
            }
            Op::Spent(names, reply) => round.questions.push((names, reply)),
            Op::Correct(corrections) => round.corrections.extend(corrections),
            Op::Stop => round.is_last = true,
        }
    }

    fn do_round(&mut self, round: &mut Round) -> Result<(), RedisError> {
        let mut connected = match self.connected.take() {
            Some(connected) => connected,
            None => self.connect()?,
        };
        round.settlement = self.settlements.next();
        let turn = match round.is_last {
            true => Turn::Last,
            false if round.exchanges && self.exchanges.is_multiple_of(EXCHANGES_TO_BUDGETS) => Turn::All,
            false => Turn::Needed,
        };
        if turn != Turn::Needed || !round.needs.is_empty() {
            let needs: Vec<(u64, u64)> = round.needs.iter().map(|(id, amount)| (*id, *amount)).collect();
            round.holds = self.node.holds(turn, &needs);
        }
        let pipeline = self.pipeline(&connected, round);
        if pipeline.is_empty() {
            self.connected = Some(connected);
            return Ok(());
        }
        let sent = Instant::now();
        let answers = connected.send(&pipeline)?;
        let took = sent.elapsed();
        self.connected = Some(connected);
        if took > VERY_SLOW {
            self.avoid();
        }
        self.answer(round, answers.into_iter(), took)
    }

    fn connect(&mut self) -> Result<Connected, RedisError> {
        let mut connected = self.server.connect()?;
        if connected.evicts() {
            let advice =
                "set its maxmemory-policy to noeviction: a budget that is evicted would look unspent for a moment";
            tracing::warn!(advice, "the shared server removes keys when its memory is full");
        }
        self.settlements.repeat();
        Ok(connected)
    }

    fn pipeline(&mut self, to: &Connected, round: &Round) -> Pipeline {
        let mut pipeline = redis::pipe();
        if let Some(settlement) = &round.settlement {
            self.keys.settle(to, &mut pipeline, settlement);
        }
        for (demands, _) in &round.counts {
            self.keys.count(to, &mut pipeline, demands);
        }
        if round.exchanges {
            self.keys.exchange(to, &mut pipeline, &self.node.state());
        }
        if !round.corrections.is_empty() {
            self.keys.correct(to, &mut pipeline, &round.corrections);
        }
        if !round.holds.is_empty() {
            let epoch = self.link.view.load().epoch;
            self.keys.hold(to, &mut pipeline, &round.holds, epoch);
        }
        for (names, _) in &round.questions {
            self.keys.spent(&mut pipeline, names);
        }
        if round.is_last {
            self.keys.leave(to, &mut pipeline);
        }
        pipeline
    }

    fn answer(
        &mut self,
        round: &mut Round,
        mut answers: impl Iterator<Item = Value>,
        took: Duration,
    ) -> Result<(), RedisError> {
        if let Some(settlement) = &round.settlement {
            answers.next();
            self.settlements.acknowledge(settlement);
        }
        for (demands, reply) in round.counts.drain(..) {
            let verdict = Verdict::read(&numbers(answers.next())).unwrap_or(Verdict::Away);
            match verdict {
                Verdict::Granted(_) => self.settlements.begun(&demands),
                Verdict::Refused { .. } => {}
                Verdict::Away => self.settlements.doubtful(&demands),
            }
            if let Err((Verdict::Granted(_), demands)) = reply.send((verdict, demands)) {
                for Demand { owner, limits, begins, tokens, .. } in &demands {
                    self.settlements.ended(owner, limits, *begins, given_back(*tokens));
                }
            }
        }
        if round.exchanges {
            let answer = answers.next().unwrap_or(Value::Nil);
            self.learn(answer, took)?;
        }
        if !round.corrections.is_empty() {
            answers.next();
        }
        if !round.holds.is_empty() {
            let held = Held::read(&numbers(answers.next()));
            self.node.held(&held);
        }
        for reply in round.waiting.drain(..) {
            // It may have gone.
            reply.send(()).unwrap_or_default();
        }
        for (names, reply) in round.questions.drain(..) {
            let amounts: Result<Amounts, _> = answers.by_ref().take(names.len()).map(from_redis_value).collect();
            // It may have gone.
            reply.send(amounts.ok()).unwrap_or_default();
        }
        Ok(())
    }

    /// What an exchange says.
    fn learn(&mut self, answer: Value, took: Duration) -> Result<(), RedisError> {
        let (epoch, leads, states) = read_exchange(answer)?;
        let others = states.into_iter().filter(|(replica, _)| replica != self.keys.replica());
        let peers = others.map(|(replica, state)| Peer { replica, state }).collect();
        let before = self.link.view.load();
        if before.epoch != epoch {
            self.settlements.repeat();
        }
        self.slow = if took > ANSWER_TIMEOUT { self.slow.saturating_add(1) } else { 0 };
        let is_away = self.slow >= SLOW_EXCHANGES_TO_AWAY || (self.slow > 0 && before.is_away);
        let view = View { is_away, is_leader: leads, epoch, peers };
        if is_away {
            self.warn("it answers slowly");
        } else if before.is_away {
            self.has_warned = false;
            tracing::info!(
                server = self.server.address(),
                replicas = view.peers.len() + 1,
                "limits and budgets are shared"
            );
        }
        self.show(view);
        Ok(())
    }

    /// Nobody is to wait for the server until an exchange is not slow.
    fn avoid(&mut self) {
        self.was_very_slow = true;
        self.warn("it answers slowly");
        let before = self.link.view.load();
        if !before.is_away {
            self.show(View { is_away: true, ..View::clone(&before) });
        }
    }

    /// The connection is no use any more.
    fn fail(&mut self, error: &RedisError) {
        self.connected = None;
        self.warn(&error.to_string());
        let before = self.link.view.load();
        if !before.is_away {
            self.show(View { is_away: true, is_leader: false, peers: Vec::new(), ..View::clone(&before) });
        }
    }

    /// What is left of a round will not be answered.
    fn leave_unanswered(&mut self, round: Round) {
        for (demands, reply) in round.counts {
            self.settlements.doubtful(&demands);
            // It may have gone.
            reply.send((Verdict::Away, demands)).unwrap_or_default();
        }
        for (_, reply) in round.questions {
            reply.send(None).unwrap_or_default();
        }
    }

    fn warn(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.has_warned, true) {
            let server = self.server.address();
            tracing::warn!(server, reason, "the shared server is away: this replica decides by itself");
        }
    }

    fn show(&mut self, view: View) {
        self.node.learn(&view);
        self.link.view.store(Arc::new(view));
    }
}

/// The numbers of an answer; none if it is something else.
fn numbers(answer: Option<Value>) -> Vec<i64> {
    answer.and_then(|answer| from_redis_value(answer).ok()).unwrap_or_default()
}

/// Reserved tokens, as a settlement gives them back.
pub(crate) fn given_back(tokens: u64) -> i64 {
    i64::try_from(tokens.min(MOST_TOKENS)).unwrap_or(i64::MAX).saturating_neg()
}

/// When the epoch began, whether this replica leads, and the state of every replica.
type Exchanged = (u64, bool, Vec<(String, Vec<u8>)>);

fn read_exchange(answer: Value) -> Result<Exchanged, RedisError> {
    let Value::Array(values) = answer else { return Err((redis::ErrorKind::UnexpectedReturnType, "no array").into()) };
    let mut values = values.into_iter();
    let mut number = || from_redis_value::<u64>(values.next().unwrap_or(Value::Nil));
    let (epoch, leads) = (number()?, number()?);
    let mut states = Vec::new();
    while let (Some(replica), Some(state)) = (values.next(), values.next()) {
        states.push((from_redis_value(replica)?, from_redis_value(state)?));
    }
    Ok((epoch, leads == 1, states))
}
