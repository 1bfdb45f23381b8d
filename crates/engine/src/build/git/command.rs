//! The program `git`, in an environment that has nothing of this host's but its network: no configuration, no hooks,
//! no transport to local files, nobody to be asked.

use super::{is_commit, password, shown};
use crate::Engine;
use crate::build::images::With;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hull_build::graph::GitSource;
use hull_build::progress::Stream;
use hull_build::world::{Job, WorldError, WorldResult};
use hull_linux::process::{dying_with_parent, without_blocked_signals};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Transports that may be used; a repository's submodules are somebody else's words.
const TRANSPORTS: &str = "http:https:git:ssh";
/// What of an answer is read: a hostile server must not fill the memory.
const MAX_ANSWER: u64 = 32 << 20;
/// What of a complaint is told.
const MAX_COMPLAINT: usize = 4 << 10;
/// Variables of the daemon's environment that concern the network.
const PROXIES: [&str; 8] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// The program for one source.
pub(super) struct Git<'a> {
    job: &'a Job<'a>,
    environment: Vec<(OsString, OsString)>,
    /// Settings of every call.
    settings: Vec<(String, String)>,
    /// Is not to be told.
    secret: Option<String>,
    /// What the agent and known hosts are in.
    _place: Option<Place>,
    /// The client's agent.
    _agent: Option<Box<dyn Send>>,
}

/// A directory that goes with this.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

/// What a call says.
struct Said {
    out: Vec<u8>,
    complaint: String,
    success: bool,
    /// In Go's words.
    end: String,
}

