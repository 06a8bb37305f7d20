package freshk

import java.io.IOException
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNotEquals
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.days
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.test.runCurrent
import kotlinx.coroutines.test.runTest

class LoginTest {
    private val server = FakeServer()

    private fun keys() = server.to("/production/verify/").map { it.headers.getValue("Idempotency-Key") }

    @Test
    fun `a login stores the tokens and the device's own, and sends that one from then on`() = runTest {
        val storage = FakeStorage()
        val client = client(server, storage)
        server.device = "d.d.d"
        assertEquals(CodeSent(600.seconds, true, "d1"), client.requestCode(PHONE))
        val login = client.verify(PHONE, "123456")
        assertEquals(Login(User(1_000_000_001, "user_12025550123", PHONE, "retailer"), isNewUser = false, restored = false), login)
        assertEquals("""{"access":"h.a0.s","refresh":"h.r0.s","device":"d.d.d"}""", storage.value)
        client.resendCode()
        client.account.changePhone(PHONE)
        client.requestCode(PHONE)
        client.status()
        client.call("https://shop.test/orders", "POST", "{}")
        val devices = server.requests.map { it.headers["X-Device-Token"] }
        assertEquals(listOf(null, null, "d.d.d", "d.d.d", "d.d.d", null, null), devices)
    }

