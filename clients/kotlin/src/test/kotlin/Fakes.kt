package freshk

import java.io.IOException
import kotlin.coroutines.ContinuationInterceptor
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.test.TestScope

internal const val AUTH = "https://api.test/api/mobile/auth"
internal const val PHONE = "+12025550123"
internal val TIMEOUT = 20.seconds

internal fun answer(status: Int, body: String, vararg headers: kotlin.Pair<String, String>) =
    HttpResponse(status, headers.associate { (name, value) -> name to listOf(value) }, body.toByteArray())

internal fun refusal(status: Int, code: String) = answer(status, """{"error":"A sentence.","code":"$code","request_id":"r1"}""")

internal fun member(request: HttpRequest, name: String): Any? = Json.parse(request.body!!.decodeToString())!![name]

/** What the network does to one call; [serve] lets it arrive at the server. */
internal typealias Act = suspend (request: HttpRequest, serve: suspend () -> HttpResponse) -> HttpResponse

internal val swallowed: Act = { _, serve ->
    serve()
    awaitCancellation()
}
internal val lost: Act = { _, serve ->
    serve()
    throw IOException("connection reset")
}

internal fun given(answer: HttpResponse): Act = { _, _ -> answer }

/** A server of one person: a generation of tokens, which a refresh moves on; the one before is taken too. */
internal class FakeServer : Http {
    val requests = ArrayList<HttpRequest>()
    private val acts = HashMap<String, ArrayDeque<Act>>()
    var generation = 0
        private set
    var device: String? = null

    fun on(path: String, vararg act: Act) {
        acts.getOrPut(path, ::ArrayDeque) += act
    }

    fun to(path: String) = requests.filter { it.url == AUTH + path }

    fun expire() {
        expired = generation
    }

    private var expired = -1

    override suspend fun send(request: HttpRequest): HttpResponse {
        requests += request
        val path = request.url.removePrefix(AUTH)
        val act = acts[path]?.removeFirstOrNull() ?: { _, serve -> serve() }
        return act(request) { serve(path, request) }
    }

    private fun serve(path: String, request: HttpRequest): HttpResponse = when (path) {
        "/production/request/" -> answer(200, """{"message":"sent","is_new_user":true,"expires_in":600}""", "x-delivery-id" to "d1")
        "/production/resend/", "/account/phone/" -> bearer(request) { answer(200, """{"message":"sent","expires_in":600}""") }
        "/production/verify/" -> pair(""","user":$USER,"message":"Authentication successful"""")
        "/production/status/" -> bearer(request) { answer(200, """{"authenticated":true,"user":$USER,"phone_verified":true,"account_active":true}""") }
        "/token/refresh/" -> refresh(member(request, "refresh"))
        else -> bearer(request) { answer(200, """{"message":"done","phone_number":"$PHONE","effective_at":null}""") }
    }

    private fun refresh(token: Any?): HttpResponse {
        if (token == "h.r$generation.s") generation += 1 else if (token != "h.r${generation - 1}.s") return refusal(401, "token_reused")
        return pair("")
    }

    private fun pair(more: String): HttpResponse {
        val body = """{"access":"h.a$generation.s","refresh":"h.r$generation.s"$more}"""
        return device?.let { answer(200, body, "X-DEVICE-TOKEN" to it) } ?: answer(200, body)
    }

    private fun bearer(request: HttpRequest, good: () -> HttpResponse): HttpResponse {
        val isGood = request.headers["Authorization"] == "Bearer h.a$generation.s" && generation > expired
        return if (isGood) good() else refusal(401, "token_expired")
    }

    private companion object {
        const val USER = """{"id":1000000001,"username":"user_12025550123","phone_number":"$PHONE","role":"retailer","phone_verified":true}"""
    }
}

internal class FakeStorage(var value: String? = null) : Storage {
    /** What happens before a write and before a reading. */
    var onWrite: suspend () -> Unit = {}
    var onRead: suspend () -> Unit = {}
    val writes = ArrayList<String?>()

    override suspend fun read(): String? {
        onRead()
        return value
    }

    override suspend fun write(value: String?) {
        onWrite()
        this.value = value
        writes += value
    }

    fun member(name: String): Any? = value?.let(Json::parse)?.get(name)
}

internal fun TestScope.options(name: String? = null) =
    Options(TIMEOUT, setOf("https://shop.test"), name, "en", coroutineContext[ContinuationInterceptor]!!)

internal fun TestScope.client(server: Http, storage: Storage) = FreshK(AUTH, storage, server, options())

/** A storage with the session of the server's generation. */
internal fun loggedIn(generation: Int = 0) = FakeStorage("""{"access":"h.a$generation.s","refresh":"h.r$generation.s"}""")
