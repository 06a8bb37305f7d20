package freshk

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/** A code is on its way. */
public data class CodeSent(
    /** How long it is good. */
    val expiresIn: Duration,
    /** Whether the number was never verified; null where the server does not tell. */
    val isNewUser: Boolean?,
    /** Names the message for [FreshK.delivery], where the server tells it. */
    val deliveryId: String?,
)

/** A person who can log in. */
public data class User(val id: Long, val username: String, val phoneNumber: String, val role: String)

/** A login. Its tokens are stored already. */
public data class Login(
    val user: User,
    /** Whether the number was never verified before; told only where accounts are concealed before that. */
    val isNewUser: Boolean,
    /** Whether this login took back the deletion of the account. */
    val restored: Boolean,
)

/** Who is logged in, as the server says it. */
public data class Status(val user: User, val phoneVerified: Boolean, val accountActive: Boolean)

/** One device that is logged in. Its instants are ISO 8601. */
public data class Session(
    /** Names it in [FreshK.endSession]. */
    val id: String,
    val device: String,
    val ip: String,
    val createdAt: String,
    val lastUsedAt: String,
    val expiresAt: String,
    /** Whether it is this one. */
    val current: Boolean,
)

/** What became of a message. */
public data class Delivery(
    /** `sending`, `sent`, `delivered`, `undelivered` or `unknown`. */
    val state: String,
    /** `sms`, `whatsapp` or `voice`. */
    val channel: String,
    /** How long to wait before asking again, where that can help. */
    val retryAfter: Duration?,
)

/** A change of the phone number. */
public data class PhoneChange(
    val phoneNumber: String,
    /** ISO 8601; null where it is done. */
    val effectiveAt: String?,
)

/** The members of an object, each as what it must be, or null. */
internal class Members(private val members: Map<String, Any?>) {
    fun text(name: String): String? = members[name] as? String

    fun long(name: String): Long? = members[name] as? Long

    fun flag(name: String): Boolean? = members[name] as? Boolean

    fun seconds(name: String): Duration? = long(name)?.takeIf { it >= 0 }?.seconds

    fun pair(): Pair? = pair(members)

    fun of(name: String): Members? = from(members[name])

    fun all(name: String): List<Members?>? = (members[name] as? List<*>)?.map(::from)

    companion object {
        fun of(answer: HttpResponse): Members? = Json.parse(answer.text)?.let(::Members)

        @Suppress("UNCHECKED_CAST")
        private fun from(value: Any?): Members? = (value as? Map<String, Any?>)?.let(::Members)
    }
}

internal fun user(members: Members): User? {
    return User(
        id = members.long("id") ?: return null,
        username = members.text("username") ?: return null,
        phoneNumber = members.text("phone_number") ?: return null,
        role = members.text("role") ?: return null,
    )
}

internal fun login(members: Members): Login? {
    val user = members.of("user")?.let(::user) ?: return null
    return Login(user, members.flag("is_new_user") ?: false, members.flag("restored") ?: false)
}

internal fun status(members: Members): Status? {
    return Status(
        user = members.of("user")?.let(::user) ?: return null,
        phoneVerified = members.flag("phone_verified") ?: return null,
        accountActive = members.flag("account_active") ?: return null,
    )
}

internal fun sessions(members: Members): List<Session>? =
    members.all("sessions")?.map { it?.let(::session) ?: return null }

private fun session(members: Members): Session? {
    return Session(
        id = members.text("id") ?: return null,
        device = members.text("device") ?: return null,
        ip = members.text("ip") ?: return null,
        createdAt = members.text("created_at") ?: return null,
        lastUsedAt = members.text("last_used_at") ?: return null,
        expiresAt = members.text("expires_at") ?: return null,
        current = members.flag("current") ?: return null,
    )
}

internal fun delivery(members: Members): Delivery? {
    val state = members.text("state") ?: return null
    return Delivery(state, members.text("channel") ?: return null, members.seconds("retry_after"))
}

internal fun phoneChange(members: Members): PhoneChange? =
    members.text("phone_number")?.let { PhoneChange(it, members.text("effective_at")) }

/** What a good answer holds; throws what any other one says. */
internal fun <T : Any> read(answer: HttpResponse, shape: (Members) -> T?): T {
    val members = Members.of(answer)
    if (answer.status == 200) {
        members?.let(shape)?.let { return it }
    } else if (answer.status >= 400 && members != null) {
        refusal(answer, members)?.let { throw it }
    }
    throw NoAnswer(retryAfter(answer, members))
}

private fun refusal(answer: HttpResponse, members: Members): Refused? {
    val code = members.text("code") ?: return null
    val error = members.text("error") ?: return null
    val refused = Refused(code, answer.status, error, retryAfter(answer, members), members.text("request_id"))
    refused.deliveryId = answer.header("X-Delivery-Id")
    return refused
}

private fun retryAfter(answer: HttpResponse, members: Members?): Duration? =
    members?.seconds("retry_after") ?: answer.header("Retry-After")?.toLongOrNull()?.takeIf { it >= 0 }?.seconds
