package freshk

import java.io.IOException
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.test.currentTime
import kotlinx.coroutines.test.runCurrent
import kotlinx.coroutines.test.runTest
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout

class RefreshTest {
    private val server = FakeServer()

    @Test
    fun `fifty refused calls share one refresh`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        server.expire()
        server.on("/token/refresh/", { _, serve -> delay(1.seconds); serve() })
        List(50) { async { client.status() } }.awaitAll()
        assertEquals(1, server.to("/token/refresh/").size)
        assertEquals(100, server.to("/production/status/").size)
        assertEquals("h.r1.s", storage.member("refresh"))
    }

    @Test
    fun `a refresh that is swallowed ends for all who wait with one time-out, and the next try is logged in`() = runTest {
        val client = client(server, loggedIn())
        server.expire()
        server.on("/token/refresh/", swallowed)
        val failures = List(50) { async { assertFailsWith<NoAnswer> { client.status() } } }.awaitAll()
        assertEquals(50, failures.size)
        assertEquals(TIMEOUT.inWholeMilliseconds, currentTime)
        client.status()
        assertEquals(2, server.to("/token/refresh/").size)
    }

    @Test
    fun `a thousand lost answers log nobody out`() = runTest {
        val client = client(server, loggedIn())
        repeat(1000) {
            server.expire()
            server.on("/token/refresh/", lost)
            assertFailsWith<NoAnswer> { client.status() }
            client.status()
        }
    }

    @Test
    fun `whoever began the refresh may leave, and the others get its token`() = runTest {
        val client = client(server, loggedIn())
        server.expire()
        server.on("/token/refresh/", { _, serve -> delay(1.seconds); serve() })
        val first = launch { client.status() }
        runCurrent()
        val second = async { client.status() }
        runCurrent()
        first.cancel()
        second.await()
        assertEquals(1, server.to("/token/refresh/").size)
    }

    @Test
    fun `a pair is stored before it is used, and not used where it cannot be`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        server.expire()
        storage.onWrite = { throw IOException("the disk is full") }
        assertFailsWith<StorageFailed> { client.status() }
        assertFalse(server.requests.any { it.headers["Authorization"] == "Bearer h.a1.s" })
        storage.onWrite = { assertFalse(server.requests.any { it.headers["Authorization"] == "Bearer h.a1.s" }) }
        client.status()
        assertEquals("h.r1.s", storage.member("refresh"))
    }

    @Test
    fun `a storage that hangs is not waited for for ever, and logs nobody out`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        server.expire()
        storage.onRead = { awaitCancellation() }
        assertFailsWith<StorageFailed> { client.status() }
        assertEquals(TIMEOUT.inWholeMilliseconds, currentTime)
        storage.onRead = { throw CancellationException("a bug of the storage's") }
        assertFailsWith<StorageFailed> { client.status() }
        storage.onRead = {}
        client.status()
    }

    @Test
    fun `a time-out of the HTTP client is not taken for the end of the caller`() = runTest {
        val client = client(server, loggedIn())
        server.on("/production/status/", { _, _ -> withTimeout(1.seconds) { awaitCancellation() } })
        assertFailsWith<NoAnswer> { client.status() }
        server.expire()
        server.on("/token/refresh/", { _, _ -> withTimeout(1.seconds) { awaitCancellation() } })
        assertFailsWith<NoAnswer> { client.status() }
        server.on("/token/refresh/", { _, _ -> throw CancellationException("closed") })
        assertFailsWith<NoAnswer> { client.status() }
        client.status()
    }

    @Test
    fun `a caller who is cancelled is cancelled, and no failure is made of it`() = runTest {
        val client = client(server, loggedIn())
        server.on("/production/status/", swallowed)
        var seen: Throwable? = null
        val call = launch {
            try {
                client.status()
            } catch (failure: Throwable) {
                seen = failure
                throw failure
            }
        }
        runCurrent()
        call.cancel()
        runCurrent()
        assertTrue(seen is CancellationException, "$seen")
    }

    @Test
    fun `what is not a pair is not stored and logs nobody out`() = runTest {
        val bodies = listOf(
            "", "{}", "null", "[]", "\"x\"", "<html>Welcome</html>", """{"access":"h.a1.s","refresh":null}""", """{"access":"h.a1.s"}""",
            """{"access":"h.a1.s","refresh":"h.r1"}""", """{"access":"h.a1.s","refresh":"h.r1.s\n"}""", """{"access":{},"refresh":[]}""",
            """{"access":"h.a1.s","refresh":"h.r1.s"""", """{"access":"h.a1.s","refresh":"h.r1.s"} x""",
            """{"access":"stranger","refresh":"stranger","access_token":"h.a1.s"}""", "[".repeat(100_000),
        )
        val storage = loggedIn()
        val client = client(server, storage)
        server.expire()
        for (body in bodies) {
            for (status in listOf(200, 201, 204, 302, 401, 403, 500)) {
                server.on("/token/refresh/", given(answer(status, body)))
                assertFailsWith<NoAnswer>("$status $body") { client.status() }
            }
        }
        assertEquals(emptyList(), storage.writes)
        client.status()
    }

    @Test
    fun `only the server's own words end the session`() = runTest {
        val over = setOf(401 to "token_expired", 401 to "token_invalid", 401 to "token_reused", 403 to "account_disabled")
        val codes = listOf(
            "token_expired", "token_invalid", "token_reused", "account_disabled", "rate_limited", "overloaded", "token_not_valid",
            "not_authenticated", "host_not_allowed", "not_found", "a_new_word",
        )
        for (status in listOf(400, 401, 403, 404, 429, 500, 503)) {
            for (code in codes) {
                val storage = loggedIn()
                val client = client(server, storage)
                server.on("/production/status/", given(refusal(401, "token_expired")))
                server.on("/token/refresh/", given(refusal(status, code)))
                val failure = assertFailsWith<FreshKException> { client.status() }
                assertEquals(code, failure.code)
                assertEquals((status to code) in over, failure is LoggedOut, "$status $code")
                assertEquals((status to code) in over, storage.value == null, "$status $code")
            }
        }
    }

    @Test
    fun `a log-out keeps the device's own token`() = runTest {
        val storage = FakeStorage("""{"access":"h.a0.s","refresh":"h.r0.s","device":"d.d.d"}""")
        val client = client(server, storage)
        server.on("/production/status/", given(refusal(401, "token_invalid")))
        server.on("/token/refresh/", given(refusal(401, "token_invalid")))
        assertEquals("token_invalid", assertFailsWith<LoggedOut> { client.status() }.code)
        assertEquals("""{"device":"d.d.d"}""", storage.value)
        val before = server.requests.size
        assertEquals("not_authenticated", assertFailsWith<LoggedOut> { client.status() }.code)
        assertEquals(before, server.requests.size)
    }

    @Test
    fun `a storage that cannot forget does not hide that the session is over`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        server.on("/production/status/", given(refusal(401, "token_invalid")))
        server.on("/token/refresh/", given(refusal(401, "token_invalid")))
        storage.onWrite = { throw IOException("the disk is full") }
        assertFailsWith<LoggedOut> { client.status() }
    }

    @Test
    fun `a log-out while a refresh is running is not undone, and does not wait for it`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        server.expire()
        server.on("/token/refresh/", { _, serve -> serve().also { delay(10.seconds) } })
        server.on("/logout/", given(answer(200, """{"message":"Logged out"}""")))
        val call = async { assertFailsWith<LoggedOut> { client.status() } }
        runCurrent()
        client.logout()
        assertEquals(0, currentTime)
        assertNull(storage.value)
        assertEquals("not_authenticated", call.await().code)
        assertNull(storage.value)
        assertFalse(client.isLoggedIn())
    }

    @Test
    fun `a login while a refresh is running keeps its own tokens`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        for (late in listOf(answer(200, """{"access":"o.a9.s","refresh":"o.r9.s"}"""), refusal(401, "token_invalid"))) {
            storage.value = loggedIn().value
            server.on("/production/status/", given(refusal(401, "token_expired")), given(answer(200, "{}")))
            server.on("/token/refresh/", { _, _ -> delay(1.seconds); late })
            val call = async { client.call("$AUTH/production/status/") }
            runCurrent()
            server.on("/production/verify/", given(answer(200, """{"access":"n.a.s","refresh":"n.r.s","user":$SOMEBODY,"message":""}""")))
            client.verify(PHONE, "123456")
            assertEquals(200, call.await().status)
            assertEquals("n.r.s", storage.member("refresh"))
        }
    }

    @Test
    fun `a pair that another client stored is taken without a refresh`() = runTest {
        val storage = loggedIn()
        val (one, two) = client(server, storage) to client(server, storage)
        one.status()
        two.status()
        server.expire()
        one.status()
        two.status()
        assertEquals(1, server.to("/token/refresh/").size)
    }

    @Test
    fun `a pair that another client stored long ago is refreshed in its turn`() = runTest {
        val storage = loggedIn()
        val (one, two) = client(server, storage) to client(server, storage)
        one.status()
        two.status()
        server.expire()
        one.status()
        server.expire()
        two.status()
        assertEquals(2, server.to("/token/refresh/").size)
    }

    @Test
    fun `two clients that refresh at once end with one pair`() = runTest {
        val storage = loggedIn()
        val clients = List(2) { client(server, storage) }
        clients.forEach { it.status() }
        server.expire()
        server.on("/token/refresh/", { _, serve -> serve().also { delay(2.seconds) } }, { _, serve -> serve().also { delay(1.seconds) } })
        clients.map { async { it.status() } }.awaitAll()
        assertEquals("h.r1.s", storage.member("refresh"))
    }

    @Test
    fun `two clients that share a lock refresh once, and one that never gets it goes on without`() = runTest {
        val (lock, storage) = Mutex() to loggedIn()
        val shared = object : Storage by storage {
            override suspend fun lock(): AutoCloseable {
                lock.lock()
                return AutoCloseable { lock.unlock() }
            }
        }
        val clients = List(2) { client(server, shared) }
        clients.forEach { it.status() }
        server.expire()
        server.on("/token/refresh/", { _, serve -> serve().also { delay(2.seconds) } })
        clients.map { async { it.status() } }.awaitAll()
        assertEquals(1, server.to("/token/refresh/").size)
        lock.lock()
        server.expire()
        clients[0].status()
        assertEquals(2, server.to("/token/refresh/").size)
        lock.unlock()
        runCurrent()
        assertFalse(lock.isLocked, "a lock that came late is given back")
    }

    @Test
    fun `a lock that fails or cannot be given back is no reason to stay logged out`() = runTest {
        val storage = loggedIn()
        for (lock in listOf<() -> AutoCloseable>({ throw IOException("no lock") }, { AutoCloseable { throw IOException("gone") } })) {
            val client = client(server, object : Storage by storage { override suspend fun lock() = lock() })
            client.status()
            server.expire()
            client.status()
        }
    }

    @Test
    fun `those whose refusal comes late hear why the session ended, and later ones that nobody is logged in`() = runTest {
        val client = client(server, loggedIn())
        val refused = given(refusal(401, "token_invalid"))
        val late: Act = { request, serve -> delay(5.seconds); refused(request, serve) }
        server.on("/production/status/", refused, late)
        server.on("/token/refresh/", given(refusal(401, "token_reused")))
        val codes = List(2) { async { assertFailsWith<LoggedOut> { client.status() }.code } }.awaitAll()
        assertEquals(listOf("token_reused", "token_reused"), codes)
        assertEquals("not_authenticated", assertFailsWith<LoggedOut> { client.status() }.code)
    }

    @Test
    fun `a call is repeated only where the access token is what was wrong`() = runTest {
        val client = client(server, loggedIn())
        val refusals = listOf(
            refusal(400, "token_expired"), refusal(403, "token_expired"), refusal(401, "not_authenticated"), refusal(403, "account_disabled"),
            answer(401, "<html>"), answer(401, ""), answer(401, """{"detail":"no"}"""), refusal(503, "unavailable"), answer(302, "Moved"),
        )
        for (refused in refusals) {
            server.on("/own", given(refused))
            assertEquals(refused.status, client.call("$AUTH/own", "POST", "{}").status)
        }
        assertEquals(refusals.size, server.requests.size)
        server.on("/own", given(answer(401, """{"detail":"no","code":"token_not_valid"}""")))
        assertEquals(200, client.call("$AUTH/own", "POST", "{}").status)
        assertEquals(1, server.to("/token/refresh/").size)
    }

    @Test
    fun `a call that is refused after the refresh too is the app's, and made no third time`() = runTest {
        val client = client(server, loggedIn())
        server.on("/own", given(refusal(401, "token_invalid")), given(refusal(401, "token_invalid")))
        assertEquals(401, client.call("$AUTH/own").status)
        assertEquals(2, server.to("/own").size)
        assertEquals(1, server.to("/token/refresh/").size)
    }

    @Test
    fun `an access token for another HTTP client is refreshed where it was refused, once for all`() = runTest {
        val client = client(server, loggedIn())
        assertEquals("h.a0.s", client.accessToken())
        assertEquals(List(9) { "h.a1.s" }, List(9) { async { client.accessToken(refused = "h.a0.s") } }.awaitAll())
        assertEquals("h.a1.s", client.accessToken())
        assertEquals(1, server.requests.size)
    }

    @Test
    fun `an access token that was refused is never given again, at the start neither`() = runTest {
        val storage = loggedIn()
        storage.onRead = { delay(1.seconds) }
        val client = client(server, storage)
        val first = async { client.accessToken() }
        runCurrent()
        assertEquals("h.a1.s", client.accessToken(refused = "h.a0.s"))
        assertEquals("h.a0.s", first.await())
    }

    @Test
    fun `a server that gives the same token again and again is not asked again and again`() = runTest {
        val client = client(server, loggedIn())
        val same = given(answer(200, """{"access":"h.a0.s","refresh":"h.r0.s"}"""))
        server.on("/token/refresh/", same)
        server.on("/own", given(refusal(401, "token_expired")), given(refusal(401, "token_expired")), given(refusal(401, "token_expired")))
        assertEquals(401, client.call("$AUTH/own").status)
        assertEquals(3, server.requests.size)
        server.on("/token/refresh/", same)
        assertEquals("h.a0.s", client.accessToken(refused = "h.a0.s"))
    }

    @Test
    fun `an HTTP client that cannot be cancelled holds nobody`() = runTest {
        val client = client({ withContext(NonCancellable) { awaitCancellation() } }, loggedIn())
        assertFailsWith<NoAnswer> { client.status() }
        assertEquals(TIMEOUT.inWholeMilliseconds, currentTime)
    }

    @Test
    fun `a storage that cannot be cancelled holds nobody, and what it writes late overwrites nothing newer`() = runTest {
        val (end, storage) = CompletableDeferred<Unit>() to loggedIn()
        val client = client(server, storage)
        server.expire()
        storage.onWrite = { withContext(NonCancellable) { end.await() } }
        repeat(2) { assertFailsWith<StorageFailed> { client.status() } }
        assertEquals(2 * TIMEOUT.inWholeMilliseconds, currentTime)
        storage.onWrite = {}
        end.complete(Unit)
        client.status()
        assertEquals("h.r1.s", storage.member("refresh"))
        server.expire()
        client.status()
        assertEquals("h.r2.s", storage.member("refresh"))
        assertEquals(2, storage.writes.size)
    }

    @Test
    fun `what the storage holds and is no session is nobody's`() = runTest {
        for (value in listOf(null, "", "x", "{", "[]", """{"access":1}""", """{"refresh":"h.r0.s"}""", """{"access":"a b","refresh":"h.r0.s"}""")) {
            val client = client(server, FakeStorage(value))
            assertFalse(client.isLoggedIn())
            assertFailsWith<LoggedOut> { client.status() }
        }
        assertEquals(emptyList(), server.requests)
    }

    private companion object {
        const val SOMEBODY = """{"id":1,"username":"u","phone_number":"$PHONE","role":"retailer","phone_verified":true}"""
    }
}
