//! `[server.tls]`: a certificate of the server's own, where no proxy in front of it has one.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::quoted;
use super::key::{Key, Kind, Section};
use super::mode;
use super::reader::Reader;
use super::value;
use crate::acme;
use crate::certificate::{Pair, PairError};
use crate::domain::http_url::is_host;
use crate::domain::{Help as _, HttpUrl};

/// `[server.tls]`
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whether the server speaks TLS; known also where something is wrong with the rest.
    pub is_on: bool,
    /// Where the certificate comes from; `None`: the server speaks plain HTTP.
    pub source: Option<Source>,
    /// How long browsers are told to use TLS alone; `None`: they are told nothing.
    pub hsts: Option<Duration>,
    /// Where plain HTTP is answered with a redirect.
    pub redirect_listen: Option<SocketAddr>,
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// From two files.
    Files(Files),
    /// From an authority, which is asked for it.
    Acme(Acme),
}

/// A certificate that an authority is asked for.
#[derive(Clone, Debug)]
pub struct Acme {
    /// From whom, and for which names.
    pub settings: acme::Settings,
    /// The folder in which it is kept; `None`: the database keeps it.
    pub cache: Option<PathBuf>,
}

/// A certificate and its key in two files, and what they hold.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, with those of the authority after it.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// Both, as they were read.
    pub pair: Pair,
}

/// Why a certificate cannot be read from its files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file cannot be read.
    #[error("{}: {path} cannot be read: {error}", key_of(*.is_of_key).name, path = .path.display())]
    Unreadable {
        /// Whether it is the key's.
        is_of_key: bool,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// What the files hold cannot be used.
    #[error("{}: {path}: {error}", key_of(.error.is_of_key()).name, path = .path.display())]
    Unusable {
        /// The file that is at fault.
        path: PathBuf,
        /// What is wrong with it.
        error: PairError,
    },
}

fn key_of(is_of_key: bool) -> &'static Key {
    if is_of_key { &KEY } else { &CERT }
}

impl crate::domain::Help for FilesError {
    fn help(&self) -> String {
        match self {
            Self::Unreadable { .. } => {
                "let the user that runs freshk read it; certbot's files are root's alone: have its deploy hook copy them, or \
                 give them to the unit with LoadCredential="
                    .to_owned()
            }
            Self::Unusable { error, .. } => error.help(),
        }
    }
}

impl Files {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// [`FilesError`]
    pub fn read(cert: &Path, key: &Path) -> Result<Self, FilesError> {
        let read = |path: &Path, is_of_key| {
            fs::read(path).map_err(|error| FilesError::Unreadable { is_of_key, path: path.to_owned(), error })
        };
        let (certificates, private) = (read(cert, false)?, read(key, true)?);
        let pair = Pair::parse(&certificates, &private).map_err(|error| {
            let path = if error.is_of_key() { key } else { cert };
            FilesError::Unusable { path: path.to_owned(), error }
        })?;
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), pair })
    }
}

