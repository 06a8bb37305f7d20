package freshk

import com.squareup.okhttp.OkHttpClient
import com.squareup.okhttp.OkUrlFactory
import java.io.IOException
import java.net.InetAddress
import java.net.ServerSocket
import java.net.Socket
import java.util.concurrent.CopyOnWriteArrayList
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.params.ParameterizedTest
import org.junit.jupiter.params.provider.MethodSource

/** Both HTTP clients against a socket that is no server of anybody's. */
class HttpTest {
    /** What arrived: head and body of each call. */
    private val heads = CopyOnWriteArrayList<String>()
    private val bodies = CopyOnWriteArrayList<String>()
    private val listener = ServerSocket(0, 50, InetAddress.getLoopbackAddress())
    private val url = "http://127.0.0.1:${listener.localPort}"

    @AfterEach
    fun end() = listener.close()

    /** Each call gets what [answer] writes, and the end of the connection. */
    private fun serve(answer: (Socket) -> Unit) {
        thread(isDaemon = true) {
            while (!listener.isClosed) {
                val socket = try {
                    listener.accept()
                } catch (_: IOException) {
                    break
                }
                thread(isDaemon = true) {
                    socket.use {
                        read(it)
                        answer(it)
                    }
                }
            }
        }
    }

    private fun read(socket: Socket) {
        val stream = socket.getInputStream()
        val head = StringBuilder()
        while (!head.endsWith("\r\n\r\n")) head.append(stream.read().also { check(it >= 0) }.toChar())
        val length = Regex("(?i)content-length: *([0-9]+)").find(head)?.groupValues?.get(1)?.toInt() ?: 0
        val body = ByteArray(length) { stream.read().toByte() }
        heads += head.toString()
        bodies += body.decodeToString()
    }

    /** An answer, after which the connection ends unless it is [kept]. */
    private fun text(text: String, kept: Boolean = false): (Socket) -> Unit = {
        val (head, body) = text.split("\r\n\r\n", limit = 2)
        val end = if (kept) "" else "\r\nConnection: close"
        it.getOutputStream().write("$head$end\r\n\r\n$body".toByteArray())
    }

    private fun request(method: String = "POST", body: String? = "{}") =
        HttpRequest(method, "$url/x/?y=1", mapOf("X-One" to "1", "Content-Type" to "application/json"), body?.toByteArray(), 1.minutes)

    @ParameterizedTest
    @MethodSource("clients")
    fun `method, path, headers and body arrive, and so does the answer`(http: Http) = runBlocking {
        serve(text("HTTP/1.1 200 OK\r\nX-Two: a\r\nx-two: b\r\nContent-Length: 3\r\n\r\n\u20ac"))
        for ((method, body) in listOf("GET" to null, "POST" to "{\"é\":1}", "DELETE" to null, "DELETE" to "{}", "PUT" to "{}", "POST" to "")) {
            val answer = http.send(request(method, body))
            assertEquals("200 € a", "${answer.status} ${answer.text} ${answer.header("X-TWO")}")
            assertNull(answer.header("X-Three"))
            assertEquals("$method /x/?y=1 HTTP/1.1", heads.last().lines().first())
            assertTrue("(?i)\r\nx-one: 1\r\n".toRegex() in heads.last())
            assertEquals(body.orEmpty(), bodies.last())
        }
    }

    @ParameterizedTest
    @MethodSource("clients")
    fun `a 401 is read like any other answer, after a POST too`(http: Http) = runBlocking {
        serve(text("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error=\"invalid_token\"\r\nContent-Length: 2\r\n\r\n{}"))
        for (call in listOf(request(), request("GET", null), request("DELETE", null))) {
            val answer = http.send(call)
            assertEquals("401 {}", "${answer.status} ${answer.text}")
        }
    }

    @ParameterizedTest
    @MethodSource("clients")
    fun `an answer without a body is an answer`(http: Http) = runBlocking {
        val answers = ArrayDeque(listOf("204 No Content\r\n", "404 Not Found\r\nContent-Length: 0\r\n", "503 Busy\r\nContent-Length: 0\r\n"))
        serve { text("HTTP/1.1 ${answers.removeFirst()}\r\n")(it) }
        assertEquals(listOf("204 ", "404 ", "503 "), List(3) { http.send(request()).let { answer -> "${answer.status} ${answer.text}" } })
    }

    @ParameterizedTest
    @MethodSource("clients")
    fun `a redirect is given to the caller and not followed`(http: Http) = runBlocking {
        serve(text("HTTP/1.1 307 Moved\r\nLocation: $url/portal\r\nContent-Length: 0\r\n\r\n"))
        assertEquals(listOf(307, 307), listOf(http.send(request()).status, http.send(request("GET", null)).status))
        assertEquals(2, heads.size)
    }

    @ParameterizedTest
    @MethodSource("clients")
    fun `a call that changes something and whose answer is lost is made once`(http: Http) = runBlocking {
        serve { }
        val calls = listOf(request(), request(body = null), request("DELETE", null), request("PUT"))
        for (call in calls) assertFailsWith<IOException> { http.send(call) }
        assertEquals(calls.size, heads.size)
    }

    @ParameterizedTest
    @MethodSource("clients")
    fun `so is one on a connection that was good until now`(http: Http) = runBlocking {
        serve { socket ->
            text("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", kept = true)(socket)
            read(socket) // the second call arrives, and nothing answers it
        }
        for (body in listOf("{}", null)) {
            http.send(request(body = body))
            assertFailsWith<IOException> { http.send(request(body = body)) }
        }
        assertEquals(4, heads.size)
    }

    @ParameterizedTest
    @MethodSource("clients")
    fun `half an answer is a failure`(http: Http) {
        serve(text("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"access\":"))
        runBlocking { assertFailsWith<IOException> { http.send(request()) } }
    }

    @ParameterizedTest
    @MethodSource("clients")
    fun `nobody there is a failure`(http: Http) {
        listener.close()
        runBlocking { assertFailsWith<IOException> { http.send(request()) } }
    }

    @ParameterizedTest
    @MethodSource("clients")
    fun `a caller who is cancelled goes on at once, and the connection ends`(http: Http) = runBlocking {
        val (arrived, ended) = CompletableDeferred<Unit>() to CompletableDeferred<Unit>()
        serve { socket ->
            text("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{")(socket)
            arrived.complete(Unit)
            try {
                socket.getInputStream().read()
            } finally {
                ended.complete(Unit)
            }
        }
        val call = launch(Dispatchers.Default) { http.send(request()) }
        withTimeout(1.minutes) {
            arrived.await()
            call.cancelAndJoin()
            ended.await()
        }
    }

    companion object {
        /** The second one is what Android has: the JVM's own `HttpURLConnection` fails at a 401. */
        @JvmStatic
        fun clients(): List<Http> = listOf(JdkHttp(), UrlConnectionHttp(OkUrlFactory(OkHttpClient())::open))
    }
}
