//! Where the cache is and who asks it, read from a URL.

use std::fmt;

use ::redis::{Client, ConnectionAddr, IntoConnectionInfo as _};

/// `cache.url`
#[derive(Clone)]
pub struct CacheSettings {
    pub(super) client: Client,
    place: String,
    is_encrypted: bool,
}

const FORM: &str = "write it as redis://user:password@host:6379/0";

impl CacheSettings {
    /// Reads a URL. What is wrong never quotes it: it holds a password.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("it is no URL; {FORM}"))?;
        if !matches!(scheme, "redis" | "rediss") {
            return Err(
                "it begins neither with redis:// nor with rediss:// (TLS); both are right for Valkey, too"
                    .to_owned(),
            );
        }
        if rest.contains(['?', '#', ' ', '\0']) {
            return Err(
                "it has a space, a ? or a # in it; write % and two digits for it (%20, %3F, %23)".to_owned()
            );
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (_, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        if server.is_empty() || server.starts_with(':') {
            return Err(format!("it names no host; {FORM}"));
        }
        if !database.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(format!("what follows the host is no number of a database; {FORM}"));
        }
        // What is wrong in these words is not told: they may quote the password.
        let unread = |_| format!("it cannot be read; {FORM}");
        let connection = url.into_connection_info().map_err(unread)?;
        let redis = connection.redis_settings().clone().set_skip_set_lib_name();
        let (_, port) = server.rsplit_once(':').unwrap_or((server, ""));
        let has_port = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
        let port = if has_port { "" } else { ":6379" };
        Ok(Self {
            client: Client::open(connection.set_redis_settings(redis)).map_err(unread)?,
            place: format!("{scheme}://{server}{port}/{}", if database.is_empty() { "0" } else { database }),
            is_encrypted: scheme == "rediss",
        })
    }

    /// Whether the way to it is encrypted.
    pub const fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// The name or the address of its machine.
    pub fn host(&self) -> &str {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "",
        }
    }
}

/// For people and logs: without user and password.
impl fmt::Display for CacheSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl fmt::Debug for CacheSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_by_its_place() {
        for (url, place) in [
            ("redis://cache", "redis://cache:6379/0"),
            ("redis://cache:7000/3", "redis://cache:7000/3"),
            ("rediss://user:hush@cache.example:6380", "rediss://cache.example:6380/0"),
            ("redis://:hush@[::1]:6379/1", "redis://[::1]:6379/1"),
            ("redis://[::1]", "redis://[::1]:6379/0"),
        ] {
            let settings = CacheSettings::parse(url).unwrap();
            assert_eq!(settings.to_string(), place);
            assert_eq!(settings.is_encrypted(), url.starts_with("rediss"));
            assert!(!format!("{settings:?}").contains("hush"));
        }
    }

    #[test]
    fn everything_else_is_refused_and_no_password_is_shown() {
        for bad in [
            "",
            "cache:6379",
            "http://cache",
            "unix:///run/redis.sock",
            "redis://",
            "redis:///0",
            "redis://user:hush@",
            "redis://user:hush@:6379",
            "redis://user:hush@cache/main",
            "redis://user:hush@cache:port",
            "redis://user:hu sh@cache",
            "rediss://user:hush@cache#insecure",
            "redis://user:hush@cache?protocol=resp3",
            "redis://user:hush@0.0.0.0",
        ] {
            let problem = CacheSettings::parse(bad).unwrap_err();
            assert!(!problem.contains("hu") || problem.contains("such"), "{bad}: {problem}");
        }
    }
}
