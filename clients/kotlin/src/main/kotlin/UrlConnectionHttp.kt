package freshk

import java.io.InputStream
import java.net.HttpURLConnection
import java.net.URL
import kotlin.coroutines.resume
import kotlin.coroutines.resumeWithException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.launch
import kotlinx.coroutines.suspendCancellableCoroutine

/**
 * [Http] by Android's `HttpURLConnection`. [open] may come from elsewhere: a bound network, or Cronet.
 *
 * Not for the JVM: there a call with a body that is answered 401 fails, and the kit does not learn why.
 */
public class UrlConnectionHttp(
    private val open: (URL) -> HttpURLConnection = { it.openConnection() as HttpURLConnection },
) : Http {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.IO)

    override suspend fun send(request: HttpRequest): HttpResponse {
        val connection = open(URL(request.url))
        return suspendCancellableCoroutine { caller ->
            // Ending a connection writes to it, which Android forbids to the main thread.
            caller.invokeOnCancellation { scope.launch { connection.disconnect() } }
            scope.launch {
                try {
                    caller.resume(exchange(connection, request))
                } catch (failure: Throwable) {
                    connection.disconnect()
                    caller.resumeWithException(failure)
                }
            }
        }
    }

    private fun exchange(connection: HttpURLConnection, request: HttpRequest): HttpResponse {
        val timeout = request.timeout.inWholeMilliseconds.coerceIn(1, Int.MAX_VALUE.toLong()).toInt()
        connection.connectTimeout = timeout
        connection.readTimeout = timeout
        connection.instanceFollowRedirects = false
        connection.useCaches = false
        connection.requestMethod = request.method
        for ((name, value) in request.headers) connection.setRequestProperty(name, value)
        if (request.method != "GET" && request.method != "HEAD") {
            // What is streamed, if only an empty body, is never sent twice: else the connection repeats a POST by itself.
            val body = request.body ?: ByteArray(0)
            connection.doOutput = true
            connection.setFixedLengthStreamingMode(body.size)
            connection.outputStream.use { it.write(body) }
        }
        val status = connection.responseCode
        val stream: InputStream? = if (status < HttpURLConnection.HTTP_BAD_REQUEST) connection.inputStream else connection.errorStream
        val body = stream?.use { it.readBytes() } ?: ByteArray(0)
        // The status line is among the headers, without a name.
        val headers = connection.headerFields.filterKeys { name: String? -> name != null }
        return HttpResponse(status, headers, body)
    }
}