static CERT: Key = Key::new(
    "server.tls.cert",
    Kind::Text("the path of a PEM file, such as /etc/freshk/fullchain.pem"),
    "",
    "The certificate of the server, with those of its authority after it: with it the server speaks TLS on server.listen, and \
     HTTP/2. Read again when it changes. Leave it out behind a proxy with TLS.",
);
static KEY: Key = Key::new(
    "server.tls.key",
    Kind::Text("the path of a PEM file that only FreshK's user can read, such as /etc/freshk/privkey.pem"),
    "",
    "The private key of that certificate, not encrypted.",
);
static ACME_DOMAINS: Key = Key::new(
    "server.tls.acme_domains",
    Kind::List("host names that lead to this server, such as api.example.com"),
    "",
    "The names for which a certificate is ordered by ACME, and renewed when a third of its time is left. The authority must reach \
     this server under each of them: on port 443 of server.listen, or on port 80 of server.tls.redirect_listen. Whoever sets it \
     agrees to the authority's terms.",
);
static ACME_CONTACT: Key = Key::new(
    "server.tls.acme_contact",
    Kind::List("addresses of mail, such as ops@example.com"),
    "",
    "Where the authority writes to when something is wrong with a certificate.",
);
static ACME_DIRECTORY: Key = Key::new(
    "server.tls.acme_directory",
    Kind::Text("an https URL, such as https://acme-staging-v02.api.letsencrypt.org/directory"),
    "https://acme-v02.api.letsencrypt.org/directory",
    "The authority: the directory of its ACME server.",
);
static ACME_ROOT: Key = Key::new(
    "server.tls.acme_root",
    Kind::Text("the path of a PEM file of authorities"),
    "",
    "Who vouches for the ACME server of an authority of your own; not set: the authorities of the web.",
);
static ACME_CACHE: Key = Key::new(
    "server.tls.acme_cache",
    Kind::Text("the path of a folder that only FreshK's user can read, such as /var/lib/freshk/acme"),
    "",
    "The folder in which certificate, key and account are kept; it is made where it is not there. On PostgreSQL it may be left out: \
     then the database keeps them, for all servers.",
);
static HSTS: Key = Key::new(
    "server.tls.hsts",
    Kind::Text("off, or a duration with its unit, such as 180d"),
    "off",
    "How long browsers are told to call this host with TLS alone (Strict-Transport-Security). It cannot be taken back before \
     that time is over.",
);
static REDIRECT_LISTEN: Key = Key::new(
    "server.tls.redirect_listen",
    Kind::Text("an address and a port, such as 0.0.0.0:80"),
    "",
    "Where GETs in plain HTTP are sent on to https. Anything else is refused there: a phone number that an app sends in clear \
     is a fault to be seen.",
);

pub(super) const SECTION: Section = Section {
    name: "server.tls",
    doc: "TLS of the server's own, where no proxy in front of it has it.",
    keys: &[
        &CERT,
        &KEY,
        &ACME_DOMAINS,
        &ACME_CONTACT,
        &ACME_DIRECTORY,
        &ACME_ROOT,
        &ACME_CACHE,
        &REDIRECT_LISTEN,
        &HSTS,
    ],
};

pub(super) fn read(reader: &mut Reader<'_>, public_url: Option<&HttpUrl>) -> Tls {
    // An empty list of domains is none.
    let orders = !reader.list(&ACME_DOMAINS, |text| Ok(text.to_owned())).is_empty();
    let is_on = orders || [&CERT, &KEY].into_iter().any(|key| reader.is_set(key));
    let acme = acme(reader, public_url).map(Source::Acme);
    let files = files(reader, public_url);
    if acme.is_some() && (reader.is_set(&CERT) || reader.is_set(&KEY)) {
        reader.fault(
            &ACME_DOMAINS,
            "there is a certificate already: server.tls.cert or server.tls.key is set",
            "leave out these, or this",
        );
    }
    let tls = Tls {
        is_on,
        source: files.or(acme),
        hsts: reader.one(&HSTS, hsts).flatten(),
        redirect_listen: reader.one(&REDIRECT_LISTEN, value::socket_address),
    };
    for (key, is_set) in [(&HSTS, tls.hsts.is_some()), (&REDIRECT_LISTEN, tls.redirect_listen.is_some())] {
        if is_set && !is_on {
            reader.fault(
                key,
                "the server has no TLS: neither server.tls.cert nor server.tls.acme_domains is set",
                "set one of them, or take this out: behind a proxy it is the proxy's to do",
            );
        }
    }
    tls
}

/// A certificate of an authority has to be kept somewhere.
pub(super) fn check_cache(reader: &mut Reader<'_>, tls: &Tls, has_file: bool) {
    if let Some(Source::Acme(Acme { cache: None, .. })) = &tls.source
        && has_file
    {
        reader.fault(
            &ACME_CACHE,
            "it is not set, and the certificate has to be kept somewhere",
            "name a folder that the user that runs freshk can write, such as /var/lib/freshk/acme",
        );
    }
}

fn acme(reader: &mut Reader<'_>, public_url: Option<&HttpUrl>) -> Option<Acme> {
    let domains = reader.list(&ACME_DOMAINS, domain);
    let contact = reader.list(&ACME_CONTACT, contact);
    let directory = reader.one(&ACME_DIRECTORY, directory)?;
    let path = |text: &str| Ok(PathBuf::from(text));
    let (root, cache) = (reader.one(&ACME_ROOT, path), reader.one(&ACME_CACHE, path));
    if domains.is_empty() {
        return None;
    }
    if let Some(url) = public_url
        && !domains.iter().any(|domain| domain == url.host())
    {
        reader.findings.warn(
            Some(ACME_DOMAINS.name),
            format!("certificates are ordered for {}, and server.public_url is {url}", domains.join(", ")),
            "apps that call that URL refuse such a certificate: add its host, or correct server.public_url",
        );
    }
    Some(Acme { settings: acme::Settings { domains, contact, directory, root }, cache })
}

