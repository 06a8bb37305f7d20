//! A server of the schedule: the flows over a store that can be cut off before or after any of its writes.

use std::sync::{Arc, Mutex};

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::super::intercepted::{Intercepted, Writes};
use super::super::*;
use super::place::Place;
use crate::storage::postgres::Membership;
use crate::storage::{Engine, StoreError, Tx, WriteJob};
use crate::sync::lock;

/// Where a process ends: at which of its coming writes, and whether that is still committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) writes: u32,
    pub(super) is_committed: bool,
}

/// Where the writes of a server are cut off; none is answered from then on.
struct Severed {
    cut: Mutex<Option<Cut>>,
    is_cut: watch::Sender<bool>,
    /// Whoever waits for these waits for ever.
    unanswered: Mutex<Vec<Box<dyn WriteJob>>>,
}

/// A write that is committed, and not answered.
struct Unanswered(Option<Box<dyn WriteJob>>, Arc<Severed>);

impl Severed {
    fn keep(&self, job: Box<dyn WriteJob>) {
        lock(&self.unanswered).push(job);
        self.is_cut.send_replace(true);
    }
}

impl WriteJob for Unanswered {
    fn locks(&self) -> &Locks {
        static NONE: Locks = Locks::none();
        self.0.as_ref().map_or(&NONE, |job| job.locks())
    }

    fn run(&mut self, tx: &mut dyn Tx) -> StoreResult<()> {
        self.0.as_mut().ok_or(StoreError::Broken)?.run(tx)
    }

    fn undone(&mut self) {
        if let Some(job) = &mut self.0 {
            job.undone();
        }
    }

    fn finish(mut self: Box<Self>, _: StoreResult<()>) {
        if let Some(job) = self.0.take() {
            self.1.keep(job);
        }
    }
}

impl Writes for Arc<Severed> {
    fn submit(&self, engine: &dyn Engine, job: Box<dyn WriteJob>) -> StoreResult<()> {
        let mut cut = lock(&self.cut);
        let Some(planned) = &mut *cut else { return engine.submit(job) };
        if planned.writes > 0 {
            planned.writes -= 1;
            return engine.submit(job);
        }
        if planned.is_committed {
            planned.is_committed = false;
            return engine.submit(Box::new(Unanswered(Some(job), Self::clone(self))));
        }
        self.keep(job);
        Ok(())
    }
}

/// A run of a server.
pub(super) struct Node {
    runtime: Option<Runtime>,
    pub(super) auth: Arc<Auth>,
    pub(super) store: Store,
    pub(super) clock: Arc<ManualClock>,
    pub(super) sms: MemorySender,
    pub(super) means: Means,
    state: Arc<Severed>,
    _member: Option<Membership>,
}

impl Node {
    /// Starts at so much after the beginning of time; `run` is drawn by nobody else.
    pub(super) fn start(place: &Place, run: u64, since: Duration, change: impl FnOnce(&mut Policy)) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clock = Arc::new(ManualClock::new());
        clock.advance(since);
        let state = Arc::new(Severed {
            cut: Mutex::default(),
            is_cut: watch::Sender::new(false),
            unanswered: Mutex::default(),
        });
        let inner = place.open(clock.now());
        let store = Store::new(Arc::new(Intercepted { inner, writes: Arc::clone(&state) }));
        let sms = place.sms.clone();
        let run_id = RunId::new(run.to_be_bytes());
        let member = place.enter(&run_id, clock.now());
        let mut policy = policy();
        change(&mut policy);
        let (auth, means) = build(&store, &clock, &sms, (run, run_id), policy);
        runtime.block_on(auth.settle_after_restart()).unwrap();
        Self { runtime: Some(runtime), auth, store, clock, sms, means, state, _member: member }
    }

    pub(super) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// The process ends at one of its coming writes.
    pub(super) fn cut(&self, cut: Cut) {
        *lock(&self.state.cut) = Some(cut);
    }

    /// It does not after all; false where it has.
    pub(super) fn mend(&self) -> bool {
        *lock(&self.state.cut) = None;
        !*self.state.is_cut.borrow()
    }

    /// Does something, unless the process ends before that is answered.
    pub(super) fn run<T>(&self, act: impl Future<Output = T>) -> Option<T> {
        let mut is_cut = self.state.is_cut.subscribe();
        self.runtime().block_on(async {
            tokio::select! {
                biased;
                done = act => Some(done),
                _ = is_cut.wait_for(|is_cut| *is_cut) => None,
            }
        })
    }

    /// Ends as it should: what is under way comes to its end.
    pub(super) fn stop(self) {
        self.runtime().block_on(async {
            self.auth.store_clock().await.unwrap();
            assert!(self.auth.finish(Duration::from_mins(1)).await, "a flow did not end");
            self.store.close().await;
        });
    }
}

/// The process ends: its flows are gone wherever they were.
impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
            // What the engine has been given by then is in the database, or never comes there, before another run looks.
            let ending = tokio::runtime::Builder::new_current_thread().build().unwrap();
            ending.block_on(self.store.close());
        }
    }
}
