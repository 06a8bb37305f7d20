//! How fast a login is: calls/s, p50, p99, processor time and waits a call of request, verify, status and refresh, closed loop
//! over loopback, beside two yardsticks of the same run: a bare poem handler, and the disk's fdatasync rate.
//!
//! `cargo bench --bench login -- [--users N] [--sessions N] [--audit N] [--logins N] [--connections N] [--program PATH]`; with a
//! path, another build's program is measured. The file holds so many users, live sessions and lines of the audit trail, with the
//! codes and messages of their last days, before the first call; `--fill PATH` only makes such a file, for commands to be measured
//! on, and `--file PATH` takes a copy of one. `--database postgres://…` keeps the data there, in a schema of its own, and counts
//! statements where the server has `pg_stat_statements` loaded; `--statements` shows which. `--cache redis://…` beside it.
//! `--hot N` shows what N calls at once for one phone do to
//! the logins of others, of which `--pace N` begin each second (100).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark stops at the first surprise")]

mod client;
mod cost;
mod fill;
mod hot;
mod postgres;
mod program;
mod sink;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use client::{Call, Row, drive};
use freshk::clock::Stopwatch;
use program::{Bare, Options, Program};
use sink::Sink;

fn main() {
    let options = Options::from_args();
    if options.serve_bare {
        return program::serve_bare();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(options));
}

