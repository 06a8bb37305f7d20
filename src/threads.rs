//! Threads for work that waits: for the answer of another program, or for the disk.
//!
//! tokio's pool of them wakes a thread while it holds the lock which that thread takes first, and wakes the one that has rested for the
//! longest. Here whoever brings work holds no lock any more, and wakes the thread that came to rest last: what it needs is still at hand.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock::Stopwatch;
use crate::sync::lock;

/// A thread that has had no work for so long ends.
const REST: Duration = Duration::from_secs(10);

/// Threads that are started as work comes, up to a number. Once this is dropped they end, after what they have been given.
pub(crate) struct Threads {
    shared: Arc<Shared>,
}

/// The work was not done, or not to its end: it panicked, which has logged itself, or there was no thread for it.
#[derive(Debug)]
pub(crate) struct Died;

type Work = Box<dyn FnOnce() + Send>;

struct Shared {
    name: &'static str,
    most: usize,
    rest: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Threads without work, the last to come to rest last.
    resting: Vec<Arc<Seat>>,
    /// Work that no thread has taken yet.
    waiting: VecDeque<Work>,
    /// Threads in all.
    threads: usize,
    is_closed: bool,
}

/// Where a thread rests.
struct Seat {
    thread: Thread,
    word: Mutex<Option<Word>>,
}

/// What a resting thread is told.
enum Word {
    Do(Work),
    End,
}

impl Threads {
    /// At most `most` threads of this name, of which none is started yet.
    pub(crate) fn new(name: &'static str, most: usize) -> Self {
        Self::resting(name, most, REST)
    }

    fn resting(name: &'static str, most: usize, rest: Duration) -> Self {
        Self { shared: Arc::new(Shared { name, most: most.max(1), rest, state: Mutex::default() }) }
    }

    /// Runs `work` on one of the threads, once one is free. It runs also where nobody waits for what it gives.
    ///
    /// # Errors
    /// [`Died`] where it did not run to its end.
    pub(crate) fn run<T, W>(&self, work: W) -> impl Future<Output = Result<T, Died>> + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let (done, given) = oneshot::channel();
        // Nobody may wait for it any more.
        self.shared.give(Box::new(move || drop(done.send(work()))));
        async { given.await.map_err(|_| Died) }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let resting = {
            let mut state = lock(&self.shared.state);
            state.is_closed = true;
            std::mem::take(&mut state.resting)
        };
        for seat in resting {
            seat.tell(Word::End);
        }
    }
}

