//! The load of `tools/soak`: people who log in at a steady rate over TLS, the Twilio that sends them their codes, and a webhook that
//! is told of them.
//!
//! `soak --address HOST:PORT`. The first line of the output names the ports of Twilio and of the webhook. Commands come in by
//! lines: `people N` (how many there are), `top` (as many logins as there can be, 64 at a time), `rate N` (N logins a second), `pause` (until all have what they
//! asked for; what follows is another day), `stop`. Each ten seconds a line of JSON tells what was called and how long it took.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark stops at the first surprise"
)]

mod counts;
mod hook;
mod line;
mod people;
#[path = "../login/sink.rs"]
mod sink;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use counts::Counts;
use people::{Pace, People};
use sink::Sink;

/// How many people are served at the same moment, at most.
const HANDS: usize = 256;

/// How often a line is written.
const REPORT: Duration = Duration::from_secs(10);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let text = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let Some(address) = text("--address") else {
        println!("the load of tools/soak, which starts it");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(address));
}

async fn run(address: String) {
    let (sink, hook) = (Arc::new(Sink::start().await), hook::start().await);
    println!(r#"{{"twilio":{},"webhook":{hook}}}"#, sink.port());
    let (pace, paced) = watch::channel(Pace::Paused);
    let counts = Arc::new(Counts::default());
    let people = Arc::new(People::new(address, sink, counts.clone()));
    for hand in 0..HANDS {
        tokio::spawn(people.clone().serve(hand, paced.clone()));
    }
    let reported = counts.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(REPORT);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            println!("{}", reported.take());
        }
    });
    let (commands, mut read) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let _ = commands.send(line.expect("a command is text"));
        }
    });
    // Whoever starts it holds its input open.
    while let Some(command) = read.recv().await {
        let (word, number) = command.split_once(' ').unwrap_or((&command, ""));
        match word {
            "people" => people.count.store(number.parse().expect("a number"), Ordering::SeqCst),
            "top" => pace.send(Pace::Top).unwrap(),
            "rate" => pace.send(Pace::Every(people.interval(number.parse().expect("a rate")))).unwrap(),
            "pause" => {
                pace.send(Pace::Paused).unwrap();
                while people.busy.load(Ordering::SeqCst) > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                people.sleep_over();
                println!(r#"{{"paused":true,"now":{}}}"#, counts.take());
            }
            "stop" => return,
            other => panic!("no command: {other}"),
        }
    }
}
