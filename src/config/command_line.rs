//! A program and its arguments in one text: split as a shell splits it, and run by none.

/// Characters with which a shell does something, and which nobody reads here.
const SHELL_ALONE: &str = "|&;<>()*?[]$`";

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine(Vec<String>);

impl CommandLine {
    /// Splits a text at its spaces; quotation marks and backslashes keep words together. What only a shell understands is
    /// refused outside of single quotes, since it would go to the program as it stands.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                _ if c.is_whitespace() => words.extend(word.take()),
                '\'' => quoted(&mut chars, word.get_or_insert_default())?,
                '"' => half_quoted(&mut chars, word.get_or_insert_default())?,
                '\\' => word.get_or_insert_default().push(chars.next().ok_or("it ends with a backslash")?),
                '~' if word.is_none() => return Err(of_a_shell('~')),
                _ if SHELL_ALONE.contains(c) => return Err(of_a_shell(c)),
                _ => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        if words.first().is_none_or(String::is_empty) {
            return Err("it names no program".to_owned());
        }
        Ok(Self(words))
    }

    /// Program and arguments, with `value` wherever `placeholder` stands; what is in it splits no word.
    pub fn with(&self, placeholder: &str, value: &str) -> Vec<String> {
        self.with_all(&[(placeholder, value)])
    }

    /// The same with several placeholders and their values.
    pub fn with_all(&self, values: &[(&str, &str)]) -> Vec<String> {
        let fill = |word: &String| {
            values.iter().fold(word.clone(), |word, (placeholder, value)| word.replace(placeholder, value))
        };
        self.0.iter().map(fill).collect()
    }
}

fn quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    for c in chars {
        match c {
            '\'' => return Ok(()),
            _ => word.push(c),
        }
    }
    Err(UNCLOSED.to_owned())
}

fn half_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), String> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '$' | '`' => return Err(of_a_shell(c)),
            '\\' => match chars.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => break,
            },
            _ => word.push(c),
        }
    }
    Err(UNCLOSED.to_owned())
}

const UNCLOSED: &str = "a quotation mark is not closed";

fn of_a_shell(c: char) -> String {
    format!("{c} is for a shell, and no shell reads this")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        CommandLine::parse(text).unwrap().with("{file}", "/a b/x.db")
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(words(" rclone  copy {file} far:away "), ["rclone", "copy", "/a b/x.db", "far:away"]);
        assert_eq!(
            words(r#"a 'b  c' "d \"e\" \f" g\ h '' x'y'z"#),
            ["a", "b  c", "d \"e\" \\f", "g h", "", "xyz"]
        );
        assert_eq!(words("scp {file} {file}.sha256 far:"), ["scp", "/a b/x.db", "/a b/x.db.sha256", "far:"]);
        assert_eq!(words(r#"sh -c 'scp "$1" far: && date' sh {file}"#)[2], r#"scp "$1" far: && date"#);
    }

    #[test]
    fn what_only_a_shell_understands_is_refused_outside_of_single_quotes() {
        for text in
            ["a {file} | b", "a && b", "a > b", "a; b", "a $HOME", "a \"$HOME\"", "a `b`", "~/a", "a *.db"]
        {
            let problem = CommandLine::parse(text).unwrap_err();
            assert!(problem.contains("is for a shell"), "{text}: {problem}");
        }
        assert_eq!(words("a 'b|c' d~e"), ["a", "b|c", "d~e"]);
    }

    #[test]
    fn what_is_not_finished_is_told() {
        for text in ["a 'b", "a \"b", "a \"b\\", "'' b"] {
            assert!(CommandLine::parse(text).is_err(), "{text}");
        }
        assert!(CommandLine::parse("a \\").unwrap_err().contains("backslash"));
    }
}
