package freshk

/**
 * Keeps one string over restarts, where only this app can read it: it holds the tokens.
 *
 * [write] returns once the string would outlive the process, and throws where it cannot be kept: a pair that is not stored
 * is not used. Null removes it. The calls come one after the other, on a thread that may block; one that takes longer than
 * the client's time-out is cancelled and counts as failed.
 */
public interface Storage {
    public suspend fun read(): String?

    public suspend fun write(value: String?)

    /**
     * Returns once no other process refreshes, where several share the storage (a file's lock); closing it lets the next one
     * in. It saves refreshes, and nothing else depends on it.
     */
    public suspend fun lock(): AutoCloseable? = null
}
