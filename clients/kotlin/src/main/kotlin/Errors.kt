package freshk

import java.io.IOException
import kotlin.time.Duration

/**
 * Every failure that the client knows. Branch on [code]: a word of the server's, of which there may be more tomorrow, or one
 * of the client's own in [ErrorCode]. It is an [IOException], so that interceptors of HTTP clients may let it pass.
 */
public sealed class FreshKException(public val code: String, override val message: String, cause: Throwable? = null) :
    IOException(message, cause) {
    /** How long to wait until the call may succeed, where the server named a time. */
    public open val retryAfter: Duration? get() = null
}

/** The session is over: show the login screen. [code] tells why; `not_authenticated` where nobody was logged in. */
public class LoggedOut internal constructor(code: String) : FreshKException(code, "logged out: $code")

/** The server refused the call. The session is as it was. [message] is a sentence that may be shown to the person. */
public class Refused internal constructor(
    code: String,
    public val status: Int,
    message: String,
    override val retryAfter: Duration?,
    /** Names the call in the operator's log. */
    public val requestId: String?,
) : FreshKException(code, message) {
    /** Names a message that may still arrive, for [FreshK.delivery]. */
    public var deliveryId: String? = null
        internal set
}

/**
 * Nothing came in time, or what came is not FreshK's: a firewall, the login page of a network, half an answer. The session is
 * as it was. Try again.
 */
public class NoAnswer internal constructor(override val retryAfter: Duration? = null, cause: Throwable? = null) :
    FreshKException(ErrorCode.NO_ANSWER, "There is no answer from the server. Check the connection and try again.", cause)

/** The storage threw, or did not answer in time. The session is as it was. */
public class StorageFailed internal constructor(cause: Throwable? = null) :
    FreshKException(ErrorCode.STORAGE_FAILED, "The device could not store the login. Try again.", cause)

/** [FreshK.call] was given an address that may not have the access token: name its origin in [Options.origins]. */
public class OriginNotAllowed internal constructor(origin: String) :
    FreshKException(ErrorCode.ORIGIN_NOT_ALLOWED, "The access token is not sent to $origin: name it in `origins`.")

/** The words for [FreshKException.code]. The server may have new ones: give every `when` an `else`. */
public object ErrorCode {
    public const val NO_ANSWER: String = "no_answer"
    public const val STORAGE_FAILED: String = "storage_failed"
    public const val ORIGIN_NOT_ALLOWED: String = "origin_not_allowed"

    public const val ACCOUNT_DISABLED: String = "account_disabled"
    public const val BAD_REQUEST: String = "bad_request"
    public const val COUNTRY_NOT_ALLOWED: String = "country_not_allowed"
    public const val INTERNAL_ERROR: String = "internal_error"
    public const val INVALID_OTP: String = "invalid_otp"
    public const val INVALID_PHONE_NUMBER: String = "invalid_phone_number"
    public const val NOT_AUTHENTICATED: String = "not_authenticated"
    public const val NOT_FOUND: String = "not_found"
    public const val OVERLOADED: String = "overloaded"
    public const val PHONE_IN_USE: String = "phone_in_use"
    public const val RATE_LIMITED: String = "rate_limited"
    public const val SMS_BUDGET_EXHAUSTED: String = "sms_budget_exhausted"
    public const val SMS_DELIVERY_FAILED: String = "sms_delivery_failed"
    public const val TOKEN_EXPIRED: String = "token_expired"
    public const val TOKEN_INVALID: String = "token_invalid"
    public const val TOKEN_REUSED: String = "token_reused"
    public const val UNAVAILABLE: String = "unavailable"
    public const val USER_NOT_FOUND: String = "user_not_found"
}
