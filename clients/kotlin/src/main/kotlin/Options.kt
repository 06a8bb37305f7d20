package freshk

import java.util.Locale
import kotlin.coroutines.CoroutineContext
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers

/** What an app may want otherwise. */
public class Options(
    /** For each call, the reading of its answer included, and each access to the storage. A call that sends an SMS may take 15 s. */
    public val timeout: Duration = 20.seconds,
    /** Other origins that may get the access token, for example `https://api.example.com`. FreshK's own may. */
    origins: Set<String> = emptySet(),
    /** Names this device in [FreshK.sessions], for example `Build.MODEL`. */
    public val deviceName: String? = null,
    /** The language of the messages. */
    public val language: String = Locale.getDefault().toLanguageTag(),
    /** Where calls and storage run: on threads that may block. */
    public val context: CoroutineContext = Dispatchers.IO,
) {
    /** As they are compared: in lower case, without a port that goes without saying. */
    public val origins: Set<String> = origins.mapTo(HashSet()) {
        requireNotNull(originOf(it)) { "$it is no origin: write https://api.example.com" }
    }
}
