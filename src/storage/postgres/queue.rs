//! A queue before several threads: what cannot run beside something that runs waits here, and takes no connection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::storage::{StoreError, StoreResult};
use crate::sync::lock;

/// Tasks that wait for a thread, or for one of their keys.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    room: usize,
}

struct State<T> {
    /// What may run.
    ready: VecDeque<Queued<T>>,
    /// What is behind another in the line of a key, by its number.
    blocked: HashMap<u64, Blocked<T>>,
    /// Per key, who wants it in the order of their coming: the first of a line has the key, or waits for another one.
    lines: HashMap<i64, VecDeque<u64>>,
    next_number: u64,
    running: usize,
    is_open: bool,
}

struct Queued<T> {
    task: T,
    keys: Vec<i64>,
}

struct Blocked<T> {
    queued: Queued<T>,
    /// In how many lines it is not the first.
    behind: usize,
}

/// A task that runs; its keys are free again when this is dropped.
pub(super) struct Running<'q, T> {
    queue: &'q Queue<T>,
    keys: Vec<i64>,
}

impl<T> Queue<T> {
    /// Holds at most `room` tasks.
    pub(super) fn new(room: usize) -> Self {
        let state = State {
            ready: VecDeque::new(),
            blocked: HashMap::new(),
            lines: HashMap::new(),
            next_number: 0,
            running: 0,
            is_open: true,
        };
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
        if state.waiting() >= self.room {
            return Err(StoreError::Overloaded);
        }
        let may_run = state.push(task, keys);
        drop(state);
        if may_run {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// The next task that may run; waits for one. `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<(T, Running<'_, T>)> {
        let mut state = self.state();
        loop {
            if let Some(Queued { task, keys }) = state.ready.pop_front() {
                state.running += 1;
                let is_last = !state.is_open && state.waiting() == 0;
                drop(state);
                if is_last {
                    self.changed.notify_all();
                }
                return Some((task, Running { queue: self, keys }));
            }
            if !state.is_open && state.waiting() == 0 {
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
        state.waiting() + state.running
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        lock(&self.state)
    }
}

impl<T> State<T> {
    fn waiting(&self) -> usize {
        self.ready.len() + self.blocked.len()
    }

    /// Takes a task in; true if it may run at once.
    fn push(&mut self, task: T, mut keys: Vec<i64>) -> bool {
        // One that wanted a key twice would wait for itself.
        keys.sort_unstable();
        keys.dedup();
        let number = self.next_number;
        self.next_number += 1;
        let mut behind = 0;
        for key in &keys {
            let line = self.lines.entry(*key).or_default();
            behind += usize::from(!line.is_empty());
            line.push_back(number);
        }
        let queued = Queued { task, keys };
        if behind == 0 {
            self.ready.push_back(queued);
        } else {
            self.blocked.insert(number, Blocked { queued, behind });
        }
        behind == 0
    }

    /// Frees a key that the first of its line had; true if that lets another one run.
    fn release(&mut self, key: i64) -> bool {
        let Some(line) = self.lines.get_mut(&key) else { return false };
        line.pop_front();
        let Some(next) = line.front().copied() else {
            self.lines.remove(&key);
            return false;
        };
        let Some(blocked) = self.blocked.get_mut(&next) else { return false };
        blocked.behind -= 1;
        if blocked.behind > 0 {
            return false;
        }
        let freed = self.blocked.remove(&next);
        self.ready.extend(freed.map(|blocked| blocked.queued));
        true
    }
}

impl<T> Drop for Running<'_, T> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        let freed = self.keys.iter().filter(|key| state.release(**key)).count();
        state.running -= 1;
        drop(state);
        for _ in 0..freed {
            self.queue.changed.notify_one();
        }
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
    fn one_that_names_a_key_twice_does_not_wait_for_itself() {
        let queue = Queue::new(10);
        queue.push("a", vec![7, 7]).unwrap();
        queue.push("b", vec![7]).unwrap();
        let (first, a) = queue.take().unwrap();
        drop(a);
        assert_eq!((first, queue.take().unwrap().0), ("a", "b"));
        assert_eq!(
            (queue.count(), queue.state().lines.len()),
            (0, 0),
            "nothing is kept of keys that nobody wants"
        );
    }

    #[test]
    fn tasks_that_become_free_and_the_end_are_heard_of_by_threads_that_wait() {
        let (queue, done) = (Queue::new(1000), std::sync::mpsc::channel());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (queue, done) = (&queue, done.0.clone());
                scope.spawn(move || {
                    while let Some((task, running)) = queue.take() {
                        drop(running);
                        done.send(task).unwrap();
                    }
                });
            }
            for task in 0..900 {
                queue.push(task, vec![task % 3, 3 + task % 2]).unwrap();
            }
            queue.close();
        });
        drop(done.0);
        let mut tasks: Vec<i64> = done.1.iter().collect();
        tasks.sort_unstable();
        assert_eq!(tasks, (0..900).collect::<Vec<_>>());
        assert_eq!(queue.count(), 0);
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
