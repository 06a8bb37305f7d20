//! Lines of a file of users, in either format, without an opinion on what they hold.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};

use serde_json::Value;

use crate::cli::user::Format;
use crate::cli::user::columns::{COLUMNS, REQUIRED, Texts};

/// No line of an honest file is longer; more would only fill memory.
const LONGEST_LINE: u64 = 64 * 1024;

type Source = indicatif::ProgressBarIter<File>;

/// The lines of a file, each with its number and what it holds, or what keeps it from being read.
pub(super) enum Lines {
    /// With a header, which says what stands where.
    Csv { reader: Box<csv::Reader<Source>>, places: [Option<usize>; COLUMNS.len()], width: usize },
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
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(source);
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
                if !reader.read_byte_record(&mut record).map_err(io::Error::from)? {
                    return Ok(None);
                }
                let line = record.position().map_or(0, csv::Position::line);
                Ok(Some((line, fields(&record, places, *width))))
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
                if !bytes.trim_ascii().is_empty() {
                    return Ok(Some((*line, members(&bytes))));
                }
            },
        }
    }
}

fn places(header: &csv::ByteRecord) -> Result<[Option<usize>; COLUMNS.len()], String> {
    let mut places = [None; COLUMNS.len()];
    let known = COLUMNS.join(", ");
    for (place, name) in header.iter().enumerate() {
        let name = String::from_utf8_lossy(name);
        let Some(column) = COLUMNS.iter().position(|column| *column == name.trim()) else {
            return Err(format!("its first line has the column {name:?}, and those known are {known}"));
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
    let Ok(Value::Object(members)) = serde_json::from_str(text) else {
        return Err("it is not a JSON object".to_owned());
    };
    let mut texts = Texts::default();
    for (name, value) in members {
        let column = COLUMNS.iter().position(|column| *column == name);
        let column = column.ok_or_else(|| format!("it has the member {name:?}, which is not known"))?;
        texts[column] = match value {
            Value::Null => None,
            Value::String(text) => (!text.is_empty()).then_some(text),
            Value::Bool(switch) => Some(switch.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Array(_) | Value::Object(_) => return Err(format!("{name} is neither text nor number")),
        };
    }
    Ok(texts)
}
