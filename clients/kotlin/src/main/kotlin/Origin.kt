package freshk

import java.net.URI
import java.net.URISyntaxException

/** Scheme, host and port of an address; null where it is no address of a server, or could be read in two ways. */
internal fun originOf(url: String): String? {
    val parsed = try {
        URI(url)
    } catch (_: URISyntaxException) {
        return null
    }
    val scheme = parsed.scheme?.lowercase()
    val port = DEFAULT_PORTS[scheme] ?: return null
    val authority = parsed.rawAuthority?.lowercase()?.removeSuffix(":$port") ?: return null
    // What stands before an @ is a name and a password, whatever it looks like.
    return if ('@' in authority) null else "$scheme://$authority"
}

private val DEFAULT_PORTS = mapOf("https" to 443, "http" to 80)