impl<'a> Git<'a> {
    pub(super) fn new(
        engine: &Engine,
        source: &GitSource,
        (job, _): With<'a>,
    ) -> WorldResult<Self> {
        let mut git = Self {
            job,
            environment: environment(),
            settings: [
                ("core.hooksPath", "/dev/null"),
                ("core.fsmonitor", "false"),
                ("core.untrackedCache", "false"),
                ("gc.auto", "0"),
                ("maintenance.auto", "false"),
                ("advice.detachedHead", "false"),
                ("init.defaultBranch", "main"),
                ("protocol.version", "2"),
                ("submodule.fetchJobs", "4"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
            secret: password(&source.remote).map(str::to_owned),
            _place: None,
            _agent: None,
        };
        if source.remote.starts_with("http://") || source.remote.starts_with("https://") {
            git.authorize(source)?;
        } else if !source.remote.starts_with("git://") {
            git.by_ssh(engine, source)?;
        }
        Ok(git)
    }

    /// Takes the header or token that the client has for the host, as BuildKit looks for it.
    fn authorize(&mut self, source: &GitSource) -> WorldResult<()> {
        let Some((scheme, rest)) = source.remote.split_once("://") else {
            return Ok(());
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let names = [
            (false, &source.auth_header_secret),
            (true, &source.auth_token_secret),
        ];
        for (token, name) in names.into_iter().filter(|(_, name)| !name.is_empty()) {
            for id in [format!("{name}.{host}"), name.clone()] {
                let Some(bytes) = self.job.client.secret(&id)? else {
                    continue;
                };
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                let header = match token {
                    true => format!(
                        "basic {}",
                        STANDARD.encode(format!("x-access-token:{text}"))
                    ),
                    false => text,
                };
                // Only that server is told.
                let scope = format!("http.{scheme}://{host}/.extraHeader");
                self.settings
                    .push((scope, format!("Authorization: {header}")));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Lets ssh use the client's agent, and no key of this host's.
    fn by_ssh(&mut self, engine: &Engine, source: &GitSource) -> WorldResult<()> {
        let failed = |error: std::io::Error| WorldError::caused("prepare ssh", error);
        let directory = engine
            .config
            .exec_root
            .join("git")
            .join(&crate::names::id()[..16]);
        let place = Place(directory);
        fs_err::create_dir_all(&place.0).map_err(failed)?;
        rustix::fs::chmod(&place.0, rustix::fs::Mode::RWXU).map_err(|e| failed(e.into()))?;
        let mut ssh = "ssh -F /dev/null -o IdentityFile=/dev/null -o BatchMode=yes".to_owned();
        if source.known_ssh_hosts.is_empty() {
            ssh.push_str(
                " -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR",
            );
        } else {
            let file = place.0.join("known_hosts");
            fs_err::write(&file, &source.known_ssh_hosts).map_err(failed)?;
            ssh.push_str(&format!(" -o UserKnownHostsFile={}", file.display()));
        }
        self.environment
            .push(("GIT_SSH_COMMAND".into(), ssh.into()));
        if !source.ssh.is_empty() {
            let socket = place.0.join("agent");
            let listener = UnixListener::bind(&socket).map_err(failed)?;
            self._agent = self.job.client.ssh(&source.ssh, listener)?;
            if self._agent.is_some() {
                self.environment
                    .push(("SSH_AUTH_SOCK".into(), socket.into()));
            }
        }
        self._place = Some(place);
        Ok(())
    }

    /// The commit that a reference stands for; of none the remote's `HEAD`. Branches come before tags, as with
    /// `git checkout`.
    pub(super) fn resolve(&self, source: &GitSource) -> WorldResult<String> {
        let remote = source.remote.as_str();
        let name = match source.reference.as_str() {
            "" => "HEAD",
            name => name,
        };
        let peeled = format!("{name}^{{}}");
        let said = self.run(None, &["ls-remote", "--", remote, name, &peeled], false)?;
        if !said.success {
            let doing = match source.reference.as_str() {
                "" => "error fetching default branch for repository",
                _ => "failed to fetch remote",
            };
            return Err(self.failed(&format!("{doing} {}", shown(remote)), &said));
        }
        let text = String::from_utf8_lossy(&said.out);
        let short = name.strip_prefix("refs/").unwrap_or(name);
        let wanted = [
            format!(
                "refs/heads/{}",
                name.strip_prefix("refs/heads/").unwrap_or(name)
            ),
            format!(
                "refs/tags/{}^{{}}",
                name.strip_prefix("refs/tags/").unwrap_or(name)
            ),
            format!(
                "refs/tags/{}",
                name.strip_prefix("refs/tags/").unwrap_or(name)
            ),
            format!("refs/{short}^{{}}"),
            format!("refs/{short}"),
            name.to_owned(),
        ];
        let of = |wanted: &String| {
            let mut lines = text.lines().filter_map(|line| line.split_once('\t'));
            let (commit, _) = lines.find(|(_, reference)| reference == wanted)?;
            is_commit(commit).then(|| commit.to_owned())
        };
        let found = wanted.iter().find_map(of);
        found.ok_or_else(|| match source.reference.as_str() {
            "" => WorldError::other(format!(
                "could not find default branch for repository: {}",
                shown(remote)
            )),
            name => WorldError::other(format!(
                "repository does not contain ref {name}, output: {text:?}"
            )),
        })
    }

    /// Sees to it that the repository at `path` has the commit.
    pub(super) fn bring(
        &self,
        path: &Path,
        (source, commit): (&GitSource, &str),
    ) -> WorldResult<()> {
        fs_err::create_dir_all(path).map_err(|e| WorldError::caused("make a repository", e))?;
        // What a killed daemon's git has locked, nobody works on.
        for lock in [
            "shallow.lock",
            "config.lock",
            "HEAD.lock",
            "packed-refs.lock",
        ] {
            let _ = fs_err::remove_file(path.join(lock));
        }
        self.done(path, &["init", "--quiet", "--bare", "--template=", "."])?;
        let object = format!("{commit}^{{commit}}");
        let has = || {
            Ok::<_, WorldError>(
                self.run(Some(path), &["cat-file", "-e", &object], false)?
                    .success,
            )
        };
        if has()? {
            return Ok(());
        }
        let remote = source.remote.as_str();
        let keep = format!("+{commit}:refs/hull/{commit}");
        let alone = [
            "fetch",
            "--progress",
            "--depth=1",
            "--no-tags",
            "--",
            remote,
            &keep,
        ];
        if self.run(Some(path), &alone, true)?.success && has()? {
            return Ok(());
        }
        // The server gives only what its references name: all of them, then.
        let mut all = vec!["fetch", "--progress", "--force", "--tags"];
        if path.join("shallow").exists() {
            all.push("--unshallow");
        }
        all.extend(["--", remote, "+refs/heads/*:refs/heads/*"]);
        let said = self.run(Some(path), &all, true)?;
        if !said.success {
            return Err(self.failed(&format!("failed to fetch remote {}", shown(remote)), &said));
        }
        match has()? {
            true => Ok(()),
            false => Err(WorldError::other(format!(
                "repository {} does not contain commit {commit}",
                shown(remote)
            ))),
        }
    }

    /// Makes a worktree of a commit.
    pub(super) fn check_out(
        &self,
        repository: &Path,
        path: &Path,
        (source, commit): (&GitSource, &str),
    ) -> WorldResult<()> {
        let failed = |error: std::io::Error| WorldError::caused("check out a commit", error);
        self.done(path, &["init", "--quiet", "--template=", "."])?;
        let origin = ["config", "remote.origin.url", source.remote.as_str()];
        self.done(path, &origin)?;
        let own = path.join(".git");
        if source.keep_git_dir {
            self.copy_history(repository, path, commit)?;
        } else {
            // It lives no longer than the repository whose objects it uses.
            let objects = repository.join("objects").display().to_string();
            let alternates = own.join("objects/info");
            fs_err::create_dir_all(&alternates).map_err(failed)?;
            fs_err::write(alternates.join("alternates"), format!("{objects}\n")).map_err(failed)?;
        }
        self.done(
            path,
            &["checkout", "--quiet", "--force", "--detach", commit],
        )?;
        if !source.skip_submodules && path.join(".gitmodules").is_file() {
            let update = ["submodule", "update", "--init", "--recursive", "--depth=1"];
            let said = self.run(Some(path), &update, true)?;
            if !said.success {
                let text = format!("failed to update submodules for {}", shown(&source.remote));
                return Err(self.failed(&text, &said));
            }
        }
        if !source.keep_git_dir {
            return fs_err::remove_dir_all(&own).map_err(failed);
        }
        let origin = ["config", "remote.origin.url", &shown(&source.remote)];
        self.done(path, &origin)?;
        for leftover in ["FETCH_HEAD", "ORIG_HEAD", "logs"] {
            let leftover = own.join(leftover);
            let _ = fs_err::remove_dir_all(&leftover).or_else(|_| fs_err::remove_file(&leftover));
        }
        Ok(())
    }

    /// A worktree of its own gets the commit's objects.
    fn copy_history(&self, repository: &Path, path: &Path, commit: &str) -> WorldResult<()> {
        let from = repository.display().to_string();
        let fetch = [
            "fetch",
            "--quiet",
            "--update-head-ok",
            "--depth=1",
            "--no-tags",
            "--",
            &from,
            commit,
        ];
        let mut command = self.command(Some(path), &fetch);
        command.env("GIT_ALLOW_PROTOCOL", "file");
        let said = self.said(command, false)?;
        match said.success {
            true => Ok(()),
            false => Err(self.failed("failed to copy a commit", &said)),
        }
    }

    fn done(&self, path: &Path, words: &[&str]) -> WorldResult<()> {
        let said = self.run(Some(path), words, false)?;
        match said.success {
            true => Ok(()),
            false => Err(self.failed(&format!("git {}", words[0]), &said)),
        }
    }

    fn failed(&self, doing: &str, said: &Said) -> WorldError {
        let Said { complaint, end, .. } = said;
        WorldError::other(format!("{doing}: git stderr:\n{complaint}: {end}"))
    }

    fn run(&self, path: Option<&Path>, words: &[&str], told: bool) -> WorldResult<Said> {
        self.said(self.command(path, words), told)
    }

    fn command(&self, path: Option<&Path>, words: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.env_clear().envs(self.environment.iter().cloned());
        // Not as words of the command, which everybody on the host sees.
        command.env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (number, (key, value)) in self.settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        command
            .args(words)
            .current_dir(path.unwrap_or(Path::new("/")));
        command.stdin(Stdio::null()).process_group(0);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end, or the build's; `told`: what it says is for who watches.
    fn said(&self, mut command: Command, told: bool) -> WorldResult<Said> {
        self.job.cancel.check()?;
        let child = dying_with_parent(without_blocked_signals(&mut command)).spawn();
        let mut child = child.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => WorldError::other(
                "failed to find git: exec: \"git\": executable file not found in $PATH",
            ),
            _ => WorldError::caused("start git", error),
        })?;
        let killed = Arc::new(Mutex::new(pid_of(&child)));
        let ends = self.ends(&killed);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (job, secret) = (self.job, self.secret.as_deref());
        let (out, complaint) = std::thread::scope(|scope| {
            let complaints = scope.spawn(|| match err {
                Some(err) => hear(err, told.then_some(job), secret),
                None => String::new(),
            });
            let mut bytes = Vec::new();
            if let Some(out) = out {
                // What is cut off is no answer to anything: git fails writing the rest.
                let _ = out.take(MAX_ANSWER).read_to_end(&mut bytes);
            }
            (bytes, complaints.join().unwrap_or_default())
        });
        // It is not reaped as long as somebody may kill it: its number is its own until then. Who cancels may be on the way even
        // after `ends` is dropped.
        if let Some(pid) = pid_of(&child) {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), options) {}
        }
        drop(ends);
        *killed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let status = child
            .wait()
            .map_err(|e| WorldError::caused("wait for git", e))?;
        self.job.cancel.check()?;
        Ok(Said {
            out,
            complaint,
            success: status.success(),
            end: match status.code() {
                Some(code) => format!("exit status {code}"),
                None => "signal: killed".to_owned(),
            },
        })
    }

    /// Kills the child when the build ends, and its own children: the one that talks to the server would wait for that
    /// as long as it likes, with our end of what it says.
    fn ends(&self, group: &Arc<Mutex<Option<Pid>>>) -> hull_build::world::OnCancel {
        let group = Arc::clone(group);
        self.job.cancel.on_cancel(move || {
            if let Some(group) = *group.lock().unwrap_or_else(PoisonError::into_inner) {
                // One that has ended already needs no signal.
                let _ = kill_process_group(group, Signal::KILL);
            }
        })
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// Reads what git complains about and tells it; the end of it is kept.
fn hear(mut err: impl Read, told: Option<&Job<'_>>, secret: Option<&str>) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = err.read(&mut buffer) {
        if let Some(job) = told {
            let text = without(secret, &String::from_utf8_lossy(&buffer[..count]));
            job.log(Stream::Stderr, text.as_bytes());
        }
        kept.extend_from_slice(&buffer[..count]);
        if kept.len() > 2 * MAX_COMPLAINT {
            kept.drain(..kept.len() - MAX_COMPLAINT);
        }
    }
    without(secret, &String::from_utf8_lossy(&kept))
}

fn without(secret: Option<&str>, text: &str) -> String {
    match secret {
        Some(secret) => text.replace(secret, "xxxxx"),
        None => text.to_owned(),
    }
}

fn environment() -> Vec<(OsString, OsString)> {
    let own = |name: &str| Some((OsString::from(name), std::env::var_os(name)?));
    let path = std::env::var_os("PATH");
    let path = path
        .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
    let fixed = [
        ("HOME", "/dev/null"),
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", "/bin/false"),
        ("GIT_ALLOW_PROTOCOL", TRANSPORTS),
    ];
    let fixed = fixed.map(|(key, value)| (OsString::from(key), OsString::from(value)));
    let proxies = PROXIES.iter().filter_map(|name| own(name));
    fixed
        .into_iter()
        .chain(proxies)
        .chain([("PATH".into(), path)])
        .collect()
}