    @Test
    fun `the device's own token that a refresh brings is stored with the pair`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        server.device = "d.e.f"
        server.expire()
        client.status()
        assertEquals("""{"access":"h.a1.s","refresh":"h.r1.s","device":"d.e.f"}""", storage.value)
    }

    @Test
    fun `what is no token is not taken for the device's own`() = runTest {
        val storage = FakeStorage()
        server.device = "x\r\nHost: evil"
        client(server, storage).verify(PHONE, "123456")
        assertNull(storage.member("device"))
    }

    @Test
    fun `a login whose answer is lost is repeated with the same key, after a restart too`() = runTest {
        val storage = FakeStorage()
        server.on("/production/verify/", lost, swallowed, given(answer(200, "{}")), given(refusal(400, "invalid_otp")))
        assertFailsWith<NoAnswer> { client(server, storage).verify(PHONE, "123456") }
        assertFailsWith<NoAnswer> { client(server, storage).verify(PHONE, "123456") }
        val client = client(server, storage)
        assertFailsWith<NoAnswer> { client.verify(PHONE, "123456") }
        assertEquals("invalid_otp", assertFailsWith<Refused> { client.verify(PHONE, "654321") }.code)
        client.verify(PHONE, "123456")
        assertEquals(1, keys().toSet().size)
        client.verify(PHONE, "111111")
        assertNotEquals(keys()[0], keys().last())
        assertTrue(keys().all { it.length in 16..128 })
    }

    @Test
    fun `a login that cannot be stored is repeated with the same key`() = runTest {
        val storage = FakeStorage()
        val client = client(server, storage)
        server.on("/production/verify/", { _, serve -> storage.onWrite = { throw IOException("the disk is full") }; serve() })
        assertFailsWith<StorageFailed> { client.verify(PHONE, "123456") }
        storage.onWrite = {}
        assertFalse(client.isLoggedIn())
        client.verify(PHONE, "123456")
        assertEquals(1, keys().toSet().size)
        assertTrue(client.isLoggedIn())
    }

    @Test
    fun `no message is bought and no code used where the storage cannot be written`() = runTest {
        val storage = FakeStorage()
        val client = client(server, storage)
        client.requestCode(PHONE)
        storage.onWrite = { throw IOException("the disk is full") }
        assertFailsWith<StorageFailed> { client.requestCode(PHONE) }
        assertFailsWith<StorageFailed> { client.verify(PHONE, "123456") }
        assertEquals(1, server.requests.size)
    }

    @Test
    fun `asking for a code never puts back a pair that another process has replaced`() = runTest {
        val (lock, storage) = Mutex(locked = true) to loggedIn()
        val client = client(server, object : Storage by storage {
            override suspend fun lock(): AutoCloseable {
                lock.lock()
                return AutoCloseable { lock.unlock() }
            }
        })
        val code = launch { client.requestCode(PHONE) }
        runCurrent()
        storage.value = loggedIn(generation = 1).value
        lock.unlock()
        code.join()
        assertEquals("h.r1.s", storage.member("refresh"))
    }

    @Test
    fun `a screen that closes while the login is being stored costs nobody the login`() = runTest {
        val storage = FakeStorage()
        val client = client(server, storage)
        server.on("/production/verify/", { _, serve -> storage.onWrite = { delay(1.seconds) }; serve() })
        val screen = launch { client.verify(PHONE, "123456") }
        runCurrent()
        screen.cancel()
        screen.join()
        assertTrue(client.isLoggedIn())
    }

    @Test
    fun `what is no login is not stored`() = runTest {
        val pair = """"access":"h.a.s","refresh":"h.r.s""""
        val user = """"user":{"id":1,"username":"u","phone_number":"$PHONE","role":"r"}"""
        val storage = FakeStorage()
        val client = client(server, storage)
        for (body in listOf("{}", "{$pair}", "{$user}", "{$pair,$user", """{$pair,"user":{"id":"1"}}""", """{"access":"h.a.s","refresh":"x",$user}""")) {
            server.on("/production/verify/", given(answer(200, body)))
            assertFailsWith<NoAnswer>(body) { client.verify(PHONE, "123456") }
            assertFalse(client.isLoggedIn())
        }
        server.on("/production/verify/", given(answer(200, """{$pair,$user,"is_new_user":true,"restored":true,"new":[1.5e3]}""")))
        val login = client.verify(PHONE, "123456")
        assertTrue(login.isNewUser && login.restored)
    }

    @Test
    fun `a refusal says what, how long to wait, and how the operator finds it`() = runTest {
        val client = client(server, FakeStorage())
        val body = """{"error":"Wait.","code":"rate_limited","retry_after":7,"request_id":"r9"}"""
        server.on("/production/request/", given(answer(429, body, "Retry-After" to "9", "X-Delivery-Id" to "d7")))
        val refused = assertFailsWith<Refused> { client.requestCode(PHONE) }
        assertEquals(listOf<Any?>("rate_limited", 429, "Wait.", 7.seconds, "r9", "d7"), with(refused) { listOf(code, status, message, retryAfter, requestId, deliveryId) })
    }

    @Test
    fun `the time to wait comes from the body, else from the header, and is never negative`() = runTest {
        val client = client(server, FakeStorage())
        val cases = listOf(
            Triple("""{"code":"c","error":"e","retry_after":-1}""", "9", 9.seconds),
            Triple("""{"code":"c","error":"e","retry_after":"7"}""", "Wed, 21 Oct 2026 07:28:00 GMT", null),
            Triple("""{"code":"c","error":"e","retry_after":86400}""", "9", 1.days),
            Triple("<html>", "9", 9.seconds),
            Triple("<html>", "-9", null),
            Triple("<html>", "99999999999999999999999999", null),
        )
        for ((body, header, expected) in cases) {
            server.on("/production/request/", given(answer(503, body, "retry-after" to header)))
            assertEquals(expected, assertFailsWith<FreshKException> { client.requestCode(PHONE) }.retryAfter, body + header)
        }
    }

    @Test
    fun `a device's name is sent in ASCII`() = runTest {
        FreshK(AUTH, FakeStorage(), server, options("Zoë's Pixel\n+1")).verify(PHONE, "1")
        assertEquals("Zo%C3%AB%27s%20Pixel%0A%2B1", server.requests.last().headers["X-Device-Name"])
    }

    @Test
    fun `a second way for a code is asked for by its name`() = runTest {
        client(server, FakeStorage()).requestCode(PHONE, channel = "whatsapp")
        assertEquals("""{"phone_number":"$PHONE","channel":"whatsapp"}""", server.requests.last().body!!.decodeToString())
    }

    @Test
    fun `a logout forgets first, and tells the server`() = runTest {
        val storage = FakeStorage("""{"access":"h.a0.s","refresh":"h.r0.s","device":"d.d.d"}""")
        val client = client(server, storage)
        client.status()
        server.on("/logout/", { request, _ ->
            assertEquals("""{"device":"d.d.d"}""", storage.value)
            assertEquals("h.r0.s", member(request, "refresh"))
            answer(200, """{"message":"Logged out"}""")
        })
        client.logout()
        assertFailsWith<LoggedOut> { client.status() }
        client.logout()
        assertEquals(1, server.to("/logout/").size)
    }

    @Test
    fun `a logout forgets whatever the server says, and is done where the session had ended`() = runTest {
        for (over in listOf(refusal(401, "token_invalid"), refusal(401, "token_expired"), refusal(403, "account_disabled"))) {
            val storage = loggedIn()
            server.on("/logout/", given(over))
            client(server, storage).logout()
            assertNull(storage.value)
        }
        for (act in listOf(lost, swallowed, given(answer(200, "{}")), given(answer(403, "<html>")), given(refusal(503, "unavailable")))) {
            val storage = loggedIn()
            server.on("/logout/", act)
            assertFailsWith<FreshKException> { client(server, storage).logout() }
            assertNull(storage.value)
        }
    }

    @Test
    fun `a storage that fails at logout does not keep the session alive`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        client.status()
        val done = given(answer(200, """{"message":"Logged out"}"""))
        server.on("/logout/", done, done)
        storage.onWrite = { throw IOException("the disk is full") }
        assertFailsWith<StorageFailed> { client.logout() }
        storage.onRead = { throw IOException("the key is gone") }
        storage.onWrite = {}
        client(server, loggedIn()).status()
        assertEquals(1, server.to("/logout/").size)
    }

    @Test
    fun `a storage that cannot be read at logout does not keep the session alive`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        client.status()
        server.on("/logout/", given(answer(200, """{"message":"Logged out"}""")))
        storage.onRead = { throw IOException("the key is gone") }
        assertFailsWith<StorageFailed> { client.logout() }
        assertEquals("h.r0.s", member(server.to("/logout/").single(), "refresh"))
    }

    @Test
    fun `logging out everywhere forgets once the server has done it`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        server.on("/logout/all/", lost)
        assertFailsWith<NoAnswer> { client.logoutAll() }
        assertTrue(client.isLoggedIn())
        client.logoutAll()
        assertFalse(client.isLoggedIn())
    }

    @Test
    fun `the account's calls are the contract's`() = runTest {
        val storage = loggedIn()
        val client = client(server, storage)
        assertEquals(CodeSent(10.minutes, null, null), client.account.changePhone("+12025550124"))
        assertEquals(PhoneChange(PHONE, null), client.account.verifyPhone("+12025550124", "123456", "654321"))
        client.account.verifyPhone("+12025550124", "123456")
        client.account.keepPhone()
        server.on("/account/phone/", given(answer(200, """{"message":"done"}""")))
        client.account.cancelPhoneChange(PHONE, "c1")
        client.endSession("a b/ü")
        assertTrue(client.account.export().startsWith("{"))
        server.on("/account/delete/", given(answer(200, """{"message":"done","deletes_at":"2026-12-01T00:00:00Z"}""")))
        assertEquals("2026-12-01T00:00:00Z", client.account.delete("123456"))
        val lines = server.requests.map { "${it.method} ${it.url.removePrefix(AUTH)} ${it.body?.decodeToString()} ${it.headers["Authorization"]}" }
        val expected = listOf(
            """POST /account/phone/ {"phone_number":"+12025550124"} Bearer h.a0.s""",
            """POST /account/phone/verify/ {"phone_number":"+12025550124","otp":"123456","current_otp":"654321"} Bearer h.a0.s""",
            """POST /account/phone/verify/ {"phone_number":"+12025550124","otp":"123456"} Bearer h.a0.s""",
            "DELETE /account/phone/ null Bearer h.a0.s",
            """DELETE /account/phone/ {"phone_number":"$PHONE","cancel_code":"c1"} null""",
            "DELETE /sessions/a%20b%2F%C3%BC/ null Bearer h.a0.s",
            "GET /account/export/ null Bearer h.a0.s",
            """POST /account/delete/ {"otp":"123456"} Bearer h.a0.s""",
        )
        assertEquals(expected, lines)
    }

    @Test
    fun `a deletion forgets everything, the device's own token too unless a login can restore the account`() = runTest {
        for ((deletesAt, kept) in listOf(""","deletes_at":"2026-12-01T00:00:00Z"""" to """{"device":"d.d.d"}""", "" to null)) {
            val storage = FakeStorage("""{"access":"h.a0.s","refresh":"h.r0.s","device":"d.d.d","key":"k"}""")
            val client = client(server, storage)
            server.on("/account/delete/", given(answer(200, """{"message":"done"$deletesAt}""")))
            client.account.delete("123456")
            assertEquals(kept, storage.value)
            assertFalse(client.isLoggedIn())
            assertEquals("not_authenticated", assertFailsWith<LoggedOut> { client.status() }.code)
        }
    }

    @Test
    fun `sessions and deliveries are read as the contract writes them`() = runTest {
        val client = client(server, loggedIn())
        val one = """{"id":"s1","device":"Pixel","ip":"192.0.2.1","created_at":"c","last_used_at":"l","expires_at":"e","current":true}"""
        server.on("/sessions/", given(answer(200, """{"sessions":[$one]}""")), given(answer(200, """{"sessions":[$one,{}]}""")))
        assertEquals(listOf(Session("s1", "Pixel", "192.0.2.1", "c", "l", "e", true)), client.sessions())
        assertFailsWith<NoAnswer> { client.sessions() }
        server.on("/production/delivery/d%2F1/", given(answer(200, """{"state":"sending","channel":"sms","retry_after":2}""")))
        assertEquals(Delivery("sending", "sms", 2.seconds), client.delivery("d/1"))
        assertNull(server.requests.last().headers["Authorization"])
        server.on("/production/delivery/d1/", given(refusal(404, "not_found")))
        assertEquals("not_found", assertFailsWith<Refused> { client.delivery("d1") }.code)
    }

    @Test
    fun `the access token goes to no origin that was not named`() = runTest {
        val client = client(server, loggedIn())
        val strangers = listOf(
            "https://evil.test/", "http://api.test/", "https://api.test:8443/", "https://api.test.evil.test/", "https://api.test@evil.test/",
            "https://evil.test#https://api.test/", "https://evil.test\\@api.test/", "https:///api.test/", "//api.test/x", "ftp://api.test/",
            "https://api.test /", "api.test", "", "https://evil.test?https://api.test", "javascript:alert(1)", "https://user:pw@api.test/",
            "https://api.test\n.evil.test/", "//evil.test/x",
        )
        val before = server.requests.size
        for (url in strangers) {
            // A path stays a path, however it begins.
            if (url.startsWith("/")) continue
            assertFailsWith<OriginNotAllowed>(url) { client.call(url) }
        }
        assertEquals(before, server.requests.size)
        for (url in listOf("/own/x", "//evil.test/x", "HTTPS://API.test:443/x", "https://shop.test/y?z=https://evil.test")) client.call(url)
        val called = server.requests.drop(before).map { originOf(it.url) }
        assertEquals(listOf<String?>("https://api.test", "https://api.test", "https://api.test", "https://shop.test"), called)
    }

    @Test
    fun `an address that is none is refused at once`() {
        for (url in listOf("", "api.test/api", "/api/mobile/auth", "ftp://api.test")) {
            assertFailsWith<IllegalArgumentException>(url) { FreshK(url, FakeStorage(), server) }
        }
        assertFailsWith<IllegalArgumentException> { Options(origins = setOf("shop.test")) }
    }
}
