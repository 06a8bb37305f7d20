//! `freshk serve`: the server.

use clap::Args;

/// Answer the phones
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  freshk serve --dev                        try it out: codes on the console, a secret of its own
  freshk serve --listen 127.0.0.1:9000      behind a proxy, on another port")]
pub struct ServeArgs {
    /// The address and port to listen on [default: server.listen]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Development: debug on, everything else at its default unless set
    #[arg(long)]
    pub dev: bool,
}
