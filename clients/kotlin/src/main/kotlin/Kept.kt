package freshk

/** The tokens of one session. */
internal class Pair(val access: String, val refresh: String)

/** All that is stored, in one string, so that it is never stored by half. */
internal class Kept(
    val pair: Pair? = null,
    /** Outlives the session: with it, strangers cannot lock the person's number. */
    val device: String? = null,
    /** The `Idempotency-Key` of the next login; kept until its tokens are stored, so that a repetition gets the same session. */
    val key: String? = null,
) {
    fun write(): String? {
        if (pair == null && device == null && key == null) return null
        return Json.write(mapOf("access" to pair?.access, "refresh" to pair?.refresh, "device" to device, "key" to key))
    }

    companion object {
        fun read(text: String?): Kept {
            val members = text?.let(Json::parse) ?: return Kept()
            return Kept(pair(members), members["device"] as? String, members["key"] as? String)
        }
    }
}

private val TOKEN = Regex("[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+")

internal fun isToken(value: Any?): Boolean = value is String && TOKEN.matches(value)

/** The pair among the members of an answer, if what it has are tokens. */
internal fun pair(members: Map<String, Any?>): Pair? {
    val (access, refresh) = members["access"] to members["refresh"]
    return if (isToken(access) && isToken(refresh)) Pair(access as String, refresh as String) else null
}
