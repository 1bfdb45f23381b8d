//! The loop: keys, messages and signals in, drawings and requests out.

use crate::daemon::Daemon;
use crate::input::Keys;
use crate::message::{Command, Key, Message};
use crate::screen::Screen;
use crate::state::{Notice, State};
use crate::theme::Theme;
use crate::view;
use hull_api::client::Client;
use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, sleep_until};

/// How many messages wait for the view: more, and whoever sends them waits.
const MESSAGES: usize = 256;
/// The least time between two drawings that no key asked for; and where only numbers have changed, which come from
/// each container at another time.
const PAUSE: Duration = Duration::from_millis(200);
const SAMPLES: Duration = Duration::from_secs(1);
/// Exit codes of shells for a command that cannot be run, or is not there.
const NO_COMMAND: [i32; 2] = [126, 127];

/// What the view is to look at.
#[derive(Debug)]
pub struct Options {
    /// The daemon.
    pub client: Arc<Client>,
    /// This command line's program with its global flags: shells are run by it.
    pub program: Vec<OsString>,
}

/// How the view ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The user has seen enough.
    Quit,
    /// A signal of this number; the caller says so with its exit code.
    Signal(i32),
}

/// Why there is no view.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the terminal")]
pub struct Error(#[from] io::Error);

/// Shows the view until the user leaves it. The terminal is as before afterwards, on every way out.
///
/// # Errors
/// When standard input and output are no terminal, or it goes away.
pub async fn run(options: Options) -> Result<Ended, Error> {
    let mut signals = Signals::catch()?;
    let (sender, messages) = mpsc::channel(MESSAGES);
    let mut top = Top {
        screen: Some(Screen::enter()?),
        keys: Some(Keys::start()?),
        daemon: Daemon::begin(options.client, sender),
        messages,
        state: State::new(Theme::of_environment()),
        program: options.program,
        drawn: None,
    };
    top.run(&mut signals).await
}

/// Everything that has to do with the terminal. Fields are dropped in this order: whoever reads keys ends before the
/// terminal is given back.
struct Top {
    keys: Option<Keys>,
    screen: Option<Screen>,
    daemon: Daemon,
    messages: Receiver<Message>,
    state: State,
    program: Vec<OsString>,
    /// When the last drawing was.
    drawn: Option<Instant>,
}

impl Top {
    async fn run(&mut self, signals: &mut Signals) -> Result<Ended, Error> {
        // When to draw, if anything has changed.
        let mut due = Some(Instant::now());
        loop {
            let commands = tokio::select! {
                biased;
                number = ended(&mut signals.ending) => return Ok(Ended::Signal(number)),
                key = next(&mut self.keys) => {
                    due = Some(Instant::now());
                    match key {
                        Some(key) => self.state.key(key),
                        // The terminal is gone; so is who looked at it.
                        None => return Ok(Ended::Quit),
                    }
                }
                () = at(due) => {
                    self.draw()?;
                    due = None;
                    continue;
                }
                _ = signals.window.recv() => {
                    due = Some(Instant::now());
                    continue;
                }
                message = self.messages.recv() => {
                    let pause = match message {
                        Some(Message::Sample(..)) => SAMPLES,
                        _ => PAUSE,
                    };
                    let soon = self.drawn.map_or_else(Instant::now, |drawn| drawn + pause);
                    due = Some(due.map_or(soon, |due| due.min(soon)));
                    match message {
                        Some(message) => {
                            self.daemon.look(&message);
                            self.state.message(message)
                        }
                        None => Vec::new(),
                    }
                }
            };
            for command in commands {
                if command == Command::Quit {
                    return Ok(Ended::Quit);
                }
                self.perform(command).await?;
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        self.state.now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        // What runs most may be another by now.
        self.state.containers.arrange();
        let state = &mut self.state;
        if let Some(screen) = &mut self.screen {
            screen.draw(|frame| {
                let area = frame.area();
                view::draw(state, area, frame.buffer_mut());
            })?;
        }
        self.drawn = Some(Instant::now());
        Ok(())
    }

    async fn perform(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Redraw => {
                if let Some(screen) = &mut self.screen {
                    screen.clear()?;
                }
            }
            Command::Suspend => self.suspend()?,
            Command::Shell { id, tools } => self.shell(&id, tools).await?,
            other => self.daemon.perform(other),
        }
        Ok(())
    }

    /// Lets somebody else have the terminal.
    fn give(&mut self) {
        self.keys = None;
        self.screen = None;
    }

    /// Takes it back.
    fn take(&mut self) -> Result<(), Error> {
        self.screen = Some(Screen::enter()?);
        self.keys = Some(Keys::start()?);
        Ok(())
    }

    /// Stops this program, as Ctrl-Z does with those that leave it to the terminal.
    fn suspend(&mut self) -> Result<(), Error> {
        self.give();
        // The whole job: the shell continues all of it again.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)
            .map_err(io::Error::from)?;
        self.take()
    }

    /// Runs a shell of this program's own making while the terminal is its.
    async fn shell(&mut self, id: &str, tools: bool) -> Result<(), Error> {
        let Some((program, globals)) = self.program.split_first() else {
            return Ok(());
        };
        let mut command = tokio::process::Command::new(program);
        command.args(globals);
        if tools {
            command.args(["debug", id]);
        } else {
            let script = "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi";
            command.args(["exec", "-it", id, "sh", "-c", script]);
        }
        command.kill_on_drop(true);
        self.give();
        let ended = match command.spawn() {
            Ok(mut child) => child.wait().await,
            Err(error) => Err(error),
        };
        self.take()?;
        self.state.notice = told(ended, tools);
        Ok(())
    }
}

/// What to say of a shell that has ended.
fn told(ended: io::Result<ExitStatus>, tools: bool) -> Option<Notice> {
    let text = match ended {
        Ok(status) => match status.code() {
            Some(code) if NO_COMMAND.contains(&code) && !tools => {
                "there is no shell in it; d brings one with tools".to_owned()
            }
            Some(125) => "the shell could not be started".to_owned(),
            _ => return None,
        },
        Err(error) => format!("cannot run a shell: {error}"),
    };
    Some(Notice { text, failed: true })
}

async fn next(keys: &mut Option<Keys>) -> Option<Key> {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Signals that end the view, and changes of the terminal's size.
struct Signals {
    ending: [(i32, Signal); 4],
    window: Signal,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let one = |kind: SignalKind| Ok::<_, io::Error>((kind.as_raw_value(), signal(kind)?));
        Ok(Self {
            ending: [
                one(SignalKind::hangup())?,
                one(SignalKind::interrupt())?,
                one(SignalKind::quit())?,
                one(SignalKind::terminate())?,
            ],
            window: signal(SignalKind::window_change())?,
        })
    }
}

/// The number of the next signal that ends the view.
async fn ended([hup, int, quit, term]: &mut [(i32, Signal); 4]) -> i32 {
    tokio::select! {
        _ = hup.1.recv() => hup.0,
        _ = int.1.recv() => int.0,
        _ = quit.1.recv() => quit.0,
        _ = term.1.recv() => term.0,
    }
}
