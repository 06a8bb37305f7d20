//! What `freshk init --systemd` writes beside the configuration: the unit, where no package has installed it, and the site of the
//! proxy; and the commands that put all of it in place.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::cli::SYSTEM_FILE;
use crate::cli::check::systemd::installed_unit;
use crate::domain::HttpUrl;

/// The unit as the package has it.
const UNIT: &str = include_str!("../../../deploy/freshk.service");

/// The program in that unit.
const PACKAGED: &str = "/usr/bin/freshk";

/// Where a program that no package has installed belongs.
const LOCAL: &str = "/usr/local/bin/freshk";

/// The name in a site while nobody has said how the server is called.
const ANY_HOST: &str = "api.example.com";

/// A proxy with TLS on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Proxy {
    /// Gets its certificate by itself.
    Caddy,
    /// Needs a certificate.
    Nginx,
}

/// A file to write.
pub(super) struct Piece {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// What a deployment under systemd takes.
pub(super) struct Deployment {
    proxy: Proxy,
    host: String,
    config: PathBuf,
    /// The program, where no package has installed the unit.
    unpackaged: Option<PathBuf>,
}

impl Proxy {
    /// As the flag has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Caddy => "caddy",
            Self::Nginx => "nginx",
        }
    }

    /// The file of its site, beside the configuration.
    const fn file(self) -> &'static str {
        match self {
            Self::Caddy => "freshk.caddyfile",
            Self::Nginx => "freshk.nginx",
        }
    }

    fn site(self, host: &str) -> String {
        let site = match self {
            Self::Caddy => CADDY,
            Self::Nginx => NGINX,
        };
        site.replace(ANY_HOST, host)
    }
}

impl Deployment {
    /// For a configuration that is written to `config`.
    pub(super) fn of(url: Option<&HttpUrl>, proxy: Proxy, config: &Path) -> Self {
        Self {
            proxy,
            host: url.map_or(ANY_HOST, HttpUrl::host).to_owned(),
            config: config.to_owned(),
            unpackaged: is_unpackaged().then(program),
        }
    }

    /// The files that are written beside the configuration, whatever will be answered.
    pub(super) fn paths(config: &Path, proxy: Option<Proxy>) -> Vec<PathBuf> {
        let sites = proxy.map_or_else(|| vec![Proxy::Caddy, Proxy::Nginx], |proxy| vec![proxy]);
        let unit = is_unpackaged().then_some("freshk.service");
        unit.into_iter()
            .chain(sites.into_iter().map(Proxy::file))
            .map(|name| config.with_file_name(name))
            .collect()
    }

    /// The files beside the configuration.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let unit = self.unpackaged.as_ref().map(|program| Piece {
            path: self.beside("freshk.service"),
            text: UNIT.replace(PACKAGED, &installed(program)),
        });
        let site = Piece { path: self.beside(self.proxy.file()), text: self.proxy.site(&self.host) };
        unit.into_iter().chain([site]).collect()
    }

    /// What is to be run as root, line by line.
    pub(super) fn commands(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(program) = &self.unpackaged {
            lines.extend(unpackaged(program, &self.beside("freshk.service")));
        }
        if self.config == Path::new(SYSTEM_FILE) {
            lines.push(format!("chown root:freshk {SYSTEM_FILE} && chmod 640 {SYSTEM_FILE}"));
        } else {
            let config = quoted(&self.config);
            lines.push(format!("install --backup=numbered -m 640 -o root -g freshk {config} {SYSTEM_FILE}"));
        }
        lines.push("systemctl enable --now freshk".to_owned());
        let site = quoted(&self.beside(self.proxy.file()));
        match self.proxy {
            Proxy::Caddy => lines.extend([
                format!("install -m 644 {site} /etc/caddy/freshk.caddyfile"),
                "grep -q freshk.caddyfile /etc/caddy/Caddyfile || echo 'import freshk.caddyfile' >> /etc/caddy/Caddyfile"
                    .to_owned(),
                "systemctl reload caddy".to_owned(),
            ]),
            Proxy::Nginx => lines.extend([
                format!("install -m 644 {site} /etc/nginx/conf.d/freshk.conf"),
                "nginx -t && systemctl reload nginx".to_owned(),
            ]),
        }
        if self.config != Path::new(SYSTEM_FILE) {
            // It holds the secret.
            lines.push(format!("rm {}", quoted(&self.config)));
        }
        lines.push("cd /var/lib/freshk && runuser -u freshk -- freshk check".to_owned());
        lines
    }

    /// What the commands do not do.
    pub(super) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        if self.host == ANY_HOST {
            left.push(format!(
                "write the name of your server in place of {ANY_HOST} into {}",
                self.proxy.file()
            ));
        }
        if self.proxy == Proxy::Nginx {
            let path = format!("/etc/letsencrypt/live/{}", self.host);
            left.push(format!(
                "have a certificate in {path}, or write where it is into {}",
                self.proxy.file()
            ));
        }
        left
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.config.with_file_name(name)
    }
}

