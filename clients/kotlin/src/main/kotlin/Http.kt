package freshk

import kotlin.time.Duration

/**
 * What makes the calls. [platformHttp] gives one that needs no library; an app that has an HTTP client hands in its own.
 *
 * Three things are expected of it: it follows no redirect (whoever redirects must not get the token), it repeats no POST by
 * itself (a second SMS would be sent), and it reads the whole body. Where it fails, it throws.
 */
public fun interface Http {
    public suspend fun send(request: HttpRequest): HttpResponse
}

/** A call. After [timeout] nobody waits for it any more. */
public class HttpRequest(
    public val method: String,
    public val url: String,
    public val headers: Map<String, String>,
    public val body: ByteArray?,
    public val timeout: Duration,
)

/** An answer with its whole body. */
public class HttpResponse(
    public val status: Int,
    public val headers: Map<String, List<String>>,
    public val body: ByteArray,
) {
    /** The body as UTF-8. */
    public val text: String get() = body.toString(Charsets.UTF_8)

    /** The first header of this name, in any case. */
    public fun header(name: String): String? =
        headers.entries.firstOrNull { it.key.equals(name, ignoreCase = true) }?.value?.firstOrNull()

    override fun toString(): String = "HttpResponse($status, ${body.size} bytes)"
}

/** [UrlConnectionHttp] on Android, [JdkHttp] elsewhere. */
public fun platformHttp(): Http =
    if (System.getProperty("java.vm.name") == "Dalvik") UrlConnectionHttp() else JdkHttp()
