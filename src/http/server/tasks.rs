//! The tasks in which the requests of a connection of HTTP/2 are answered.

use hyper::rt::Executor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts such tasks: the server waits for them, and they end with their connection.
#[derive(Clone)]
pub(super) struct Tasks {
    pub(super) tracker: TaskTracker,
    pub(super) ends: CancellationToken,
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let ends = self.ends.clone();
        self.tracker.spawn(async move {
            let _over = ends.run_until_cancelled(task).await;
        });
    }
}