async fn run(options: Options) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if let Some(path) = &options.fill {
        return Program::make(path, Sink::start().await.port(), &options).await;
    }
    let fdatasync = program::fdatasync_rate(dir.path());
    let counting = cost::of_metrics();
    let sink = Arc::new(Sink::start().await);
    let bare = Bare::start();
    let bare_row =
        drive("bare poem handler", &bare.target(options.connections), bare_calls(&options)).await.0;
    drop(bare);

    let program = Program::start(dir.path(), sink.port(), &options).await;
    let amounts = program.amounts;
    program.settled().await;
    println!(
        "\n{} users, {} live sessions and {} lines of the audit trail in the file, {} logins, {} connections; ready {} ms after start\n",
        amounts.users,
        amounts.sessions,
        amounts.audit,
        options.logins,
        options.connections,
        program.ready_after.as_millis()
    );
    let phones: Vec<String> = (0..options.logins).map(|n| format!("+1999{n:08}")).collect();
    let target = program.target();

    let calls = phones.iter().enumerate().map(|(n, phone)| {
        Call::post("/api/mobile/auth/production/request/", n, &format!(r#"{{"phone_number":"{phone}"}}"#))
    });
    let (request, _) = drive("request", &target, calls.collect()).await;
    show_statements(&options, "request");

    let calls = phones.iter().enumerate().map(|(n, phone)| {
        let code = sink.code(phone).expect("every request was sent");
        let body = format!(r#"{{"phone_number":"{phone}","otp":"{code}"}}"#);
        Call::post("/api/mobile/auth/production/verify/", n, &body)
    });
    let (verify, answers) = drive("verify", &target, calls.collect()).await;
    show_statements(&options, "verify");

    let tokens: Vec<serde_json::Value> =
        answers.iter().map(|answer| serde_json::from_slice(answer).expect("verify answers JSON")).collect();
    let bearer = |n: usize| tokens[n % tokens.len()]["access"].as_str().expect("an access token").to_owned();
    // Once through every token first: their first use is a write, which the benchmark of reading should not hold.
    let first = (0..tokens.len()).map(|n| Call::get("/api/mobile/auth/production/status/", n, bearer(n)));
    let _ = drive("status, first use", &target, first.collect()).await;
    let calls =
        (0..options.logins * 4).map(|n| Call::get("/api/mobile/auth/production/status/", n, bearer(n)));
    let (status, _) = drive("status", &target, calls.collect()).await;

    let calls = tokens.iter().enumerate().map(|(n, pair)| {
        let refresh = pair["refresh"].as_str().expect("a refresh token");
        Call::post("/api/mobile/auth/token/refresh/", n, &format!(r#"{{"refresh":"{refresh}"}}"#))
    });
    let (refresh, _) = drive("refresh", &target, calls.collect()).await;
    show_statements(&options, "refresh");
    let among_many = among_many(&program, &options).await;
    if options.hot > 0 {
        hot::beside_others(&target, &sink, (options.hot, options.pace)).await;
    }

    let peak = program.peak_resident_mib();
    let wal = program.wal_mib();
    let mut rows = vec![&bare_row, &request, &verify, &status, &refresh];
    rows.extend(&among_many);
    print_table(&rows);
    println!(
        "\nfdatasync {fdatasync:.0}/s; peak resident {peak:.1} MiB; write-ahead log at the end {wal:.1} MiB\n"
    );
    println!("metrics: {:?} of processor time for a status, {:?} for a request\n", counting.0, counting.1);
    if options.database.is_some() {
        return goals(&[
            ("request/s", request.rate(), 1500.0, true),
            ("verify/s", verify.rate(), 2500.0, true),
            ("refresh/s", refresh.rate(), 4000.0, true),
            ("status/s", status.rate(), 20_000.0, true),
            ("p99 of request, ms", millis(request.p99()), 60.0, false),
            ("p99 of verify, ms", millis(verify.p99()), 60.0, false),
            ("p99 of status, ms", millis(status.p99()), 60.0, false),
            ("p99 of refresh, ms", millis(refresh.p99()), 60.0, false),
        ]);
    }
    goals(&[
        ("status / bare handler", status.rate() / bare_row.rate(), 0.6, true),
        ("verify / fdatasync", verify.rate() / fdatasync, 1.5, true),
        ("request / fdatasync", request.rate() / fdatasync, 0.8, true),
        ("p99 of request, ms", millis(request.p99()), 30.0, false),
        ("p99 of verify, ms", millis(verify.p99()), 30.0, false),
        ("p99 of status, ms", millis(status.p99()), 30.0, false),
        ("p99 of refresh, ms", millis(refresh.p99()), 30.0, false),
        ("metrics of status, %", share(counting.0, &status), 3.0, false),
        ("metrics of request, %", share(counting.1, &request), 3.0, false),
        ("ready after, ms", millis(program.ready_after), 150.0, false),
        ("peak resident, MiB", peak, 60.0, false),
    ]);
}

/// Status of every session that was filled in, by turns; the first round, which reads each from the file, apart.
async fn among_many(program: &Program, options: &Options) -> Vec<Row> {
    let (tokens, target) = (&program.filled, program.target());
    if tokens.is_empty() {
        return Vec::new();
    }
    let calls = |count: usize| {
        let token = |n: usize| tokens[n % tokens.len()].clone();
        (0..count).map(|n| Call::get("/api/mobile/auth/production/status/", n, token(n))).collect()
    };
    let first = drive("status, many, cold", &target, calls(tokens.len())).await.0;
    let rounds = (options.logins * 4).max(tokens.len());
    let again = drive("status, many", &target, calls(rounds)).await.0;
    vec![first, again]
}

/// Which statements the database has run in the last round, the most frequent first.
fn show_statements(options: &Options, name: &str) {
    if let Some(server) = options.database.as_ref().filter(|_| options.shows_statements) {
        println!("\nstatements of {name}: calls, ms, text\n{}", server.longest(40));
    }
}

fn bare_calls(options: &Options) -> Vec<Call> {
    (0..options.logins * 4).map(|n| Call::get("/", n, "none".to_owned())).collect()
}

fn print_table(rows: &[&Row]) {
    println!(
        "{:<20} {:>10} {:>12} {:>10} {:>10} {:>10} {:>10}   statements and their µs a call",
        "", "calls", "calls/s", "p50 ms", "p99 ms", "µs/call", "waits/call"
    );
    for row in rows {
        println!(
            "{:<20} {:>10} {:>12.0} {:>10.2} {:>10.2} {:>10.1} {:>10.2}   {}",
            row.name,
            row.calls(),
            row.rate(),
            millis(row.p50()),
            millis(row.p99()),
            row.processor_micros(),
            row.waits(),
            row.statements().map_or_else(String::new, |(count, micros)| format!("{count:.2} {micros:.0}"))
        );
    }
}

fn goals(goals: &[(&str, f64, f64, bool)]) {
    for (name, found, goal, at_least) in goals {
        let met = if *at_least { found >= goal } else { found < goal };
        let relation = if *at_least { ">=" } else { "<" };
        println!("{} {name:<24} {found:>8.2}   goal {relation} {goal}", if met { "met " } else { "MISS" });
    }
}

/// What counting costs of a row's calls/s: so much of all processor time goes into it at that rate.
fn share(cost: Duration, row: &Row) -> f64 {
    let cores = std::thread::available_parallelism()
        .map_or(1.0, |cores| f64::from(u32::try_from(cores.get()).unwrap_or(1)));
    cost.as_secs_f64() * row.rate() / cores * 100.0
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Shared by the modules: a watch that has started.
fn watch() -> Stopwatch {
    Stopwatch::start()
}
