//! Lines of a file of users, in either format, without an opinion on what they hold.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::cli::user::Format;
use crate::cli::user::columns::{COLUMNS, Kind, REQUIRED, Texts, kind};
use crate::domain::phone::mask_name;

/// No line of an honest file is longer; more would only fill memory.
const LONGEST_LINE: u64 = 64 * 1024;

/// What spreadsheets put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The words for each line of a file that is refused, for [`crate::fuzzing`].
#[cfg(any(test, fuzzing))]
pub(crate) fn read_lines(bytes: &[u8], is_csv: bool) -> Vec<String> {
    use std::io::{Seek as _, Write as _};

    use crate::cli::user::columns::Rules;
    use crate::domain::{PhonePolicy, Timestamp};

    let Ok(memory) = rustix::fs::memfd_create("users", rustix::fs::MemfdFlags::CLOEXEC) else {
        return Vec::new();
    };
    let mut file = File::from(memory);
    if file.write_all(bytes).and_then(|()| file.rewind()).is_err() {
        return Vec::new();
    }
    let source = indicatif::ProgressBar::hidden().wrap_read(file);
    let rules = Rules {
        roles: vec!["retailer".to_owned()],
        default_role: "retailer".to_owned(),
        phones: PhonePolicy::lenient(10),
        now: Timestamp::from_millis(0),
    };
    let mut lines = match Lines::new(source, if is_csv { Format::Csv } else { Format::Jsonl }) {
        Ok(lines) => lines,
        Err(words) => return vec![words],
    };
    let mut refused = Vec::new();
    while let Ok(Some((_, line))) = lines.next() {
        refused.extend(line.and_then(|texts| rules.judge(texts)).err());
    }
    refused
}

type Source = indicatif::ProgressBarIter<File>;

/// The lines of a file, each with its number and what it holds, or what keeps it from being read.
pub(super) enum Lines {
    /// With a header, which says what stands where.
    Csv { reader: Box<csv::Reader<Ends>>, places: [Option<usize>; COLUMNS.len()], width: usize },
    /// An object a line.
    Jsonl { reader: BufReader<Source>, line: u64 },
}

/// One line.
pub(super) type Line = (u64, Result<Texts, String>);

impl Lines {
    /// Begins to read.
    ///
    /// # Errors
    /// In words: a header that will not do.
    pub(super) fn new(source: Source, format: Format) -> Result<Self, String> {
        if format == Format::Jsonl {
            return Ok(Self::Jsonl { reader: BufReader::new(source), line: 0 });
        }
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(Ends::of(source));
        let header = reader.byte_headers().map_err(|error| format!("it cannot be read: {error}"))?;
        let places = places(header)?;
        let width = header.len();
        Ok(Self::Csv { reader: Box::new(reader), places, width })
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        match self {
            Self::Csv { reader, places, width } => {
                let mut record = csv::ByteRecord::new();
                let begun = reader.position().clone();
                reader.get_mut().allow_a_line();
                let read = reader.read_byte_record(&mut record);
                let line = begun.line() + reader.get_mut().ends_at(begun.byte());
                Ok(read
                    .map_err(|error| of_line(line, error))?
                    .then(|| (line, fields(&record, places, *width))))
            }
            Self::Jsonl { reader, line } => loop {
                let mut bytes = Vec::new();
                if reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
                    return Ok(None);
                }
                *line += 1;
                let whole = bytes.last() == Some(&b'\n');
                if !whole && bytes.len() as u64 == LONGEST_LINE {
                    reader.skip_until(b'\n')?;
                    return Ok(Some((*line, Err(format!("it has more than {LONGEST_LINE} bytes")))));
                }
                let text = bytes.strip_prefix(BYTE_ORDER_MARK).filter(|_| *line == 1).unwrap_or(&bytes);
                if !text.trim_ascii().is_empty() {
                    return Ok(Some((*line, members(text))));
                }
            },
        }
    }
}

fn of_line(line: u64, error: csv::Error) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("line {line}: {error}"))
}

/// Hands a file on and remembers where empty lines are. The reader of CSV counts a record's lines from the end of the record
/// before, and what it skips then, empty lines and the second half of each `\r\n`, makes the numbers fall behind.
pub(super) struct Ends {
    source: Source,
    /// How many bytes were handed on, and how many may be.
    read: u64,
    limit: u64,
    last: u8,
    /// Where a byte that ends a line follows another, and whether it is the one that counts.
    skipped: VecDeque<(u64, bool)>,
}

