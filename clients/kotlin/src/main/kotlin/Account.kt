package freshk

/** What people do with their own account. */
public class Account internal constructor(private val client: FreshK) {
    /** Sends a code to the new number. */
    public suspend fun changePhone(phoneNumber: String): CodeSent =
        codeSent(client.authorized("POST", "/account/phone/", Json.write(mapOf("phone_number" to phoneNumber))))

    /** Proves the new number; with a code from [FreshK.resendCode] as [currentCode] the change is done at once. */
    public suspend fun verifyPhone(phoneNumber: String, code: String, currentCode: String? = null): PhoneChange {
        val body = Json.write(mapOf("phone_number" to phoneNumber, "otp" to code, "current_otp" to currentCode))
        return read(client.authorized("POST", "/account/phone/verify/", body), ::phoneChange)
    }

    /** Takes back the change that waits. */
    public suspend fun keepPhone() {
        read(client.authorized("DELETE", "/account/phone/"), ::done)
    }

    /** Takes back a change that somebody else asked for: with the code that came to the old number, logged in or not. */
    public suspend fun cancelPhoneChange(phoneNumber: String, cancelCode: String) {
        val body = Json.write(mapOf("phone_number" to phoneNumber, "cancel_code" to cancelCode))
        read(client.post("/account/phone/", body, method = "DELETE"), ::done)
    }

    /** Deletes the account, with a code from [FreshK.resendCode]. Gives when, ISO 8601; null where it is done. The device forgets the session. */
    public suspend fun delete(code: String): String? {
        val answer = client.authorized("POST", "/account/delete/", Json.write(mapOf("otp" to code)))
        val deletesAt = read(answer) { members -> members.text("message")?.let { members } }.text("deletes_at")
        // The device's own token lets the owner in to restore the account.
        client.forgetSession(keepsDevice = deletesAt != null)
        return deletesAt
    }

    /** All that is kept about the person, as a JSON document. */
    public suspend fun export(): String {
        val answer = client.authorized("GET", "/account/export/")
        read(answer) { it }
        return answer.text
    }
}
