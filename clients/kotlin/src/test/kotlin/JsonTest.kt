package freshk

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertNull

class JsonTest {
    @Test
    fun `documents are read as RFC 8259 has them`() {
        val text = """ { "a" : [ 1 , -0, 2.5, 1e2, -1.5E-1, 9223372036854775808 ], "b":{}, "c":[], "d":true, "e":false, "f":null, "a b":"" } """
        val expected = mapOf(
            "a" to listOf(1L, 0L, 2.5, 100.0, -0.15, 9.223372036854775808E18),
            "b" to emptyMap<String, Any?>(), "c" to emptyList<Any?>(), "d" to true, "e" to false, "f" to null, "a b" to "",
        )
        assertEquals<Map<String, Any?>?>(expected, Json.parse(text))
        assertEquals<Map<String, Any?>?>(mapOf("x" to "\"\\/\b\u000c\n\r\té😀"), Json.parse("""{"x":"\"\\\/\b\f\n\r\té\ud83d\uDE00"}"""))
    }

    @Test
    fun `of members with one name the last one counts`() {
        assertEquals<Map<String, Any?>?>(mapOf("a" to 2L), Json.parse("""{"a":1,"a":2}"""))
    }

    @Test
    fun `whatever is no object is none`() {
        val texts = listOf(
            "", " ", "null", "1", "\"x\"", "[]", "[{}]", "<html>", "{", "}", "{}}", "{} x", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",
            "{'a':1}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":+1}", "{\"a\":-}", "{\"a\":1e}", "{\"a\":NaN}", "{\"a\":tru}", "{\"a\":nul",
            "{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}", "{\"a\":\"\\u+123\"}", "{\"a\":\"\n\"}", "{\"a\":\"", "{\"a\":[1,]}", "{\"a\":[1 2]}", "\uFEFF{}",
            "{\"a\":1 \"b\":2}", "{\"a\" 1}", "{\"a\":\u00a01}", "{\"a\":".repeat(100_000), "{\"a\":" + "[".repeat(65) + "]".repeat(65) + "}",
        )
        for (text in texts) assertNull(Json.parse(text), text.take(40))
    }

    @Test
    fun `what is written is read again, whatever it holds`() {
        val strings = listOf("", "\"", "\\", "\u0000\u001f\u007f", "é😀", "\ud83d", "\udc00x", "</script>", "a\r\nb", "{\"a\":1}")
        for (string in strings) assertEquals<Map<String, Any?>?>(mapOf(string to string), Json.parse(Json.write(mapOf(string to string, "none" to null))))
    }
}
