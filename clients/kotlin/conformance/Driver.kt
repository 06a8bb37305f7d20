// The kit's driver for ../../conformance, which says what each line means. Argument: `jdk` or `android`, the HTTP client.
package freshk.conformance

import com.squareup.okhttp.OkHttpClient
import com.squareup.okhttp.OkUrlFactory
import freshk.CodeSent
import freshk.FreshK
import freshk.FreshKException
import freshk.Http
import freshk.JdkHttp
import freshk.Json
import freshk.LoggedOut
import freshk.Options
import freshk.Refused
import freshk.Storage
import freshk.UrlConnectionHttp
import java.io.IOException
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.atomic.AtomicLong
import kotlin.system.exitProcess
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex

private typealias Line = Map<String, Any?>

private val clients = ConcurrentHashMap<String, FreshK>()
private val waiting = ConcurrentHashMap<Long, CompletableDeferred<Line>>()
private val locks = ConcurrentHashMap<String, Mutex>()
private val calls = AtomicLong()

private fun Line.text(name: String): String = getValue(name) as String

private fun quote(text: String?): String = Json.write(mapOf("" to text)).removeSurrounding("{\"\":", "}").ifEmpty { "null" }

private fun sent(code: CodeSent): String = Json.write(mapOf("delivery" to code.deliveryId))

/** A member with the comma before it, or nothing. */
private fun wait(duration: Duration?): String = duration?.let { ""","retryAfter":${it.inWholeSeconds}""" }.orEmpty()

private fun say(line: String) = synchronized(calls) { println(line) }

/** The harness's storage. */
private class Remote(private val name: String, private val shared: Boolean) : Storage {
    override suspend fun read(): String? = ask("\"get\":true")

    override suspend fun write(value: String?) {
        ask("\"set\":" + if (value == null) "null" else quote(value))
    }

    override suspend fun lock(): AutoCloseable? {
        if (!shared) return null
        val mutex = locks.computeIfAbsent(name) { Mutex() }
        mutex.lock()
        return AutoCloseable { mutex.unlock() }
    }

    private suspend fun ask(act: String): String? {
        val call = calls.incrementAndGet()
        val reply = CompletableDeferred<Line>()
        waiting[call] = reply
        say("""{"storage":${quote(name)},"call":$call,$act}""")
        val answer = reply.await()
        answer["failed"]?.let { throw IOException(it as String) }
        return answer["value"] as String?
    }
}

private fun open(line: Line, http: Http) {
    val origins = (line["origins"] as List<*>).mapTo(HashSet()) { it as String }
    val options = Options(timeout = (line["timeout"] as Long).milliseconds, origins = origins)
    val storage = Remote(line.text("storage"), line["locks"] as Boolean)
    clients[line.text("client")] = FreshK(line.text("url"), storage, http, options)
}

/** Does what a line says and gives its result. */
private suspend fun act(line: Line): String {
    val client = clients.getValue(line.text("client"))
    when (val act = line.text("do")) {
        "requestCode" -> return sent(client.requestCode(line.text("phone"), line["channel"] as String?))
        "resendCode" -> return sent(client.resendCode())
        "delivery" -> {
            val delivery = client.delivery(line.text("delivery"))
            return """{"state":${quote(delivery.state)}${wait(delivery.retryAfter)}}"""
        }
        "verify" -> return """{"restored":${client.verify(line.text("phone"), line.text("code")).restored}}"""
        "status" -> client.status()
        "endSession" -> client.endSession(line.text("session"))
        "logout" -> client.logout()
        "logoutAll" -> client.logoutAll()
        "changePhone" -> client.account.changePhone(line.text("phone"))
        "verifyPhone" -> {
            val change = client.account.verifyPhone(line.text("phone"), line.text("code"), line["current"] as String?)
            return """{"waits":${change.effectiveAt != null}}"""
        }
        "keepPhone" -> client.account.keepPhone()
        "cancelPhoneChange" -> client.account.cancelPhoneChange(line.text("phone"), line.text("code"))
        "delete" -> return """{"waits":${client.account.delete(line.text("code")) != null}}"""
        "export" -> return """{"document":${quote(client.account.export())}}"""
        "isLoggedIn" -> return """{"loggedIn":${client.isLoggedIn()}}"""
        "sessions" -> return client.sessions().joinToString(",", """{"sessions":[""", "]}") { quote(it.id) }
        "fetch" -> {
            val answer = client.call(line.text("url"), line["method"] as String? ?: "GET", line["body"] as String?)
            return """{"status":${answer.status},"body":${quote(answer.text)}}"""
        }
        else -> error("no act $act")
    }
    return "{}"
}

private suspend fun obey(line: Line, http: Http): String = try {
    if (line["do"] == "open") open(line, http)
    """"result":${if (line["do"] == "open") "{}" else act(line)}"""
} catch (failure: FreshKException) {
    val delivery = (failure as? Refused)?.deliveryId?.let { ""","delivery":${quote(it)}""" }.orEmpty()
    """"error":{"code":${quote(failure.code)},"loggedOut":${failure is LoggedOut}${wait(failure.retryAfter)}$delivery}"""
} catch (bug: Exception) {
    """"error":{"code":"bug","message":${quote(bug.stackTraceToString())}}"""
}

fun main(arguments: Array<String>) {
    val http = when (val name = arguments.single()) {
        "jdk" -> JdkHttp()
        "android" -> UrlConnectionHttp(OkUrlFactory(OkHttpClient())::open)
        else -> error("no HTTP client $name")
    }
    val scope = CoroutineScope(Dispatchers.Default)
    // The main thread alone waits for the harness.
    for (text in generateSequence(::readLine)) {
        val line = Json.parse(text) ?: error("no line: $text")
        val call = line["call"] as Long?
        if (call == null) scope.launch { say("""{"id":${line["id"]},${obey(line, http)}}""") } else waiting.remove(call)?.complete(line)
    }
    // Ended with its input, whatever still waits.
    exitProcess(0)
}
