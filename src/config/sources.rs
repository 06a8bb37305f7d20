//! Where the configuration may come from, as arguments.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the configuration may come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`: a file that must exist. `FRESHK_CONFIG` in the environment names one too.
    pub config: Option<PathBuf>,
    /// `--env-file`: a file that must exist.
    pub env_file: Option<PathBuf>,
    /// `--database`
    pub database: Option<String>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--dev`: debug, whatever the other layers say.
    pub dev: bool,
    /// `--no-limits`: no quota and no flood guard, whatever the other layers say.
    pub no_limits: bool,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// What relative names of files are relative to.
    pub directory: PathBuf,
    /// The user's number. What nobody names is read in the working directory only if it is this user's or root's; `None`: it is
    /// not asked whose it is.
    pub user: Option<u32>,
    /// The file that is read last of those that nobody names: `/etc/freshk/freshk.toml`; empty: none.
    pub system_file: PathBuf,
}
