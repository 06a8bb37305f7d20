// Runs the document's Kotlin through the scenarios. Arguments: SCENARIOS FAKE AUTH CONSOLE
// FAKE is the address of fake.mjs; AUTH and CONSOLE are a real debug server's and its output.
import java.io.File
import java.net.URI
import java.net.http.HttpClient as Plain
import java.net.http.HttpRequest
import java.net.http.HttpResponse.BodyHandlers
import java.util.UUID
import kotlin.system.exitProcess
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.put

private val TIMEOUT = 3.seconds
private val PATIENCE = 10.seconds
private const val PHONE = "+12025550172"
private val plain = Plain.newHttpClient()

private fun http(url: String, method: String = "GET"): String {
    val request = HttpRequest.newBuilder(URI(url)).method(method, HttpRequest.BodyPublishers.noBody()).build()
    return plain.send(request, BodyHandlers.ofString()).body()
}

private fun log(base: String): List<String> = Json.parseToJsonElement(http("$base/log")).jsonArray.map { it.jsonPrimitive.content }

private fun same(actual: Any?, expected: Any?, what: String) {
    if (actual != expected) throw AssertionError("$what: $actual, expected $expected")
}

private class MemoryStore(var token: String?, val onWrite: suspend () -> Unit = {}) : TokenStore {
    var writes = 0

    override suspend fun read() = token

    override suspend fun write(token: String?) {
        onWrite()
        this.token = token
        writes += 1
    }
}

/** How an act ended, as a word. */
private suspend fun outcome(act: suspend () -> Answer?): String = withTimeoutOrNull(PATIENCE) {
    try {
        act()?.status?.toString() ?: "done"
    } catch (error: LoggedOut) {
        "logged_out:${error.code}"
    } catch (error: TryAgain) {
        error.afterSeconds?.let { "try_again:$it" } ?: "try_again"
    } catch (error: IllegalStateException) {
        "error"
    }
} ?: "hangs"

private fun answer(access: String, refresh: String): Answer =
    Answer(200, io.ktor.http.Headers.Empty, buildJsonObject { put("access", access); put("refresh", refresh) })

private suspend fun run(base: String, scenario: JsonObject) {
    http("$base/begin", "POST")
    fun text(name: String) = scenario[name]?.jsonPrimitive?.contentOrNull
    var failing = false
    var quiet = true
    val store = MemoryStore(if (text("start") == "empty") null else "h.refresh0.s") {
        if (failing) {
            failing = false
            error("the device is full")
        }
        if (!quiet) http("$base/stored", "POST")
    }
    val session = Session(base, store, TIMEOUT)
    if (text("start") == null) session.logIn(answer("h.access0.s", "h.refresh0.s"))
    quiet = false
    failing = text("store") == "fails once"

    val acts = mapOf<String, suspend () -> Answer?>(
        "call" to { session.call("$base/api") },
        "log out" to { session.logOut(); null },
        "log in with nothing" to { session.logIn(Answer(200, io.ktor.http.Headers.Empty, buildJsonObject {})); null },
        "log in meanwhile" to {
            coroutineScope {
                val call = async { session.call("$base/api") }
                while ("refresh:0" !in log(base)) delay(10)
                session.logIn(answer("o.access0.s", "o.refresh0.s"))
                call.await()
            }
        },
    )
    for (step in scenario.getValue("steps").jsonArray.map { it.jsonObject }) {
        val times = step["times"]?.jsonPrimitive?.int ?: 1
        val act = step.getValue("do").jsonPrimitive.content
        val words = coroutineScope { List(times) { async { outcome(acts.getValue(act)) } }.awaitAll() }
        same(words, List(times) { step.getValue("expect").jsonPrimitive.content }, act)
    }
    val log = log(base)
    scenario["stored"]?.let { same(store.token, if (it is JsonNull) null else it.jsonPrimitive.content, "what is stored") }
    scenario["log"]?.let { same(log, it.jsonArray.map { line -> line.jsonPrimitive.content }, "what the server saw") }
    scenario["refreshes"]?.let { same(log.count { line -> line.startsWith("refresh") }, it.jsonPrimitive.int, "refreshes") }
    same("stranger" in log, false, "a stranger saw the token")
}

/** A whole life against the real server, whose access tokens live five seconds. */
private suspend fun real(auth: String, console: File) {
    val store = MemoryStore(null)
    val session = Session(auth, store, PATIENCE)
    same(session.post("/production/request/", buildJsonObject { put("phone_number", PHONE) }).status, 200, "request/")
    val code = Regex("SMS to \\$PHONE .*\\n.*?(\\d{6})").findAll(console.readText()).last().groupValues[1]
    same(verify(session, PHONE, code, UUID.randomUUID().toString()).status, 200, "verify/")
    val status: suspend () -> Answer? = { session.call("$auth/production/status/") }
    same(outcome(status), "200", "status/")
    delay(6.5.seconds)
    same(coroutineScope { List(50) { async { outcome(status) } }.awaitAll() }, List(50) { "200" }, "fifty at once")
    same(store.writes, 2, "writes: one login, one refresh")
    val restarted = Session(auth, store, PATIENCE)
    same(outcome { restarted.call("$auth/production/status/") }, "200", "after a restart")
    same(store.writes, 3, "writes")
    same(restarted.call("$auth/logout/all/", io.ktor.http.HttpMethod.Post).status, 200, "logout/all/")
    same(outcome { restarted.call("$auth/production/status/") }, "logged_out:token_invalid", "after logout/all/")
}

fun main(arguments: Array<String>) {
    val (file, fake) = arguments
    val chosen = Json.parseToJsonElement(File(file).readText()).jsonArray.mapIndexed { number, scenario ->
        val name = scenario.jsonObject.getValue("name").jsonPrimitive.content
        val act: suspend () -> Unit = { run("$fake/$number", scenario.jsonObject) }
        name to act
    }.toMutableList()
    if (arguments.size == 4) chosen += "a real server, from the login to the end" to { real(arguments[2], File(arguments[3])) }
    var failed = 0
    for ((name, act) in chosen) {
        try {
            runBlocking { act() }
            println("ok    $name")
        } catch (error: Throwable) {
            failed += 1
            println("FAIL  $name\n      $error")
        }
    }
    println("${chosen.size - failed} passed, $failed failed")
    exitProcess(if (failed == 0) 0 else 1)
}
