//! Processes started in running containers.

/// What to run beside a container's own process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// Not empty.
    pub args: Vec<String>,
    /// Added to the container's.
    pub env: Vec<String>,
    /// Empty: the container's.
    pub working_dir: String,
    /// Empty: the container's.
    pub user: String,
    /// With all capabilities.
    pub privileged: bool,
    /// The process gets a pseudo-terminal.
    pub tty: bool,
    /// Its input comes from the client.
    pub stdin: bool,
    /// The client gets its output.
    pub stdout: bool,
    /// The client gets its errors.
    pub stderr: bool,
    /// Docker's text; empty for the default. The engine only keeps it.
    pub detach_keys: String,
    /// Rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// How to start it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecStart {
    /// Nobody listens.
    pub detach: bool,
    /// Rows, columns; overrides the configuration's.
    pub console_size: Option<(u16, u16)>,
}

/// One exec, for inspect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecDetails {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Where it runs.
    pub container_id: String,
    /// What was asked for.
    pub config: ExecConfig,
    /// The user it runs as, the container's filled in.
    pub user: String,
    /// It was started and has not ended.
    pub running: bool,
    /// `None` until it has ended.
    pub exit_code: Option<i32>,
    /// 0 before it was started.
    pub pid: i32,
}