fn is_unpackaged() -> bool {
    installed_unit().is_none()
}

/// This program.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from(LOCAL))
}

/// Where the program is once it is installed: a home directory is closed to the unit.
fn installed(program: &Path) -> String {
    if program == Path::new(PACKAGED) { PACKAGED.to_owned() } else { LOCAL.to_owned() }
}

/// What a package does.
fn unpackaged(program: &Path, unit: &Path) -> Vec<String> {
    let mut lines = vec![
        "getent passwd freshk || useradd --system --user-group --home-dir /var/lib/freshk --shell /usr/sbin/nologin freshk"
            .to_owned(),
        "install -d -m 750 -o root -g freshk /etc/freshk".to_owned(),
        "install -d -m 700 -o freshk -g freshk /var/lib/freshk /var/backups/freshk".to_owned(),
    ];
    let installed = installed(program);
    if program != Path::new(&installed) {
        lines.push(format!("install -m 755 {} {installed}", quoted(program)));
    }
    lines.extend([
        format!("install -m 644 {} /etc/systemd/system/freshk.service", quoted(unit)),
        "systemctl daemon-reload".to_owned(),
    ]);
    lines
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b));
    if is_plain && !path.starts_with('-') { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

const CADDY: &str = "\
api.example.com {
\t@freshk path /api/mobile/auth/* /health/ready /.well-known/jwks.json
\thandle @freshk {
\t\treverse_proxy 127.0.0.1:8000 {
\t\t\theader_up X-Request-Id {http.request.uuid}
\t\t}
\t}
\thandle {
\t\trespond 404
\t}
}
";

const NGINX: &str = r#"upstream freshk {
    server 127.0.0.1:8000;
    keepalive 32;
    keepalive_timeout 60s;
}

server {
    listen 443 ssl;
    listen [::]:443 ssl;
    server_name api.example.com;
    ssl_certificate /etc/letsencrypt/live/api.example.com/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/api.example.com/privkey.pem;
    client_max_body_size 16k;

    location ~ ^(/api/mobile/auth/|/health/ready$|/\.well-known/jwks\.json$) {
        proxy_pass http://freshk;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Request-Id $request_id;
        proxy_read_timeout 40s;
    }
    location / {
        return 404;
    }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word_in_a_shell() {
        for (path, word) in [
            ("freshk.toml", "freshk.toml"),
            ("/srv/a b/freshk.toml", "'/srv/a b/freshk.toml'"),
            ("it's; rm -r /", r"'it'\''s; rm -r /'"),
            ("-x", "'-x'"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }

    #[test]
    fn the_unit_runs_the_program_where_it_will_be() {
        assert!(UNIT.contains("ExecStart=/usr/bin/freshk serve\n"));
        assert_eq!(installed(Path::new("/usr/bin/freshk")), "/usr/bin/freshk");
        assert_eq!(installed(Path::new("/root/.cargo/bin/freshk")), "/usr/local/bin/freshk");
    }
}