impl Shared {
    fn give(self: &Arc<Self>, work: Work) {
        let mut state = lock(&self.state);
        if let Some(seat) = state.resting.pop() {
            drop(state);
            return seat.tell(Word::Do(work));
        }
        state.waiting.push_back(work);
        if state.threads == self.most {
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(self);
        let started = thread::Builder::new().name(self.name.to_owned()).spawn(move || shared.serve());
        if let Err(error) = started {
            tracing::error!(%error, threads = self.name, "a thread could not be started");
            let mut state = lock(&self.state);
            state.threads -= 1;
            let lost = if state.threads == 0 { std::mem::take(&mut state.waiting) } else { VecDeque::new() };
            drop(state);
            drop(lost);
        }
    }

    /// What a thread does.
    fn serve(&self) {
        let seat = Arc::new(Seat { thread: thread::current(), word: Mutex::new(None) });
        while let Some(work) = self.next(&seat) {
            // A panic has logged itself, and whoever waits for the work learns of it.
            let done = catch_unwind(AssertUnwindSafe(work));
            // What it carries may panic as well.
            drop(catch_unwind(AssertUnwindSafe(|| drop(done))));
        }
    }

    /// The next piece of work for a thread; waits for one. `None` where the thread is to end.
    fn next(&self, seat: &Arc<Seat>) -> Option<Work> {
        let mut state = lock(&self.state);
        if let Some(work) = state.waiting.pop_front() {
            return Some(work);
        }
        if state.is_closed {
            return None;
        }
        state.resting.push(Arc::clone(seat));
        drop(state);
        let rested = Stopwatch::start();
        loop {
            // The lock is free again before anything waits: whoever tells this thread something takes it.
            let told = lock(&seat.word).take();
            match told {
                Some(Word::Do(work)) => return Some(work),
                Some(Word::End) => return None,
                None => {}
            }
            match self.rest.checked_sub(rested.elapsed()) {
                Some(left) => thread::park_timeout(left),
                None if self.gives_up(seat) => return None,
                // Somebody has just chosen this thread, and is about to tell it.
                None => thread::park(),
            }
        }
    }

    /// Ends a thread that has rested, unless it has been chosen.
    fn gives_up(&self, seat: &Arc<Seat>) -> bool {
        let mut state = lock(&self.state);
        let Some(place) = state.resting.iter().position(|other| Arc::ptr_eq(other, seat)) else {
            return false;
        };
        state.resting.remove(place);
        state.threads -= 1;
        true
    }
}

impl Seat {
    fn tell(&self, word: Word) {
        *lock(&self.word) = Some(word);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::ThreadId;

    use futures_util::FutureExt as _;

    use super::*;

    /// Until so many threads rest.
    fn until_resting(threads: &Threads, count: usize) {
        while lock(&threads.shared.state).resting.len() != count {
            thread::yield_now();
        }
    }

    /// As long as no test lasts.
    const FOR_EVER: Duration = Duration::from_hours(1);

    /// Until all threads have ended.
    fn until_ended(shared: &Arc<Shared>) {
        while Arc::strong_count(shared) > 1 {
            thread::yield_now();
        }
    }

    async fn thread_of(threads: &Threads) -> ThreadId {
        threads.run(|| thread::current().id()).await.unwrap()
    }

    #[tokio::test]
    async fn what_work_gives_comes_back_and_a_panic_takes_no_thread_along() {
        let threads = Threads::new("test", 1);
        let first = thread_of(&threads).await;
        assert_ne!(first, thread::current().id());
        assert!(threads.run(|| panic!("as a test of panics")).await.is_err());
        assert_eq!(thread_of(&threads).await, first);
        assert_eq!(lock(&threads.shared.state).threads, 1);
    }

    #[tokio::test]
    async fn the_thread_that_came_to_rest_last_works_next() {
        let threads = Threads::new("test", 2);
        let (one, two) = (mpsc::channel::<()>(), mpsc::channel::<()>());
        let first = threads.run(move || one.1.recv().is_err().then(|| thread::current().id()));
        let second = threads.run(move || two.1.recv().is_err().then(|| thread::current().id()));
        drop(two.0);
        let second = second.await.unwrap();
        until_resting(&threads, 1);
        drop(one.0);
        let first = first.await.unwrap();
        until_resting(&threads, 2);
        assert_ne!(first, second);
        for _ in 0..3 {
            assert_eq!(Some(thread_of(&threads).await), first);
            until_resting(&threads, 2);
        }
    }

    #[tokio::test]
    async fn work_beyond_the_threads_waits_for_one_and_keeps_its_turn() {
        let threads = Threads::new("test", 2);
        let (order, done) = mpsc::channel();
        let holds: Vec<_> = (0..2).map(|_| mpsc::channel::<()>()).collect();
        let (mut works, mut releases) = (Vec::new(), Vec::new());
        for (release, hold) in holds {
            releases.push(release);
            works.push(threads.run(move || assert!(hold.recv().is_err())).boxed());
        }
        for number in 0..5 {
            let order = order.clone();
            works.push(threads.run(move || order.send(number).unwrap()).boxed());
        }
        // Both threads have their work.
        while lock(&threads.shared.state).waiting.len() > 5 {
            thread::yield_now();
        }
        assert_eq!(lock(&threads.shared.state).threads, 2);
        releases.pop();
        let third: Vec<i32> = (0..5).map(|_| done.recv().unwrap()).collect();
        assert_eq!(third, [0, 1, 2, 3, 4]);
        drop(releases);
        for work in works {
            work.await.unwrap();
        }
    }

    #[tokio::test]
    async fn threads_end_with_their_owner_after_what_they_were_given() {
        let threads = Threads::resting("test", 1, FOR_EVER);
        let (release, hold) = mpsc::channel::<()>();
        let first = threads.run(move || assert!(hold.recv().is_err()));
        let waiting = threads.run(|| "done");
        let shared = Arc::clone(&threads.shared);
        drop(threads);
        drop(release);
        first.await.unwrap();
        assert_eq!(waiting.await.unwrap(), "done");
        until_ended(&shared);

        let threads = Threads::resting("test", 1, FOR_EVER);
        thread_of(&threads).await;
        until_resting(&threads, 1);
        let shared = Arc::clone(&threads.shared);
        drop(threads);
        until_ended(&shared);
    }

    #[tokio::test]
    async fn a_thread_that_has_rested_for_long_ends_and_another_one_does_what_comes_later() {
        let threads = Threads::resting("test", 1, Duration::ZERO);
        for _ in 0..10_000 {
            thread_of(&threads).await;
        }
        until_resting(&threads, 0);
        while lock(&threads.shared.state).threads > 0 {
            thread::yield_now();
        }
        thread_of(&threads).await;
    }

    #[test]
    fn a_thread_gives_up_its_own_seat_and_only_while_nobody_has_chosen_it() {
        let seat = || Arc::new(Seat { thread: thread::current(), word: Mutex::new(None) });
        let (threads, one, two) = (Threads::new("test", 2), seat(), seat());
        {
            let mut state = lock(&threads.shared.state);
            state.threads = 2;
            state.resting = vec![Arc::clone(&one), Arc::clone(&two)];
        }
        let left = || {
            let state = lock(&threads.shared.state);
            (state.threads, state.resting.iter().map(Arc::as_ptr).collect::<Vec<_>>())
        };
        assert!(threads.shared.gives_up(&two));
        assert_eq!(left(), (1, vec![Arc::as_ptr(&one)]));
        assert!(!threads.shared.gives_up(&two));
        assert_eq!(left(), (1, vec![Arc::as_ptr(&one)]));
    }

    #[tokio::test]
    async fn a_thread_that_is_chosen_as_its_rest_ends_does_what_it_is_told() {
        let threads = Threads::resting("test", 1, Duration::ZERO);
        for round in 0..500 {
            let before = threads.run(|| ());
            // Looked for at once: the thread rests for a moment alone.
            let seat = loop {
                let mut state = lock(&threads.shared.state);
                match state.resting.pop() {
                    Some(seat) => break Some(seat),
                    None if state.threads == 0 => break None,
                    None => drop(state),
                }
            };
            let Some(seat) = seat else { continue };
            for _ in 0..round {
                thread::yield_now();
            }
            let (told, heard) = oneshot::channel();
            seat.tell(Word::Do(Box::new(move || told.send(round).unwrap())));
            assert_eq!(heard.await.unwrap(), round);
            before.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_thread_survives_what_a_panic_leaves_and_a_word_that_was_not_meant_for_its_rest() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("as a test of panics");
            }
        }
        let threads = Threads::resting("test", 1, FOR_EVER);
        let first = thread_of(&threads).await;
        assert!(threads.run(|| std::panic::panic_any(Bomb)).await.is_err());
        threads.run(|| thread::current().unpark()).await.unwrap();
        until_resting(&threads, 1);
        assert_eq!(thread_of(&threads).await, first);
    }

    #[tokio::test]
    async fn no_work_is_lost_however_many_bring_it() {
        for rest in [Duration::ZERO, REST] {
            let threads = Threads::resting("test", 3, rest);
            let works = thread::scope(|scope| {
                let givers: Vec<_> = (0..4)
                    .map(|giver| {
                        let threads = &threads;
                        scope.spawn(move || {
                            (0..500).map(|n| threads.run(move || 500 * giver + n)).collect::<Vec<_>>()
                        })
                    })
                    .collect();
                givers.into_iter().flat_map(|giver| giver.join().unwrap()).collect::<Vec<_>>()
            });
            for (expected, work) in works.into_iter().enumerate() {
                assert_eq!(work.await.unwrap(), expected);
            }
        }
    }
}
