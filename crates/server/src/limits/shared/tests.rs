//! Limits of two replicas, on a real `redis-server` of each test's own. Ignored where none is installed: `tests/run` installs one.

use tokio::time::timeout;

use super::*;
use crate::limits::{
    Demand, Grant, Limits, Owner, count_refused,
    tests::{calls, limits, tokens},
};

#[path = "../../../../shared/tests/server/support.rs"]
#[expect(dead_code, reason = "tests of budgets and members need more of it")]
mod support;

use support::{Replica, Server, until};

const CONFIG: &str = "
    keys = [{ id = \"web\", team = \"search\", env = \"WEB\", limits = { concurrent = MOST, tokens_per_minute = 6 } }]
    models = [{ name = \"m\", strategy = \"cost\", targets = [{ upstream = \"a\" }] }]
    [[upstreams]]
    id = \"a\"
    provider = \"openai\"
    model = \"m\"
    base_url = \"http://127.0.0.1:9/v1\"
    api_key_env = \"none\"
";

/// Less than this passes between two lines of a test. The limits below give back one call or token in this time.
const SLOW: Duration = Duration::from_secs(10);

fn limiter(replica: &Replica, owner: Owner, allowance: Allowance, when_away: LimitsWhenAway) -> Arc<Limiter> {
    let replicas = NonZeroU32::new(2).expect("not 0");
    let sharing = Arc::new(Sharing { server: replica.shared.clone(), replicas, when_away });
    let limiter = Limiter::new(owner, "web", allowance, Some(&sharing));
    limiter.set_alone(false);
    Arc::new(limiter)
}

/// The same limits on two replicas.
fn both(replicas: &[Replica; 2], owner: &Owner, allowance: Allowance) -> [Arc<Limiter>; 2] {
    replicas.each_ref().map(|replica| limiter(replica, owner.clone(), allowance, LimitsWhenAway::Divide))
}

fn enter(limiter: &Arc<Limiter>) -> Result<Grant, Refused> {
    Grant::enter(std::slice::from_ref(limiter))
}

/// Counts a request that has not been refused before.
async fn count(limiter: &Arc<Limiter>, demand: Demand) -> Result<(Grant, Vec<RateLimitStatus>), Refused> {
    let mut grant = Grant::default();
    let statuses = grant.count(Some(limiter), demand).await?;
    Ok((grant, statuses))
}

fn rate(refused: Refused) -> (RateLimitStatus, Duration) {
    match refused.limit {
        ReachedLimit::Rate { status, wait } => (status, wait),
        other => panic!("{other:?}"),
    }
}

fn is_within(time: Duration, most: Duration) -> bool {
    time <= most && time > most.saturating_sub(SLOW)
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_replicas_let_in_the_calls_that_one_would() {
    let server = Server::start();
    let replicas = [server.replica(1), server.replica(2)];
    let web = both(&replicas, &Owner::Key, limits(6, 6, 0));
    for nth in 0..6 {
        let (_, statuses) = count(&web[nth as usize % 2], calls(1)).await.expect("six are there");
        let [status] = statuses[..] else { panic!("{statuses:?}") };
        assert_eq!((status.unit, status.limit, status.remaining), (Unit::Requests, 6, 5 - nth));
        assert!(is_within(status.reset, SLOW * (nth + 1)), "{status:?}");
    }
    assert!(enter(&web[0]).is_ok() && enter(&web[1]).is_ok(), "nobody was refused yet");
    for nth in [0, 1] {
        let (status, wait) = rate(count(&web[nth], calls(3)).await.err().expect("none is there"));
        assert_eq!((status.unit, status.limit, status.remaining), (Unit::Requests, 6, 0));
        assert!(is_within(wait, SLOW * 3), "{wait:?} until three are there");
        // From now on nobody has to ask the server.
        let (status, wait) = rate(enter(&web[nth]).err().expect("none is there"));
        assert_eq!((status.unit, status.limit, status.remaining), (Unit::Requests, 6, 0));
        assert!(is_within(wait, SLOW) && is_within(status.reset, SLOW * 6), "{wait:?} {status:?}");
    }
    let team = both(&replicas, &Owner::Team("web".into()), limits(6, 6, 0));
    assert!(count(&team[0], calls(6)).await.is_ok(), "a team of that name has limits of its own");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_replicas_let_in_the_tokens_that_one_would() {
    let server = Server::start();
    let replicas = [server.replica(1), server.replica(2)];
    let web = both(&replicas, &Owner::Key, tokens(6, 100));
    assert!(web[0].counts_tokens() && !both(&replicas, &Owner::Key, limits(6, 6, 0))[0].counts_tokens());
    let left = async |nth: usize| count(&web[nth], Demand { calls: 0, tokens: 0 }).await.expect("some are there").1[0];
    let (grant, statuses) = count(&web[0], Demand { calls: 1, tokens: 90 }).await.expect("a hundred are there");
    let reserved = RateLimitStatus { unit: Unit::Tokens, limit: 6, remaining: 10, reset: SLOW * 90 };
    assert_eq!(statuses, [reserved]);
    web[0].use_tokens(30);
    drop(grant);
    // It is told with the next question of the replica that knows.
    assert_eq!((left(0).await.remaining, left(1).await.remaining), (70, 70));
    let (_grant, _) = count(&web[1], Demand { calls: 1, tokens: 500 }).await.expect("some are there");
    let (status, wait) = rate(count(&web[0], Demand { calls: 1, tokens: 1 }).await.err().expect("none is there"));
    assert_eq!((status.unit, status.limit, status.remaining), (Unit::Tokens, 6, 0));
    assert!(is_within(wait, SLOW * 431), "{wait:?}");
    let (status, wait) = rate(enter(&web[0]).err().expect("none is there"));
    assert_eq!((status.unit, status.limit, status.remaining), (Unit::Tokens, 6, 0));
    assert!(wait <= TOKENS_ARE_OUT && status.reset == wait + SLOW * 99, "{wait:?} {status:?}");
    sleep(TOKENS_ARE_OUT).await;
    assert!(enter(&web[0]).is_ok(), "what was reserved may have come back");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn calls_under_way_on_all_replicas_count_until_they_end() {
    let server = Server::start();
    let replicas = [server.replica(1), server.replica(2)];
    let web = both(&replicas, &Owner::Key, limits(0, 0, 2));
    count_refused(&[web[0].clone()]).await.expect("it is under way nowhere");
    let (first, statuses) = count(&web[0], calls(1)).await.expect("two are free");
    assert_eq!(statuses, []);
    let (_second, _) = count(&web[1], calls(1)).await.expect("one is free");
    let full = |refused: Refused| refused.limit == ReachedLimit::Concurrency { limit: 2, status: None };
    for limiter in &web {
        assert!(count(limiter, calls(1)).await.err().is_some_and(full), "none is free");
    }
    drop(first);
    let limiters = [web[1].clone()];
    let third = timeout(SLOW, Grant::wait(&limiters, None, calls(1), 0)).await.expect("one is free soon");
    assert!(third.is_ok() && count(&web[0], calls(1)).await.err().is_some_and(full), "and taken");
    web[0].set_alone(true);
    let _alone = enter(&web[0]).expect("its part is one of two");
    assert!(enter(&web[0]).is_err());
    web[0].set_alone(false);
    assert!(enter(&web[0]).is_ok());
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn whether_the_server_is_away_is_known_to_all_limits_also_to_later_ones() {
    let server = Server::start();
    let replica = server.replica(1);
    let replicas = NonZeroU32::new(2).expect("not 0");
    let sharing = Sharing { server: replica.shared.clone(), replicas, when_away: LimitsWhenAway::Divide };
    let all = Limits::new(Some(Arc::new(sharing)));
    // As many calls at a time as one replica may have of four, or of six.
    let most = |config: &str| {
        let limiters = all.set(
            &settings::parse(config, "x.toml", &|name: &str| {
                (!name.starts_with("LLM_ROUTER__")).then(|| name.to_owned())
            })
            .expect("valid"),
        );
        assert!(limiters.of_key("web", "search")[0].counts_tokens());
        move || {
            let limiters = limiters.of_key("web", "search");
            let taken: Vec<_> = (0..9).map_while(|_| limiters[0].permit().ok()).collect();
            taken.len()
        }
    };
    let four = most(&CONFIG.replace("MOST", "4"));
    assert_eq!(four(), 2, "its part, until the server has answered");
    all.set_alone(false);
    assert_eq!(four(), 4);
    let six = most(&CONFIG.replace("MOST", "6"));
    assert_eq!(six(), 6);
    all.set_alone(true);
    all.set_alone(true);
    assert_eq!(six(), 3);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_request_that_waits_is_counted_for_all_replicas_once_it_is_let_in() {
    let server = Server::start();
    let replicas = [server.replica(1), server.replica(2)];
    let web = both(&replicas, &Owner::Key, limits(60, 1, 0));
    count(&web[0], calls(1)).await.expect("one is there");
    let limiters = [web[1].clone()];
    timeout(SLOW, Grant::wait(&limiters, None, calls(1), 0)).await.expect("one comes each second").expect("it fits");
    let (_, wait) = rate(count(&web[0], calls(1)).await.err().expect("it was counted"));
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    let never = ReachedLimit::Never { calls: 2, most: 1, setting: "burst" };
    assert_eq!(Grant::wait(&limiters, None, calls(2), 0).await.err().map(|refused| refused.limit), Some(never));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn without_the_server_each_counts_its_part_or_lets_nobody_in() {
    let mut server = Server::start();
    let replica = server.replica(1);
    let divided = limiter(&replica, Owner::Key, limits(6, 6, 0), LimitsWhenAway::Divide);
    let refusing = limiter(&replica, Owner::Key, limits(6, 6, 0), LimitsWhenAway::Refuse);
    assert!(divided.is_counted_there().is_some() && enter(&refusing).is_ok());
    server.kill();
    until("it is seen that the server is away", || replica.shared.is_away());
    assert!(divided.is_counted_there().is_none());
    let mut admitted = 0;
    while count(&divided, calls(1)).await.is_ok() {
        admitted += 1;
    }
    assert_eq!(admitted, 3, "half of six");
    assert_eq!(enter(&refusing).err().map(|refused| refused.limit), Some(ReachedLimit::Unknown));
    assert_eq!(count(&refusing, calls(1)).await.err().map(|refused| refused.limit), Some(ReachedLimit::Unknown));
}
