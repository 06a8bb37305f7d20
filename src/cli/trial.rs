//! A server in this process, on a copy of the database and a free port of this machine alone, for one login.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::wiring::{self, Service};
use super::{CliError, selftest};
use crate::auth::Auth;
use crate::auth::operator::{self, Means, TestNumberRefusal};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::config::sms::Provider;
use crate::config::tls::Tls;
use crate::domain::Listen;
use crate::domain::keys::KeyRing;
use crate::domain::test_number::Source;
use crate::domain::{HttpUrl, NewTestNumber, PhoneNumber, PhonePolicy};
use crate::http::server;
use crate::random::{self, Random, SystemRandom};
use crate::storage::{Locks, Store};

/// How long the test number is one.
const LIFETIME: Duration = Duration::from_hours(1);

/// How long what is under way has to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many numbers and codes are drawn before it is given up.
const DRAWS: usize = 100;

/// A server.
pub struct Server {
    runtime: Runtime,
    serving: JoinHandle<()>,
    stop: CancellationToken,
    auth: Arc<Auth>,
    store: Store,
    clock: Arc<dyn Clock>,
    means: Means,
    address: Listen,
    code_length: usize,
}

/// What a configuration becomes on a copy: nothing leaves this process.
pub fn harmless(mut config: Config) -> Config {
    config.sms.provider = Provider::Console;
    config.sms.test_numbers = Vec::new();
    config.webhooks = Vec::new();
    config.backup.dir = None;
    config.backup.command = None;
    config.ops.listen = None;
    config.phone = PhonePolicy::lenient(1);
    config.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
    config.server.tls = Tls::default();
    config.server.allowed_hosts = Vec::new();
    config.server.trusted_proxies = Vec::new();
    config
}

impl Server {
    /// Opens the database and serves it.
    ///
    /// # Errors
    /// Whatever would keep a server from starting.
    pub fn start(config: &Config) -> Result<Self, CliError> {
        let clock = Arc::new(SystemClock::new());
        let engine = Engine::open(config, &*clock)?;
        let clock: Arc<dyn Clock> = clock;
        let secret = super::secret(config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(CliError::Runtime)?;
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let entered = runtime.enter();
        let Service { auth, store, endpoint, outbox, .. } =
            wiring::build(config, &secret, engine, clock.clone(), random)?;
        let listener = server::bind(&config.server.listen)?;
        let address = listener.address().map_err(CliError::Runtime)?;
        drop(entered);
        runtime.block_on(auth.settle_after_restart()).map_err(CliError::Database)?;
        let keys = Arc::new(KeyRing::new(&secret, &config.secret_key_fallbacks));
        let stop = CancellationToken::new();
        let (settings, asked) = (wiring::server_settings(config), stop.clone().cancelled_owned());
        let serving = runtime.spawn(server::serve(listener, endpoint, settings, clock.clone(), asked));
        let means = Means { keys, outbox };
        let code_length = config.otp.length;
        Ok(Self { runtime, serving, stop, auth, store, clock, means, address, code_length })
    }

    /// Makes the calls of an app with a test number that is nobody's.
    ///
    /// # Errors
    /// [`CliError`] at the first answer that is not as expected.
    pub fn log_in(&self) -> Result<(), CliError> {
        let (phone, code) = self.test_number()?;
        let url = HttpUrl::parse(&format!("http://{}", self.address))
            .map_err(|error| CliError::Runtime(io::Error::other(error.to_string())))?;
        selftest::log_in_and_out(url, &phone, &code)
    }

    /// Stops in good order.
    ///
    /// # Errors
    /// [`CliError`] where it could not.
    pub fn stop(self) -> Result<(), CliError> {
        self.stop.cancel();
        self.runtime.block_on(async {
            let served = tokio::time::timeout(PATIENCE, self.serving).await;
            let done = self.auth.finish(PATIENCE).await;
            self.store.close().await;
            if done && matches!(served, Ok(Ok(()))) {
                return Ok(());
            }
            Err(CliError::refused("the server on the copy did not stop", "report this as a bug of freshk"))
        })
    }

    /// Draws a number that nobody has, and its code.
    fn test_number(&self) -> Result<(PhoneNumber, String), CliError> {
        for _ in 0..DRAWS {
            let digits = random::code(&SystemRandom, 7);
            let Ok(phone) = PhoneNumber::parse(&format!("+1555{}", digits.digits()), 1) else { continue };
            let code = random::code(&SystemRandom, self.code_length);
            let digits = code.digits().to_owned();
            let until = self.clock.now() + LIFETIME;
            let Ok(new) = NewTestNumber::new(phone.clone(), code, until, false) else { continue };
            match self.adopt(new)? {
                Ok(()) => return Ok((phone, digits)),
                Err(TestNumberRefusal::User(_)) => {}
                Err(refusal) => {
                    let problem = format!("the copy takes no test number: {refusal:?}");
                    return Err(CliError::refused(problem, "report this as a bug of freshk"));
                }
            }
        }
        Err(CliError::refused("no number was found that is nobody's", "run the drill again"))
    }

    /// Makes it the one test number of the copy.
    fn adopt(&self, new: NewTestNumber) -> Result<Result<(), TestNumberRefusal>, CliError> {
        let store = &self.store;
        let kept = self.runtime.block_on(store.read(|view| view.test_numbers()))?;
        let locks =
            Locks::none().test_numbers().phone(&new.phone).phones(kept.iter().map(|number| &number.phone));
        let others: Vec<_> = kept
            .into_iter()
            .filter(|number| number.source == Source::Command)
            .map(|number| number.phone)
            .collect();
        let act = operator::act(store, locks, self.clock.now(), self.means.clone(), move |operator| {
            for other in &others {
                let _ = operator.remove_test_number(other)?;
            }
            operator.adopt_test_numbers(std::slice::from_ref(&new))
        });
        Ok(self.runtime.block_on(act)?.map(drop).map_err(|(_, refusal)| refusal))
    }
}
