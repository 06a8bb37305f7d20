package freshk

import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest.BodyPublishers
import java.net.http.HttpResponse.BodyHandlers
import java.util.concurrent.CompletionException
import kotlin.coroutines.resume
import kotlin.coroutines.resumeWithException
import kotlin.time.toJavaDuration
import kotlinx.coroutines.suspendCancellableCoroutine

@Retention(AnnotationRetention.BINARY)
internal annotation class NotOnAndroid

/** [Http] by the JVM's `java.net.http`, which Android does not have. The [client] must follow no redirect. */
@NotOnAndroid
public class JdkHttp(
    private val client: HttpClient = HttpClient.newBuilder()
        .version(HttpClient.Version.HTTP_1_1)
        .followRedirects(HttpClient.Redirect.NEVER)
        .build(),
) : Http {
    override suspend fun send(request: HttpRequest): HttpResponse {
        val body = request.body?.let(BodyPublishers::ofByteArray) ?: BodyPublishers.noBody()
        val call = java.net.http.HttpRequest.newBuilder(URI(request.url))
            .method(request.method, body)
            .timeout(request.timeout.toJavaDuration())
        for ((name, value) in request.headers) call.header(name, value)
        return suspendCancellableCoroutine { caller ->
            val exchange = client.sendAsync(call.build(), BodyHandlers.ofByteArray())
            caller.invokeOnCancellation { exchange.cancel(true) }
            exchange.whenComplete { answer, failure ->
                if (failure == null) {
                    caller.resume(HttpResponse(answer.statusCode(), answer.headers().map(), answer.body()))
                } else {
                    caller.resumeWithException((failure as? CompletionException)?.cause ?: failure)
                }
            }
        }
    }
}
