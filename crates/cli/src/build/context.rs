//! What is built from: a directory, an archive or a Dockerfile from standard input, or something elsewhere.

use crate::failure::Failure;
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The name of the Dockerfile.
const DOCKERFILE: &str = "Dockerfile";

/// A directory that is ours and goes with this.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        for number in 0.. {
            let name = format!("hull-build-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("no name is free for a directory"))
    }
}

/// What is built from.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// What the frontend is told of it.
    pub(super) attributes: BTreeMap<String, String>,
    /// Directories by name.
    pub(super) directories: BTreeMap<String, PathBuf>,
    scratch: Vec<Scratch>,
}

/// Where files are.
#[derive(Debug)]
pub(super) enum Place {
    /// Here.
    Directory(PathBuf),
    /// Where the daemon gets them.
    Elsewhere(String),
}

impl Place {
    /// What a word names.
    pub(super) fn of(text: &str) -> Result<Self, Failure> {
        if is_elsewhere(text) {
            return Ok(Self::Elsewhere(text.to_owned()));
        }
        let path = fs_err::canonicalize(text).map_err(|error| not_found(text, &error))?;
        if !path.is_dir() {
            let text = format!("unable to prepare context: path {text:?} is no directory");
            return Err(Failure::new(text));
        }
        Ok(Self::Directory(path))
    }
}

fn not_found(text: &str, error: &io::Error) -> Failure {
    Failure::new(match error.kind() {
        io::ErrorKind::NotFound => format!("unable to prepare context: path {text:?} not found"),
        _ => format!("unable to prepare context: {error}"),
    })
}

/// URLs, repositories and images, as BuildKit's clients know them.
fn is_elsewhere(text: &str) -> bool {
    const SCHEMES: &[&str] = &[
        "http://",
        "https://",
        "git://",
        "ssh://",
        "git@",
        "github.com/",
        "docker-image://",
        "oci-layout://",
        "target:",
    ];
    SCHEMES.iter().any(|scheme| text.starts_with(scheme))
}

impl Context {
    /// What `typed` names, with the Dockerfile `file`; `-` is standard input for one of them.
    pub(super) fn open(typed: &str, file: &str) -> Result<Self, Failure> {
        let mut context = Self::default();
        match (typed, file) {
            ("", _) => {
                return Err(Failure::new("a context is needed: a directory, a URL or -"));
            }
            ("-", "-") => {
                let text =
                    "invalid argument: can't use stdin for both build context and dockerfile";
                return Err(Failure::new(text));
            }
            ("-", file) => context.take_stdin(file)?,
            (_, "-") => {
                context.take_place(typed)?;
                let text = read_stdin()?;
                context.dockerfile_text(&text)?;
            }
            (_, file) => {
                context.take_place(typed)?;
                context.dockerfile(file)?;
            }
        }
        Ok(context)
    }

    /// Whether some of it is there for this build alone.
    pub(super) fn is_scratch(&self) -> bool {
        !self.scratch.is_empty()
    }

