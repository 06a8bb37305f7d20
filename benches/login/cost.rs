//! What counting costs: the metrics of one request, counted from two threads at once as the server would, without a
//! server around them. Differences between two whole runs are smaller than the noise of a shared machine.

use std::time::Duration;

use freshk::metrics::Metrics;

const THREADS: u32 = 2;
const ROUNDS: u32 = 500_000;

/// Processor time for the metrics of one `status/`, and of one `request/` with its two commits.
pub(crate) fn of_metrics() -> (Duration, Duration) {
    let metrics = Metrics::new();
    let status = each(|| {
        let (meter, took) = (metrics.route("/api/mobile/auth/production/status/"), Duration::from_millis(1));
        move || meter.answered(200, took)
    });
    let request = each(|| {
        let (metrics, meter) = (metrics.clone(), metrics.route("/api/mobile/auth/production/request/"));
        move || {
            let took = Duration::from_millis(15);
            metrics.code_requested("production");
            metrics.message_reached("queued");
            metrics.committed(1, took);
            metrics.committed(1, took);
            meter.answered(200, took);
        }
    });
    (status, request)
}

/// Processor time of one round, while all threads go round.
fn each<F: Fn() + Send>(count: impl Fn() -> F) -> Duration {
    let watch = crate::watch();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let count = count();
            scope.spawn(move || (0..ROUNDS).for_each(|_| count()));
        }
    });
    // Each of the threads held a processor for as long, and went round so often.
    watch.elapsed() / ROUNDS
}
