//! Where a `PostgreSQL` database is and how it is reached, read from a URL as Django's `DATABASE_URL` has it.

use std::fmt;
use std::path::PathBuf;

use crate::domain::Secret;

/// Where the database is, who asks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// The server.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password, where the server wants one.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// Whether the connection is encrypted, and what the server must prove.
    pub tls: TlsMode,
    /// A PEM file with the authorities that may vouch for the server; those that browsers believe without it.
    pub root_certificates: Option<PathBuf>,
    /// The schema that holds our tables.
    pub schema: String,
    /// How many connections write.
    pub writers: usize,
    /// How many read.
    pub readers: usize,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By its name or address.
    Tcp(String),
    /// By the directory of its socket.
    Socket(PathBuf),
}

/// `sslmode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server can; it proves nothing.
    Prefer,
    /// Always encrypted; the server proves nothing.
    Require,
    /// The server's certificate is signed by an authority that is believed.
    VerifyCa,
    /// And it is for the host that was asked for.
    VerifyFull,
}

/// The default schema.
pub const SCHEMA: &str = "freshk";

/// The default number of writing connections.
pub const WRITERS: usize = 16;

/// The number of reading connections.
const READERS: usize = 4;

const PORT: u16 = 5432;

const FORM: &str = "write it as postgres://user:password@host:5432/database";

impl PostgresSettings {
    /// Whether a text is meant to be such a URL.
    pub fn is_url(text: &str) -> bool {
        text.starts_with("postgres:") || text.starts_with("postgresql:")
    }

    /// Reads a URL. What is wrong never quotes it: it holds a password.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("postgres://")
            .or_else(|| url.strip_prefix("postgresql://"))
            .ok_or_else(|| format!("it has no // after its scheme; {FORM}"))?;
        if rest.contains(['#', ' ', '\0']) {
            return Err("it has a space or a # in it; write % and two digits for it (%20, %23)".to_owned());
        }
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) =
            place.split_once('/').ok_or_else(|| format!("it names no database; {FORM}"))?;
        if database.contains('/') {
            return Err("it has a / too many; one that belongs to a password is written %2F".to_owned());
        }
        let (who, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match who.split_once(':') {
            Some((user, password)) => (decoded(user)?, Some(Secret::new(decoded(password)?))),
            None => (decoded(who)?, None),
        };
        let (host, port) = server_of(server)?;
        let mut settings = Self {
            host: host.unwrap_or_else(|| Host::Tcp(String::new())),
            port,
            user,
            password,
            database: decoded(database)?,
            tls: TlsMode::Prefer,
            root_certificates: None,
            schema: SCHEMA.to_owned(),
            writers: WRITERS,
            readers: READERS,
        };
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            settings.set(name, decoded(value)?)?;
        }
        settings.judged()
    }

    /// Whether the server is on this machine, as far as its name tells.
    pub fn is_local(&self) -> bool {
        match &self.host {
            Host::Socket(_) => true,
            Host::Tcp(host) => {
                host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "sslmode" => self.tls = TlsMode::parse(&value)?,
            "sslrootcert" if value == "system" => self.root_certificates = None,
            "sslrootcert" => self.root_certificates = Some(value.into()),
            "host" => self.host = host_of(value),
            "port" => self.port = port_of(&value)?,
            "user" => self.user = value,
            "password" => self.password = Some(Secret::new(value)),
            "dbname" => self.database = value,
            // What these ask for is so here, whatever they say.
            "application_name" | "connect_timeout" | "keepalives" | "client_encoding" => {}
            _ => {
                // A part of a password with an & in it may stand here, so the name is told only if it is one.
                let known =
                    ["sslcert", "sslkey", "sslpassword", "options", "service", "target_session_attrs"];
                let name = known.iter().find(|known| **known == name);
                return Err(format!(
                    "it has {} after the ?, which FreshK does not know; sslmode and sslrootcert are known",
                    name.map_or_else(|| "a parameter".to_owned(), |name| format!("the parameter {name}"))
                ));
            }
        }
        Ok(())
    }

    fn judged(mut self) -> Result<Self, String> {
        if matches!(&self.host, Host::Tcp(host) if host.is_empty()) {
            return Err(format!("it names no host; {FORM}"));
        }
        if self.user.is_empty() {
            return Err(format!("it names no user; {FORM}"));
        }
        if self.database.is_empty() {
            return Err(format!("it names no database; {FORM}"));
        }
        // As libpq has it: whoever names an authority wants it asked.
        if self.tls == TlsMode::Require && self.root_certificates.is_some() {
            self.tls = TlsMode::VerifyCa;
        }
        if matches!(self.host, Host::Socket(_)) {
            self.tls = TlsMode::Disable;
        }
        Ok(self)
    }
}

/// For people and logs: without user and password.
impl PostgresSettings {
    /// Names the database and the schema in ASCII, as a header must.
    pub fn identity(&self) -> String {
        format!("{self} {}", self.schema).escape_default().to_string()
    }
}

impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port)?,
            Host::Tcp(host) => write!(f, "{host}:{}", self.port)?,
            Host::Socket(directory) => write!(f, "{} ({})", directory.display(), self.port)?,
        }
        write!(f, "/{}", self.database)
    }
}

impl TlsMode {
    fn parse(word: &str) -> Result<Self, String> {
        match word {
            "disable" => Ok(Self::Disable),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err("its sslmode is none of disable, prefer, require, verify-ca and verify-full".to_owned()),
        }
    }
}

/// Whether a name can be a schema's without quotes.
pub fn is_schema(name: &str) -> bool {
    const LONGEST: usize = 63;
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let goes_on = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    begins && goes_on && name.len() <= LONGEST && !name.starts_with("pg_")
}

fn server_of(text: &str) -> Result<(Option<Host>, u16), String> {
    if text.contains(',') {
        return Err(
            "it names several hosts; name one, the primary, or the name that follows the primary".to_owned()
        );
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("its [ is not closed by a ]")?;
            (host, after.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(PORT), port_of)?;
    let host = decoded(host)?;
    Ok(((!host.is_empty()).then(|| host_of(host)), port))
}

fn host_of(text: String) -> Host {
    if text.starts_with('/') { Host::Socket(text.into()) } else { Host::Tcp(text) }
}

fn port_of(text: &str) -> Result<u16, String> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
        "its port is not a number from 1 to 65535; a : or / that belongs to a password is written %3A or %2F"
            .to_owned()
    })
}

fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits =
                [rest.next(), rest.next()].map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
            let [Some(high), Some(low)] = digits else {
                return Err(
                    "it has a % that is not followed by two hexadecimal digits; % itself is written %25"
                        .to_owned(),
                );
            };
            bytes.extend(u8::try_from(high * 16 + low));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| "what its % stands for is not UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> PostgresSettings {
        PostgresSettings::parse(url).unwrap()
    }

    #[test]
    fn what_djangos_database_url_says_is_read() {
        let settings =
            parsed("postgres://user:pass%40word@db.example:6432/freshk_production?sslmode=verify-full");
        assert_eq!(settings.host, Host::Tcp("db.example".into()));
        assert_eq!((settings.port, settings.tls), (6432, TlsMode::VerifyFull));
        assert_eq!(settings.password.as_ref().unwrap().expose(), "pass@word");
        assert_eq!(settings.to_string(), "db.example:6432/freshk_production");
        assert_eq!(parsed("postgresql://u@[::1]/d").to_string(), "[::1]:5432/d");
        let socket = parsed("postgres://u@%2Fvar%2Frun%2Fpostgresql/d?sslmode=require");
        assert_eq!(socket.host, Host::Socket("/var/run/postgresql".into()));
        assert_eq!(socket.tls, TlsMode::Disable);
        assert_eq!(parsed("postgres:///d?host=/tmp&user=u").host, Host::Socket("/tmp".into()));
    }

    #[test]
    fn an_authority_that_is_named_is_asked() {
        let settings = parsed("postgres://u@h/d?sslmode=require&sslrootcert=/etc/ca.pem");
        assert_eq!(settings.tls, TlsMode::VerifyCa);
        assert_eq!(settings.root_certificates, Some("/etc/ca.pem".into()));
        assert_eq!(parsed("postgres://u@h/d?sslrootcert=system").root_certificates, None);
    }

    #[test]
    fn every_wrong_kind_is_told_and_no_password_is_shown() {
        for (bad, word) in [
            ("postgres:user:hush@h/d", "//"),
            ("postgres://user:hush@/d", "host"),
            ("postgres://:hush@h/d", "user"),
            ("postgres://user:hush@h", "database"),
            ("postgres://user:hush@h/", "database"),
            ("postgres://user:hush@h:0/d", "port"),
            ("postgres://user:hush@h:hush/d", "port"),
            ("postgres://user:hu/sh@h/d", "%2F"),
            ("postgres://user:hush%zz@h/d", "%25"),
            ("postgres://user:hush#@h/d", "%23"),
            ("postgres://user:hush@h,i/d", "several"),
            ("postgres://user:hush@[::1/d", "]"),
            ("postgres://user:hush@h/d?sslmode=hush", "verify-full"),
            ("postgres://user:hush@h/d?sslcert=hush", "sslcert"),
            ("postgres://user:hush@h/d?hush=1", "parameter"),
            ("postgres://user:%ffhush@h/d", "UTF-8"),
        ] {
            let told = PostgresSettings::parse(bad).unwrap_err();
            assert!(told.contains(word) && !told.contains("hush"), "{bad}: {told}");
        }
    }

    #[test]
    fn a_schema_needs_no_quotes() {
        for good in ["freshk", "_f", "f1_"] {
            assert!(is_schema(good), "{good}");
        }
        for bad in ["", "1f", "Freshk", "fresh-k", "pg_temp", "f\"k", &"f".repeat(64)] {
            assert!(!is_schema(bad), "{bad}");
        }
    }
}