    fn take_place(&mut self, typed: &str) -> Result<(), Failure> {
        match Place::of(typed)? {
            Place::Directory(path) => {
                self.directories.insert("context".to_owned(), path);
            }
            Place::Elsewhere(url) => self.set("context", &url),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) {
        self.attributes.insert(key.to_owned(), value.to_owned());
    }

    /// The Dockerfile's directory is sent apart from the context's.
    fn dockerfile(&mut self, file: &str) -> Result<(), Failure> {
        let Some(context) = self.directories.get("context").cloned() else {
            // It is in what the daemon gets.
            if !file.is_empty() {
                self.set("filename", file);
            }
            return Ok(());
        };
        let path = match file {
            "" => context.join(DOCKERFILE),
            // As Docker's clients find it: beside us, else in the context.
            file if !Path::new(file).exists() => context.join(file),
            file => PathBuf::from(file),
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = fs_err::canonicalize(directory).map_err(|_| {
            Failure::new(format!(
                "failed to read dockerfile: open {}: no such file or directory",
                path.display()
            ))
        })?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.set("filename", &name);
        self.directories.insert("dockerfile".to_owned(), directory);
        Ok(())
    }

    fn dockerfile_text(&mut self, text: &[u8]) -> Result<(), Failure> {
        let scratch = Scratch::new()?;
        fs_err::write(scratch.0.join(DOCKERFILE), text)?;
        self.set("filename", DOCKERFILE);
        let directory = scratch.0.clone();
        self.directories.insert("dockerfile".to_owned(), directory);
        // Of a context elsewhere it must not be looked for there.
        if !self.directories.contains_key("context") {
            self.set("dockerfilekey", "dockerfile");
        }
        self.scratch.push(scratch);
        Ok(())
    }

    /// The Dockerfile of a context that came as an archive.
    fn unpacked(&mut self, context: &Path, file: &str) -> Result<(), Failure> {
        let file = if file.is_empty() { DOCKERFILE } else { file };
        let path = context.join(file.trim_start_matches('/'));
        self.dockerfile(&path.display().to_string())
    }

    /// An archive, or a Dockerfile with nothing beside it.
    fn take_stdin(&mut self, file: &str) -> Result<(), Failure> {
        let mut stdin = io::stdin().lock();
        let mut head = vec![0; 512];
        let mut length = 0;
        while length < head.len() {
            match stdin.read(&mut head[length..])? {
                0 => break,
                count => length += count,
            }
        }
        head.truncate(length);
        let scratch = Scratch::new()?;
        let context = scratch.0.clone();
        self.directories
            .insert("context".to_owned(), context.clone());
        self.scratch.push(scratch);
        if is_archive(&head) {
            super::output::unpack(&mut head.chain(stdin), &context)?;
            return self.unpacked(&context, file);
        }
        if let Some(mut plain) = super::inflate::inflated(&head, head.chain(&mut stdin))? {
            super::output::unpack(&mut plain, &context)?;
            return self.unpacked(&context, file);
        }
        if head.is_empty() {
            return Err(Failure::new(
                "no context and no Dockerfile: standard input is empty",
            ));
        }
        let mut text = head;
        stdin.read_to_end(&mut text)?;
        self.dockerfile_text(&text)
    }
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text)?;
    Ok(text)
}

/// Whether these are the first bytes of a tar archive: its checksum is right.
fn is_archive(head: &[u8]) -> bool {
    let Ok(head) = <&[u8; 512]>::try_from(head) else {
        return false;
    };
    let field = std::str::from_utf8(&head[148..156]).unwrap_or_default();
    let field = field.trim_matches([' ', '\0']);
    let Ok(expected) = u32::from_str_radix(field, 8) else {
        return false;
    };
    // The checksum's own bytes count as spaces.
    let sum: u32 = head
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        })
        .sum();
    sum == expected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_known_by_its_checksum() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_cksum();
        builder.append_data(&mut header, "a", &[][..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        assert!(is_archive(&bytes[..512]));
        let mut text = b"FROM scratch\n".to_vec();
        assert!(!is_archive(&text));
        text.resize(512, b'#');
        assert!(!is_archive(&text));
    }

    #[test]
    fn a_dockerfile_is_in_its_own_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs_err::canonicalize(dir.path()).unwrap();
        fs_err::create_dir(root.join("d")).unwrap();
        let typed = root.display().to_string();
        let plain = Context::open(&typed, "").unwrap();
        assert_eq!(plain.directories["dockerfile"], root);
        assert_eq!(plain.attributes["filename"], DOCKERFILE);
        let other = Context::open(&typed, &format!("{typed}/d/x.Dockerfile")).unwrap();
        assert_eq!(other.directories["dockerfile"], root.join("d"));
        assert_eq!(other.attributes["filename"], "x.Dockerfile");
        let git = Context::open("https://h/r.git#main", "x").unwrap();
        assert_eq!(git.attributes["context"], "https://h/r.git#main");
        assert_eq!(git.attributes["filename"], "x");
        assert!(git.directories.is_empty());
        assert!(Context::open("/nowhere/at/all", "").is_err());
        assert!(Context::open("-", "-").is_err());
    }
}
