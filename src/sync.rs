//! Locks, and what is replaced under them. Locks that a panic does not take away from everybody else: what they guard is whole after each single change, so that the one who
//! comes after one that panicked goes on with what is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks, also after a panic.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading, also after a panic.
pub(crate) fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing, also after a panic.
pub(crate) fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// A value that is replaced as a whole while others use it; each of them goes on with the one that it has taken.
pub(crate) struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    /// The first value.
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value now.
    pub(crate) fn get(&self) -> Arc<T> {
        read(&self.0).clone()
    }

    /// Replaces it.
    pub(crate) fn set(&self, value: T) {
        *write(&self.0) = Arc::new(value);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn what_a_panic_held_is_there_for_the_next() {
        let (mutex, shared) = (Mutex::new(1), RwLock::new(1));
        let died = catch_unwind(AssertUnwindSafe(|| {
            let _both = (lock(&mutex), write(&shared));
            panic!("as a test of panics");
        }));
        assert!(died.is_err() && mutex.is_poisoned() && shared.is_poisoned());
        *lock(&mutex) += 1;
        *write(&shared) += 1;
        assert_eq!((*lock(&mutex), *read(&shared)), (2, 2));
    }
}
