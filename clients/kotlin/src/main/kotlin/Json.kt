package freshk

/**
 * As much of JSON (RFC 8259) as the client reads and writes: a whole library for six small answers would be the largest
 * part of the kit, and bind the app to a version of it. Objects are maps, numbers [Long] or [Double].
 */
internal object Json {
    private const val DEPTH = 64

    /** The object that a text holds; none where it holds anything else, or is no JSON: HTML, or cut off. */
    fun parse(text: String): Map<String, Any?>? {
        val value = try {
            Reader(text).document()
        } catch (_: Malformed) {
            return null
        }
        @Suppress("UNCHECKED_CAST")
        return value as? Map<String, Any?>
    }

    /** Members without a value are left out. */
    fun write(members: Map<String, String?>): String =
        members.entries.filter { it.value != null }.joinToString(",", "{", "}") { (name, value) -> quote(name) + ":" + quote(value!!) }

    private fun quote(text: String): String = buildString {
        append('"')
        for (char in text) {
            when {
                char == '"' || char == '\\' -> append('\\').append(char)
                // Half a pair of surrogates is no UTF-8: as an escape it comes through.
                char < ' ' || char.isSurrogate() -> append("\\u").append(char.code.toString(16).padStart(4, '0'))
                else -> append(char)
            }
        }
        append('"')
    }

    private class Malformed : Exception()

    private class Reader(private val text: String) {
        private var at = 0

        fun document(): Any? {
            val value = value(0)
            space()
            if (at != text.length) throw Malformed()
            return value
        }

        private fun value(depth: Int): Any? {
            if (depth > DEPTH) throw Malformed()
            space()
            return when (peek()) {
                '{' -> members(depth)
                '[' -> elements(depth)
                '"' -> string()
                't' -> word("true", true)
                'f' -> word("false", false)
                'n' -> word("null", null)
                else -> number()
            }
        }

        private fun members(depth: Int): Map<String, Any?> {
            val members = LinkedHashMap<String, Any?>()
            list('}') {
                space()
                val name = string()
                space()
                expect(':')
                members[name] = value(depth + 1)
            }
            return members
        }

        private fun elements(depth: Int): List<Any?> {
            val elements = ArrayList<Any?>()
            list(']') { elements += value(depth + 1) }
            return elements
        }

        private fun list(end: Char, element: () -> Unit) {
            at += 1
            space()
            if (peek() == end) {
                at += 1
                return
            }
            while (true) {
                element()
                space()
                if (peek() == end) break
                expect(',')
            }
            at += 1
        }

        private fun string(): String {
            expect('"')
            val string = StringBuilder()
            while (true) {
                when (val char = next()) {
                    '"' -> return string.toString()
                    '\\' -> string.append(escaped())
                    in '\u0000'..'\u001f' -> throw Malformed()
                    else -> string.append(char)
                }
            }
        }

        private fun escaped(): Char = when (val char = next()) {
            '"', '\\', '/' -> char
            'b' -> '\b'
            'f' -> '\u000c'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                val digits = String(CharArray(4) { next() })
                if (!HEX.matches(digits)) throw Malformed()
                digits.toInt(16).toChar()
            }
            else -> throw Malformed()
        }

        private fun number(): Any {
            val digits = NUMBER.matchAt(text, at)?.value ?: throw Malformed()
            at += digits.length
            return digits.toLongOrNull() ?: digits.toDouble()
        }

        private fun word(word: String, value: Any?): Any? {
            if (!text.startsWith(word, at)) throw Malformed()
            at += word.length
            return value
        }

        private fun space() {
            while (at < text.length && text[at] in " \t\n\r") at += 1
        }

        private fun peek(): Char = if (at < text.length) text[at] else throw Malformed()

        private fun next(): Char = peek().also { at += 1 }

        private fun expect(char: Char) {
            if (next() != char) throw Malformed()
        }
    }

    private val HEX = Regex("[0-9a-fA-F]{4}")
    private val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
}