/// A name that an authority can look at: no address, no port, no pattern.
fn domain(text: &str) -> Result<String, String> {
    let good = is_host(text) && text.contains('.') && text.parse::<IpAddr>().is_err() && !text.contains('_');
    if good {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("{} is not a host name of the Internet", quoted(text)))
    }
}

fn contact(text: &str) -> Result<String, String> {
    let text = text.strip_prefix("mailto:").unwrap_or(text);
    let good = text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && is_host(host))
        && text.bytes().all(|b| b.is_ascii_graphic());
    if good { Ok(text.to_owned()) } else { Err(format!("{} is not an address of mail", quoted(text))) }
}

fn directory(text: &str) -> Result<HttpUrl, String> {
    let url = value::http_url(text)?;
    if url.is_https() { Ok(url) } else { Err(format!("{url} has no TLS")) }
}

fn files(reader: &mut Reader<'_>, public_url: Option<&HttpUrl>) -> Option<Source> {
    let path = |text: &str| Ok(PathBuf::from(text));
    let (cert, key) = match (reader.one(&CERT, path), reader.one(&KEY, path)) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) => return None,
        (cert, _) => {
            let (has, lacks) = if cert.is_some() { (&CERT, &KEY) } else { (&KEY, &CERT) };
            if !reader.is_faulty(lacks) {
                reader.fault(lacks, format!("it is not set, and {} is", has.name), "set both, or neither");
            }
            return None;
        }
    };
    if mode::gives(&key, mode::OTHERS_READ) {
        let key = key.display();
        reader.findings.warn(
            Some(KEY.name),
            format!("{key} holds a private key and everybody can read it"),
            format!("chmod 640 {key}, with the group of the user that runs freshk"),
        );
    }
    let files = match Files::read(&cert, &key) {
        Ok(files) => files,
        Err(error) => {
            let (at_fault, path, problem) = match &error {
                FilesError::Unreadable { is_of_key, path, error } => {
                    (key_of(*is_of_key), path, format!("cannot be read: {error}"))
                }
                FilesError::Unusable { path, error } => (key_of(error.is_of_key()), path, error.to_string()),
            };
            reader.fault(at_fault, format!("{}: {problem}", path.display()), error.help());
            return None;
        }
    };
    if let Some(url) = public_url
        && !files.pair.covers(url.host())
    {
        let names = files.pair.names().join(", ");
        let names = if names.is_empty() { "no name" } else { &names };
        reader.findings.warn(
            Some(CERT.name),
            format!("the certificate in {} is for {names}, and server.public_url is {url}", cert.display()),
            "apps that call that URL refuse this certificate: get one for its host, or correct server.public_url",
        );
    }
    Some(Source::Files(files))
}

fn hsts(text: &str) -> Result<Option<Duration>, String> {
    if text.eq_ignore_ascii_case("off") { Ok(None) } else { value::duration(text, "1s", "3650d").map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_contacts_and_directories_are_as_an_authority_takes_them() {
        assert_eq!(domain("API.Example.com").as_deref(), Ok("api.example.com"));
        for bad in
            ["localhost", "192.0.2.1", "[::1]", "*.example.com", "example.com:443", "a_b.example.com", ""]
        {
            assert!(domain(bad).is_err(), "{bad}");
        }
        assert_eq!(contact("mailto:ops@example.com").as_deref(), Ok("ops@example.com"));
        assert!(contact("ops").is_err() && contact("a b@example.com").is_err());
        assert!(
            directory("https://acme.example.com/dir").is_ok()
                && directory("http://acme.example.com").is_err()
        );
    }

    #[test]
    fn hsts_is_off_or_a_time() {
        assert_eq!(hsts("off"), Ok(None));
        assert_eq!(hsts("180d"), Ok(Some(Duration::from_hours(180 * 24))));
        assert!(hsts("true").is_err() && hsts("0s").is_err());
    }
}
