//! A cache that answers, and some that do not, on sockets of this machine.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::domain::Secret;
use crate::domain::quota::Endpoint;
use crate::metrics::Format;

/// What a fake answers to each command, whatever it says; `None` for nothing at all.
type Answer = Option<&'static str>;

const WAITS_TEN_MS: &str = ":10000\r\n";
const PACE: (u32, u32) = (50, 100);
const QUOTA: Quota = Quota::Ip(Endpoint::Request);
const LIMIT: Limit = Limit { units: 5, window: Duration::from_hours(1) };

/// Answers the first command of each connection as a good cache does, which is the trial, and then with `answer`.
async fn fake(answer: Answer) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut command = [0; 4096];
                let mut next = Some(":0\r\n");
                while let Ok(1..) = peer.read(&mut command).await {
                    match next {
                        Some("close") => return,
                        Some(text) => drop(peer.write_all(text.as_bytes()).await),
                        None => {}
                    }
                    next = answer;
                }
            });
        }
    });
    (address, serving)
}

fn start(address: SocketAddr) -> (Arc<RedisLimits>, Metrics) {
    let settings = CacheSettings::parse(&format!("redis://{address}")).unwrap();
    let metrics = Metrics::new();
    let keys = DerivedKeys::derive(&Secret::new("k".repeat(32)));
    (RedisLimits::start(&settings, keys, metrics.clone()), metrics)
}

fn value(metrics: &Metrics, series: &str) -> Option<u64> {
    let page = metrics.render(Format::OpenMetrics);
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

async fn until(metrics: &Metrics, series: &str, wanted: u64) {
    for _ in 0..3000 {
        if value(metrics, series) == Some(wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {series} {wanted}: {:?}", value(metrics, series));
}

fn address() -> ClientAddress {
    ClientAddress::new(Ipv4Addr::new(203, 0, 113, 7).into())
}

async fn paced(limits: &RedisLimits) -> Option<Duration> {
    limits.pace(address(), Pace::new(PACE.0, PACE.1).unwrap()).await
}

#[tokio::test]
async fn a_wait_that_the_cache_tells_is_a_refusal() {
    let (address, _serving) = fake(Some(WAITS_TEN_MS)).await;
    let (limits, metrics) = start(address);
    until(&metrics, "freshk_cache_lost", 0).await;
    assert_eq!(paced(&limits).await, Some(Duration::from_millis(10)));
}

#[tokio::test]
async fn what_makes_no_sense_refuses_nobody() {
    let answers = [
        ":-1\r\n",
        ":20002\r\n",
        ":9223372036854775807\r\n",
        "+OK\r\n",
        "$5\r\nhello\r\n",
        "$-1\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "-OOM command not allowed\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\0\0\0\0\r\n",
        "close",
    ];
    for answer in answers {
        let (address, _serving) = fake(Some(answer)).await;
        let (limits, metrics) = start(address);
        until(&metrics, "freshk_cache_lost", 0).await;
        assert_eq!(paced(&limits).await, None, "{answer:?}");
        until(&metrics, "freshk_cache_answers_total{outcome=\"failed\"}", 1).await;
    }
}

#[tokio::test]
async fn one_that_hangs_is_not_asked_any_more_and_is_asked_again_later() {
    let (address, _serving) = fake(None).await;
    let (limits, metrics) = start(address);
    until(&metrics, "freshk_cache_lost", 0).await;
    for _ in 0..3 {
        assert_eq!(paced(&limits).await, None);
    }
    assert_eq!(value(&metrics, "freshk_cache_answers_total{outcome=\"late\"}"), Some(3));
    // Its first answer on a connection is good: it is back, until it hangs again.
    until(&metrics, "freshk_cache_lost", 0).await;
}

#[tokio::test]
async fn one_that_is_not_there_is_skipped_and_used_once_it_is() {
    let (address, serving) = fake(Some(WAITS_TEN_MS)).await;
    serving.abort();
    drop(serving.await);
    let (limits, metrics) = start(address);
    assert_eq!(paced(&limits).await, None);
    assert_eq!(value(&metrics, "freshk_cache_answers_total{outcome=\"skipped\"}"), Some(1));
    assert_eq!(value(&metrics, "freshk_cache_lost"), Some(1));
}

#[tokio::test]
async fn a_refusal_is_believed_only_if_a_server_can_have_written_it() {
    let now = Timestamp::from_millis(1_700_000_000_000);
    let good: &str = "$27\r\n1700003000000 1699999999000\r\n";
    for (answer, holds) in [
        (good, true),
        ("$-1\r\n", false),
        ("$0\r\n\r\n", false),
        ("$5\r\nhello\r\n", false),
        ("$13\r\n1700003000000\r\n", false),
        ("$28\r\n-1700003000000 1699999999000\r\n", false),
        ("$27\r\n1700003000000 1699999990000\r\n", false),
        ("$27\r\n1700009000000 1699999999000\r\n", false),
        ("$33\r\n99999999999999999999 1699999999000\r\n", false),
    ] {
        let (address, _serving) = fake(Some(answer)).await;
        let (limits, metrics) = start(address);
        until(&metrics, "freshk_cache_lost", 0).await;
        let found = limits.refusal(QUOTA, "203.0.113.7", LIMIT, now).await;
        assert_eq!(found.is_some(), holds, "{answer:?}");
    }
}

#[tokio::test]
async fn s34_keys_name_nobody_and_are_another_secrets_others() {
    let (address, _serving) = fake(None).await;
    let (limits, _) = start(address);
    let key = limits.key("ip:request", "203.0.113.7");
    assert!(key.starts_with("freshk:ip:request:") && !key.contains("203"), "{key}");
    assert_ne!(key, limits.key("ip:request", "203.0.113.8"));
    let keys = DerivedKeys::derive(&Secret::new("o".repeat(32)));
    let other = RedisLimits { circuit: Arc::clone(&limits.circuit), keys };
    assert_ne!(key, other.key("ip:request", "203.0.113.7"));
}

#[test]
fn a_refusal_is_read_as_it_is_written() {
    let at = Timestamp::from_millis;
    let refusal = SharedRefusal { until: at(1_700_003_000_000), asked: at(1_699_999_999_000) };
    assert_eq!(parse(text(refusal).as_bytes()), Some(refusal));
}
