package freshk

import java.net.URLEncoder
import java.util.UUID
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext

/**
 * FreshK's client: logs a person in with a phone number and a code, keeps the tokens, refreshes them, and calls APIs with
 * them. Make one for the whole app. It decides by the code of an answer, never by a bare status, and asks no clock.
 *
 * Every call throws [FreshKException] alone, and ends in time.
 *
 * @param url the address that ends in `/api/mobile/auth`
 */
public class FreshK(
    url: String,
    storage: Storage,
    private val http: Http = platformHttp(),
    private val options: Options = Options(),
) {
    private val url = url.trimEnd('/')
    private val origin = requireNotNull(originOf(this.url)) { "$url is no address: write https://api.example.com/api/mobile/auth" }
    private val scope = CoroutineScope(SupervisorJob() + options.context)
    private val store = Store(storage, scope, options.timeout)

    /** The session as this client knows it; the storage may know better, where several clients share one. */
    @Volatile private var pair: Pair? = null

    /** Why the server ended the last session, if it did. */
    private var ended: String? = null
    private val flights = Mutex()
    private var flight: Deferred<Flown>? = null

    /** The account of the person who is logged in. */
    public val account: Account = Account(this)

    /** Whether somebody is logged in, as far as this device knows; asks nobody. */
    public suspend fun isLoggedIn(): Boolean = store.change { it.load().pair != null }

    /**
     * Has a code sent. [channel] is `whatsapp` or `voice` for another way while a first code lives.
     *
     * The storage is written first: without it nobody could log in, and the message would be for nothing.
     */
    public suspend fun requestCode(phoneNumber: String, channel: String? = null): CodeSent {
        val kept = keyed()
        val body = Json.write(mapOf("phone_number" to phoneNumber, "channel" to channel))
        return codeSent(post("/production/request/", body, headers(kept.device)))
    }

    /** Has a code sent to the number of the person who is logged in: for [Account.verifyPhone] and [Account.delete]. */
    public suspend fun resendCode(): CodeSent = codeSent(authorized("POST", "/production/resend/"))

    /** Logs in. Where the answer was lost, call it again with the same code within a minute: the same session comes again. */
    public suspend fun verify(phoneNumber: String, code: String): Login {
        val kept = keyed()
        val headers = headers(kept.device) + ("Idempotency-Key" to kept.key!!)
        val named = options.deviceName?.let { headers + ("X-Device-Name" to encode(it)) } ?: headers
        val body = Json.write(mapOf("phone_number" to phoneNumber, "otp" to code))
        val answer = post("/production/verify/", body, named)
        val (login, pair) = read(answer) { members -> login(members)?.let { login -> members.pair()?.let { login to it } } }
        // The code is used up: a screen that closes now must not cost the person another one.
        withContext(NonCancellable) { store.change { keep(it, Kept(pair, device(answer) ?: it.load().device)) } }
        return login
    }

    /**
     * Calls any API with the access token; where that is no longer good, refreshes and repeats the call. Gives whatever
     * answer came, refusals too. A [url] that begins with `/` is one of FreshK's server; a [body] is JSON unless
     * [headers] say otherwise.
     */
    public suspend fun call(
        url: String,
        method: String = "GET",
        body: String? = null,
        headers: Map<String, String> = emptyMap(),
    ): HttpResponse {
        val target = allowed(url)
        var token = pair?.let { Flown(it.access) } ?: renew(null)
        repeat(REPETITIONS) {
            val answer = send(method, target, body, authorization(token.access()) + headers)
            if (token.isNew || !isStale(answer)) return answer
            token = renew(token.access())
        }
        return send(method, target, body, authorization(token.access()) + headers)
    }

    /**
     * An access token for an HTTP client of the app's own. After a 401 give it the one that was [refused], and it is
     * another: by a refresh, which all who ask at once share.
     */
    public suspend fun accessToken(refused: String? = null): String =
        pair?.access?.takeIf { it != refused } ?: renew(refused).access()

    /** Who is logged in, as the server says it. */
    public suspend fun status(): Status = read(authorized("GET", "/production/status/"), ::status)

    /** The devices that are logged in, the newest first. */
    public suspend fun sessions(): List<Session> = read(authorized("GET", "/sessions/"), ::sessions)

    /** Logs another device out. */
    public suspend fun endSession(id: String) {
        read(authorized("DELETE", "/sessions/${encode(id)}/"), ::done)
    }

    /** The device forgets the session in any case; where this throws, the server may not have heard of it. */
    public suspend fun logout() {
        val (refresh, failure) = withContext(NonCancellable) { store.change { forget(it) } }
        if (refresh != null) {
            try {
                read(post("/logout/", Json.write(mapOf("refresh" to refresh))), ::done)
            } catch (refused: Refused) {
                if (!isOver(refused)) throw refused
            }
        }
        if (failure != null) throw failure
    }

    /** Logs all of the person's devices out, this one last; where it throws, nothing is forgotten. */
    public suspend fun logoutAll() {
        read(authorized("POST", "/logout/all/"), ::done)
        forgetSession()
    }

    /** What became of the message of one [requestCode] or [resendCode]. */
    public suspend fun delivery(id: String): Delivery =
        read(send("GET", "$url/production/delivery/${encode(id)}/", null, emptyMap()), ::delivery)

    /** A call to FreshK with the access token, and with the device's own. */
    internal suspend fun authorized(method: String, path: String, body: String? = null): HttpResponse {
        val device = if (method == "POST") store.change { it.load() }.device else null
        return call(url + path, method, body, headers(device))
    }

    internal suspend fun post(path: String, body: String, headers: Map<String, String> = emptyMap(), method: String = "POST"): HttpResponse =
        send(method, url + path, body, headers)

    internal suspend fun forgetSession(keepsDevice: Boolean = true) {
        withContext(NonCancellable) { store.change { forget(it, keepsDevice) } }.failure?.let { throw it }
    }

    /** An access token other than [stale]. All who ask while a refresh is running share it, its failure too. */
    private suspend fun renew(stale: String?): Flown {
        val shared = flights.withLock {
            pair?.takeIf { it.access != stale }?.let { return Flown(it.access) }
            // Runs on where whoever began it is cancelled: others wait for it, and the server has rotated already.
            flight?.takeIf { it.isActive } ?: scope.async { fly(stale) }.also { flight = it }
        }
        val flown = shared.await()
        // One that began without a refusal, at the start, has found what was refused here.
        return if (flown.isFound(stale)) renew(stale) else flown
    }

    private suspend fun fly(stale: String?): Flown = try {
        store.alone { refresh(stale) }
    } catch (failure: FreshKException) {
        Flown(failure = failure)
    }

    private suspend fun refresh(stale: String?): Flown {
        val sent = store.change { change -> current(change, stale) }
        // Stored at the last start, or by another client.
        if (sent.access != stale) return Flown(sent.access)
        val answer = post("/token/refresh/", Json.write(mapOf("refresh" to sent.refresh)))
        return try {
            val next = read(answer) { it.pair() }
            store.change { change ->
                val kept = change.load()
                // Whoever logged in or out meanwhile is not undone.
                if (kept.pair?.refresh != sent.refresh) return@change Flown(current(change, stale).access)
                keep(change, Kept(next, device(answer) ?: kept.device, kept.key))
                Flown(next.access, isNew = true)
            }
        } catch (refused: Refused) {
            if (!isOver(refused)) throw refused
            store.change { change ->
                if (change.load().pair?.refresh != sent.refresh) return@change Flown(current(change, stale).access)
                // Where the storage fails now, the next start finds out again.
                forget(change)
                ended = refused.code
                throw LoggedOut(refused.code)
            }
        }
    }

    /** The pair that is stored. Whose token was refused hears why the session ended, also a moment after the others. */
    private suspend fun current(change: Store.Change, stale: String?): Pair {
        pair = change.load().pair
        return pair ?: throw LoggedOut(ended?.takeIf { stale != null } ?: ErrorCode.NOT_AUTHENTICATED)
    }

    /** Stores a pair before any of it is used. */
    private suspend fun keep(change: Store.Change, kept: Kept) {
        change.save(kept)
        pair = kept.pair
        ended = null
    }

    /** Forgets the session; the device's own token stays unless its account is gone. A storage that fails is not the end: the server can end the session. */
    private suspend fun forget(change: Store.Change, keepsDevice: Boolean = true): Forgotten {
        var refresh = pair?.refresh
        pair = null
        ended = null
        return try {
            val kept = change.load()
            refresh = kept.pair?.refresh
            change.save(Kept(device = kept.device.takeIf { keepsDevice }))
            Forgotten(refresh, null)
        } catch (failure: StorageFailed) {
            Forgotten(refresh, failure)
        }
    }

    /** What is stored, with a key for the next login. */
    private suspend fun keyed(): Kept = store.alone {
        store.change { change ->
            val kept = change.load()
            // Written again even so: a storage that has become full says so before a message is bought.
            val keyed = Kept(kept.pair, kept.device, kept.key ?: UUID.randomUUID().toString())
            change.save(keyed)
            keyed
        }
    }

    private suspend fun send(method: String, url: String, body: String?, headers: Map<String, String>): HttpResponse {
        val type = if (body == null || headers.keys.any { it.equals("Content-Type", ignoreCase = true) }) emptyMap() else JSON
        val request = HttpRequest(method, url, type + headers, body?.toByteArray(), options.timeout)
        val answer = scope.bounded(options.timeout, { NoAnswer(cause = it) }) { http.send(request) }
        return answer ?: throw NoAnswer()
    }

    private fun headers(device: String?): Map<String, String> {
        val language = mapOf("Accept-Language" to options.language)
        return if (device == null) language else language + (DEVICE to device)
    }

    /** The address, if it may have the access token. */
    private fun allowed(url: String): String {
        val target = if (url.startsWith("/")) origin + url else url
        val targeted = originOf(target)
        if (targeted == null || (targeted != origin && targeted !in options.origins)) throw OriginNotAllowed(targeted ?: target)
        return target
    }

    private class Forgotten(val refresh: String?, val failure: StorageFailed?) {
        operator fun component1() = refresh
        operator fun component2() = failure
    }

    /** How a refresh ended, for all who wait for it. A failure is a value, since coroutines copy what they throw. */
    private class Flown(private val access: String? = null, val isNew: Boolean = false, private val failure: FreshKException? = null) {
        fun access(): String = access ?: throw failure!!

        fun isFound(stale: String?): Boolean = stale != null && stale == access && !isNew
    }

    private companion object {
        /** A token of another client's refresh may be old too: then one's own refresh follows. */
        const val REPETITIONS = 2
        const val DEVICE = "X-Device-Token"
        val JSON = mapOf("Content-Type" to "application/json")

        /** Answers to an access token after which a refresh helps; the last one is simplejwt's. */
        val RENEW = setOf(ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_INVALID, "token_not_valid")
        val ENDED = setOf(ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_INVALID, ErrorCode.TOKEN_REUSED)

        fun isStale(answer: HttpResponse) = answer.status == 401 && Members.of(answer)?.text("code") in RENEW

        /** Whether the server ended the session: the answer to a refresh token after which nothing helps. */
        fun isOver(refused: Refused): Boolean =
            if (refused.status == 401) refused.code in ENDED else refused.status == 403 && refused.code == ErrorCode.ACCOUNT_DISABLED

        fun device(answer: HttpResponse): String? = answer.header(DEVICE)?.takeIf(::isToken)

        fun authorization(access: String) = mapOf("Authorization" to "Bearer $access")

        fun encode(text: String): String = URLEncoder.encode(text, "UTF-8").replace("+", "%20")
    }
}

internal fun codeSent(answer: HttpResponse): CodeSent = read(answer) { members ->
    members.seconds("expires_in")?.let { CodeSent(it, members.flag("is_new_user"), answer.header("X-Delivery-Id")) }
}

internal fun done(members: Members): String? = members.text("message")
