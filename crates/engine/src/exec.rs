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
    pub privileged: bool,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
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
    pub id: String,
    pub container_id: String,
    pub config: ExecConfig,
    /// The user it runs as, the container's filled in.
    pub user: String,
    pub running: bool,
    /// `None` until it has ended.
    pub exit_code: Option<i32>,
    /// 0 before it was started.
    pub pid: i32,
}
