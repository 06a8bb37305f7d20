//! A queue before several threads: what cannot run beside something that runs waits here, and takes no connection.

use std::collections::{HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::storage::{StoreError, StoreResult};

/// What waits, in the order of its coming.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    room: usize,
}

struct State<T> {
    waiting: VecDeque<Waiting<T>>,
    /// Keys of what runs.
    busy: HashSet<i64>,
    running: usize,
    is_open: bool,
}

struct Waiting<T> {
    task: T,
    keys: Vec<i64>,
}

/// A task that runs; its keys are free again when this is dropped.
pub(super) struct Running<'q, T> {
    queue: &'q Queue<T>,
    keys: Vec<i64>,
}

impl<T> Queue<T> {
    /// Holds at most `room` tasks.
    pub(super) fn new(room: usize) -> Self {
        let state = State { waiting: VecDeque::new(), busy: HashSet::new(), running: 0, is_open: true };
        Self { state: Mutex::new(state), changed: Condvar::new(), room }
    }

    /// Queues a task. Two tasks with a key in common run one after the other, in the order of their coming.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] if there is no room, [`StoreError::Unavailable`] if the queue is closed.
    pub(super) fn push(&self, task: T, keys: Vec<i64>) -> StoreResult<()> {
        let mut state = self.state();
        if !state.is_open {
            return Err(StoreError::Unavailable);
        }
        if state.waiting.len() >= self.room {
            return Err(StoreError::Overloaded);
        }
        state.waiting.push_back(Waiting { task, keys });
        self.changed.notify_one();
        Ok(())
    }

    /// The next task that may run; waits for one. `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<(T, Running<'_, T>)> {
        let mut state = self.state();
        loop {
            if let Some(Waiting { task, keys }) = state.next() {
                state.busy.extend(&keys);
                state.running += 1;
                return Some((task, Running { queue: self, keys }));
            }
            if !state.is_open && state.waiting.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes nothing more; what waits still runs.
    pub(super) fn close(&self) {
        self.state().is_open = false;
        self.changed.notify_all();
    }

    /// How many tasks wait or run.
    pub(super) fn count(&self) -> usize {
        let state = self.state();
        state.waiting.len() + state.running
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// The first whose keys are neither busy nor wanted by one that came before.
    fn next(&mut self) -> Option<Waiting<T>> {
        let mut wanted: HashSet<i64> = HashSet::new();
        let at = self.waiting.iter().position(|waiting| {
            let free = waiting.keys.iter().all(|key| !self.busy.contains(key) && !wanted.contains(key));
            if !free {
                wanted.extend(&waiting.keys);
            }
            free
        })?;
        self.waiting.remove(at)
    }
}

impl<T> Drop for Running<'_, T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        for key in &self.keys {
            state.busy.remove(key);
        }
        state.running -= 1;
        drop(state);
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_a_key_that_is_at_work_waits_and_keeps_its_turn() {
        let queue = Queue::new(10);
        for (task, keys) in [("a", vec![1]), ("b", vec![1, 2]), ("c", vec![2]), ("d", vec![3]), ("e", vec![])]
        {
            queue.push(task, keys).unwrap();
        }
        let (first, a) = queue.take().unwrap();
        let (second, d) = queue.take().unwrap();
        let (third, e) = queue.take().unwrap();
        assert_eq!([first, second, third], ["a", "d", "e"]);
        drop((a, d, e));
        let (next, b) = queue.take().unwrap();
        assert_eq!((next, queue.count()), ("b", 2));
        drop(b);
        assert_eq!(queue.take().unwrap().0, "c");
    }

    #[test]
    fn a_full_queue_and_a_closed_one_take_nothing() {
        let queue = Queue::new(1);
        queue.push(1, Vec::new()).unwrap();
        assert_eq!(queue.push(2, Vec::new()), Err(StoreError::Overloaded));
        queue.close();
        assert_eq!(queue.push(3, Vec::new()), Err(StoreError::Unavailable));
        assert_eq!(queue.take().unwrap().0, 1);
        assert!(queue.take().is_none());
    }
}