impl Ends {
    fn of(source: Source) -> Self {
        Self { source, read: 0, limit: LONGEST_LINE, last: 0, skipped: VecDeque::new() }
    }

    /// Lets one more line through: a quote that is never closed would take the rest of the file in.
    fn allow_a_line(&mut self) {
        self.limit = self.read + LONGEST_LINE;
    }

    /// How many lines end, with nothing in them, from `byte` on; called with ever higher ones.
    fn ends_at(&mut self, byte: u64) -> u64 {
        let (mut at, mut lines) = (byte, 0);
        while let Some((place, counts)) = self.skipped.front().copied().filter(|(place, _)| *place <= at) {
            if place == at {
                at += 1;
                lines += u64::from(counts);
            }
            self.skipped.pop_front();
        }
        lines
    }
}

impl io::Read for Ends {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read >= self.limit {
            let told = format!("it has more than {LONGEST_LINE} bytes; perhaps a quote in it is not closed");
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        let count = self.source.read(buffer)?;
        for (place, byte) in (self.read..).zip(&buffer[..count]) {
            if matches!(byte, b'\r' | b'\n') && matches!(self.last, b'\r' | b'\n') {
                self.skipped.push_back((place, *byte == b'\n'));
            }
            self.last = *byte;
        }
        self.read += count as u64;
        Ok(count)
    }
}

fn places(header: &csv::ByteRecord) -> Result<[Option<usize>; COLUMNS.len()], String> {
    let mut places = [None; COLUMNS.len()];
    let known = COLUMNS.join(", ");
    for (place, name) in header.iter().enumerate() {
        let name = String::from_utf8_lossy(name);
        let Some(column) = COLUMNS.iter().position(|column| *column == name.trim()) else {
            // Without a header it is somebody's row.
            let name = mask_name(&format!("{name:?}"));
            return Err(format!("its first line has the column {name}, and those known are {known}"));
        };
        if places[column].replace(place).is_some() {
            return Err(format!("its first line has the column {name:?} twice"));
        }
    }
    if places[REQUIRED].is_none() {
        return Err(format!(
            "its first line lacks the column {}; those known are {known}",
            COLUMNS[REQUIRED]
        ));
    }
    Ok(places)
}

fn fields(
    record: &csv::ByteRecord,
    places: &[Option<usize>; COLUMNS.len()],
    width: usize,
) -> Result<Texts, String> {
    if record.len() != width {
        return Err(format!("it has {} fields, and the first line has {width}", record.len()));
    }
    let mut texts = Texts::default();
    for (text, (place, column)) in texts.iter_mut().zip(places.iter().zip(COLUMNS)) {
        let Some(field) = place.and_then(|place| record.get(place)) else { continue };
        let field = str::from_utf8(field).map_err(|_| format!("{column} is not UTF-8"))?;
        *text = (!field.is_empty()).then(|| field.to_owned());
    }
    Ok(texts)
}

fn members(bytes: &[u8]) -> Result<Texts, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    let Members(members) = serde_json::from_str(text).map_err(|_| "it is not a JSON object")?;
    let mut texts = Texts::default();
    let mut seen = [false; COLUMNS.len()];
    for (name, value) in members {
        let column = COLUMNS.iter().position(|column| *column == name);
        let unknown = || format!("it has the member {}, which is not known", mask_name(&format!("{name:?}")));
        let column = column.ok_or_else(unknown)?;
        if std::mem::replace(&mut seen[column], true) {
            return Err(format!("it has the member {name:?} twice"));
        }
        texts[column] = match (value, kind(column)) {
            (Value::Null, _) => None,
            (Value::String(text), _) => (!text.is_empty()).then_some(text),
            (Value::Bool(switch), Kind::Switch) => Some(switch.to_string()),
            (Value::Number(number), Kind::Number | Kind::Switch) => Some(number.to_string()),
            (_, Kind::Number) => return Err(format!("{name} is not a number")),
            (_, Kind::Switch) => return Err(format!("{name} is neither true nor false")),
            (Value::Object(members), Kind::Object) => Some(Value::from(members).to_string()),
            (_, Kind::Object) => return Err(format!("{name} is not an object")),
            (_, Kind::Text) => return Err(format!("{name} is not text")),
        };
    }
    Ok(texts)
}

/// The members of an object in their order, the same name twice included, where JSON's own map would keep the last.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects;

        impl<'de> Visitor<'de> for Objects {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Objects)
    }
}
