//! How a command ends when it does not succeed.

use hull_api::client;

/// Anything that makes the exit code other than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit quietly: the container's own code, or everything has been said.
    Exit(u8),
    /// Print `message`, exit with `code`.
    Message { code: u8, message: String },
    /// A request failed.
    Client(client::Error),
}

impl Failure {
    /// A message with exit code 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::with_code(1, message)
    }

    /// A message with an exit code.
    pub(crate) fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self::Message {
            code,
            message: message.into(),
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Exit(code) | Self::Message { code, .. } => *code,
            Self::Client(_) => 1,
        }
    }

    /// What to print on standard error, if anything.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Exit(_) => None,
            Self::Message { message, .. } => Some(message.clone()),
            Self::Client(error) => Some(client_message(error)),
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::Client(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // Whoever read our output went away: end as programs do that SIGPIPE ends.
            return Self::Exit(141);
        }
        Self::new(chain(&error))
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// An error of the client in Docker's words.
pub(crate) fn client_message(error: &client::Error) -> String {
    match error {
        client::Error::Daemon { message, .. } => format!("Error response from daemon: {message}"),
        client::Error::Connect {
            endpoint,
            source,
            start,
        } => match source.kind() {
            std::io::ErrorKind::PermissionDenied => format!(
                "permission denied while trying to connect to the Docker daemon socket at {endpoint}: {source}"
            ),
            _ => {
                let hint = match start {
                    None => String::new(),
                    Some(error) if error.kind() == std::io::ErrorKind::Unsupported => format!(
                        "\nhint: it is a service of this host: start it with `systemctl start {}`",
                        crate::autostart::UNIT
                    ),
                    Some(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                        "\nhint: start it as root with `hull daemon`".to_owned()
                    }
                    Some(error) => format!("\nhint: starting it failed: {error}"),
                };
                format!(
                    "Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?{hint}"
                )
            }
        },
        _ => chain(error),
    }
}

/// The result of a command.
pub(crate) type Outcome = Result<(), Failure>;
