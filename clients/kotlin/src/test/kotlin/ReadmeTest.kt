package freshk

import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.time.Duration

/** The README's programs, which are compiled here; those that need Android or OkHttp are left out. */
class ReadmeTest {
    @Test
    fun `what the README shows is what is compiled here`() {
        val blocks = Regex("```kotlin\n(.*?)```", RegexOption.DOT_MATCHES_ALL).findAll(File("README.md").readText())
        val programs = blocks.map { it.groupValues[1] }.filterNot { it.contains("class ") }.toList()
        assertEquals(3, programs.size)
        val compiled = File("src/test/kotlin/ReadmeTest.kt").readLines().map(String::trim).toSet()
        assertEquals(emptyList(), programs.flatMap(String::lines).map(String::trim).filterNot(compiled::contains))
    }
}

private class KeystoreStorage(context: String) : Storage by FakeStorage(context)

private object Build {
    const val MODEL = "Pixel"
}

@Suppress("UNUSED_VARIABLE", "unused")
private suspend fun login(context: String) {
    val freshk = FreshK("https://api.example.com/api/mobile/auth", KeystoreStorage(context), options = Options(deviceName = Build.MODEL))

    if (!freshk.isLoggedIn()) {
        freshk.requestCode("+12025550123")
        val login = freshk.verify("+12025550123", "123456") // where the answer was lost: again, with the same code
    }
    val answer = freshk.call("/orders/", "POST", """{"item":7}""") // any API of this origin or of Options.origins
    freshk.logout()
}

@Suppress("unused")
private suspend fun failures(freshk: FreshK, phone: String, showLogin: () -> Unit, show: (String) -> Unit, enableButtonAfter: (Duration?) -> Unit) {
    try {
        freshk.requestCode(phone)
    } catch (over: LoggedOut) {
        showLogin()
    } catch (refused: Refused) {
        show(refused.message) // the server's sentence
        if (refused.code == ErrorCode.RATE_LIMITED) enableButtonAfter(refused.retryAfter)
    } catch (failed: FreshKException) {
        show(failed.message) // no answer, or the storage failed: the session is as it was
    }
}

@Suppress("UNUSED_VARIABLE", "unused")
private suspend fun account(freshk: FreshK, new: String, code: String, currentCode: String, phone: String, cancelCode: String) {
    freshk.account.changePhone(new)                                   // a code to the new number
    freshk.resendCode()                                               // and one to the number that the person has, if it is still theirs
    val change = freshk.account.verifyPhone(new, code, currentCode)   // done where change.effectiveAt is null; without currentCode it waits
    freshk.account.keepPhone()                                        // takes a change back that waits
    freshk.account.cancelPhoneChange(phone, cancelCode)               // the same without a login, by the code that came to the number before

    freshk.resendCode()
    val deletesAt = freshk.account.delete(code)                       // null: the account is gone
    val document = freshk.account.export()                            // all that is kept, as JSON; once an hour
}
