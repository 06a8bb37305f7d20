//! A database whose writes fail, or come late, where a test says so.

use std::sync::Mutex;

use super::intercepted::Writes;
use super::*;
use crate::storage::{Engine, StoreError, WriteJob};
use crate::sync::lock;

/// Which of the coming writes fail, or come late.
#[derive(Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Plan>>);

/// So many succeed, and then so many fail.
#[derive(Default)]
struct Plan {
    good: usize,
    bad: usize,
    /// Which of the coming writes waits.
    delays: Option<usize>,
    delayed: Option<Box<dyn WriteJob>>,
    /// Whether it waits although others go.
    keeps: bool,
}

impl Faults {
    /// Has `bad` writes fail after `good` ones.
    pub(super) fn plan(&self, good: usize, bad: usize) {
        let mut plan = lock(&self.0);
        (plan.good, plan.bad) = (good, bad);
    }

    /// Whether all that was planned has happened.
    pub(super) fn are_over(&self) -> bool {
        lock(&self.0).bad == 0
    }

    /// Has the next write wait until the one after it is on its way.
    pub(super) fn delay(&self) {
        lock(&self.0).delays = Some(0);
    }

    /// Has a write, which comes after so many others, wait until it is freed and another one is on its way.
    pub(super) fn keep(&self, others: usize) {
        let mut plan = lock(&self.0);
        (plan.delays, plan.keeps) = (Some(others), true);
    }

    /// Frees the write that waits.
    pub(super) fn free(&self) {
        lock(&self.0).keeps = false;
    }

    /// Whether a write waits.
    pub(super) fn has_delayed(&self) -> bool {
        lock(&self.0).delayed.is_some()
    }

    /// Those that go to the database now.
    fn order(&self, job: Box<dyn WriteJob>) -> impl Iterator<Item = Box<dyn WriteJob>> {
        let mut plan = lock(&self.0);
        let others = plan.delays.take();
        if others == Some(0) {
            plan.delayed = Some(job);
            return None.into_iter().chain(None);
        }
        plan.delays = others.map(|others| others - 1);
        let delayed = if plan.keeps { None } else { plan.delayed.take() };
        Some(job).into_iter().chain(delayed)
    }

    fn next(&self) -> bool {
        let mut plan = lock(&self.0);
        if plan.bad == 0 {
            return false;
        }
        let is_bad = plan.good == 0;
        if is_bad {
            plan.bad -= 1;
        } else {
            plan.good -= 1;
        }
        is_bad
    }
}

impl Writes for Faults {
    fn submit(&self, engine: &dyn Engine, job: Box<dyn WriteJob>) -> StoreResult<()> {
        if self.next() {
            return Err(StoreError::Unavailable);
        }
        self.order(job).try_for_each(|job| engine.submit(job))
    }
}
