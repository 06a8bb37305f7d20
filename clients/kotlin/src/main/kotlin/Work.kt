package freshk

import kotlin.time.Duration
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.Job
import kotlinx.coroutines.async
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withTimeoutOrNull

/**
 * Runs foreign code (an HTTP client, a storage) that may throw, hang or block: in its own coroutine, so that whoever waits
 * goes on in time. Null where it took longer than [timeout]; it is cancelled then.
 */
internal suspend fun <T : Any> CoroutineScope.bounded(timeout: Duration, failed: (Exception) -> Throwable, act: suspend () -> T): T? {
    val work = async { act() }
    try {
        return withTimeoutOrNull(timeout) { work.await() }
    } catch (failure: Exception) {
        // A time-out of the foreign code looks like a cancellation of the caller, and would end it without a word.
        currentCoroutineContext().ensureActive()
        throw failed(failure)
    } finally {
        work.cancel()
    }
}

/** The storage, one access after the other: one that is late never overwrites what came after it. */
internal class Store(private val storage: Storage, private val scope: CoroutineScope, private val timeout: Duration) {
    private val turn = Mutex()
    private var last: Job? = null

    /** Changes what is stored, with nothing in between; null from [act] leaves it as it is. */
    suspend fun <T> change(act: suspend (Change) -> T): T = turn.withLock { act(Change()) }

    /**
     * Acts while no other client of this storage does, where the storage can tell. Whoever holds its lock may sleep for hours:
     * after a time-out it goes on without, and the server gives both the same pair.
     */
    @OptIn(ExperimentalCoroutinesApi::class)
    suspend fun <T> alone(act: suspend () -> T): T {
        val lock = scope.async { storage.lock() }
        try {
            withTimeoutOrNull(timeout) { lock.join() }
            return act()
        } finally {
            // One that comes late is given back at once. One that cannot be is the storage's trouble, not this call's.
            lock.invokeOnCompletion { failure -> if (failure == null) runCatching { lock.getCompleted()?.close() } }
        }
    }

    inner class Change {
        suspend fun load(): Kept = Kept.read(access { storage.read() })

        suspend fun save(kept: Kept) {
            access { storage.write(kept.write()) }
        }
    }

    private suspend fun <T> access(act: suspend () -> T): T {
        val before = last
        val done = scope.bounded(timeout, ::StorageFailed) {
            last = currentCoroutineContext()[Job]
            before?.join()
            Done(act())
        }
        return (done ?: throw StorageFailed()).value
    }

    private class Done<T>(val value: T)
}
