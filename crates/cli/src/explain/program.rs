//! What a file is that was to be executed: read from its first bytes, which are a stranger's.

/// What executes a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// Machine code for this kind of processor; `loader` brings its libraries.
    Elf {
        machine: u16,
        loader: Option<String>,
    },
    /// `#!`: the interpreter's path; `carriage` is whether its line ends as on Windows.
    Script { interpreter: String, carriage: bool },
    /// Neither: no kernel executes it by itself.
    Unknown,
}

/// Type of the header that names the loader (elf(5), `PT_INTERP`).
const PT_INTERP: u64 = 3;
/// More headers than a real program has.
const MAX_HEADERS: u64 = 64;
/// `PATH_MAX` of linux/limits.h.
const MAX_PATH: u64 = 4096;

/// Machines (elf(5), `e_machine`) with the names that images and kernels have for them.
const MACHINES: &[(u16, &str, &[&str])] = &[
    (3, "386", &["i386", "i686"]),
    (21, "ppc64le", &["ppc64le"]),
    (22, "s390x", &["s390x"]),
    (40, "arm", &["armv6l", "armv7l"]),
    (62, "amd64", &["x86_64"]),
    (183, "arm64", &["aarch64"]),
    (243, "riscv64", &["riscv64"]),
    (258, "loong64", &["loongarch64"]),
];

/// An architecture's name in images.
pub(super) fn machine_name(machine: u16) -> Option<&'static str> {
    let found = MACHINES.iter().find(|(number, ..)| *number == machine);
    found.map(|(_, name, _)| *name)
}

/// The same for what kernels call it.
pub(super) fn host_name(kernel: &str) -> Option<&'static str> {
    let found = MACHINES
        .iter()
        .find(|(_, _, names)| names.contains(&kernel));
    found.map(|(_, name, _)| *name)
}

/// Whether a host runs programs of an architecture without emulation.
pub(super) fn runs(host: &str, program: &str) -> bool {
    host == program || matches!((host, program), ("amd64", "386") | ("arm64", "arm"))
}

impl Program {
    /// From the first bytes of a file.
    pub(super) fn read(bytes: &[u8]) -> Self {
        if let Some(line) = bytes.strip_prefix(b"#!") {
            let end = line
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(line.len());
            let line = String::from_utf8_lossy(&line[..end.min(256)]).into_owned();
            let carriage = line.ends_with('\r');
            let words = line.trim_matches([' ', '\t', '\r']);
            let interpreter = words.split([' ', '\t']).next().unwrap_or_default();
            return Self::Script {
                interpreter: interpreter.to_owned(),
                carriage,
            };
        }
        Elf::new(bytes).map_or(Self::Unknown, |elf| Self::Elf {
            machine: elf.machine,
            loader: elf.loader(),
        })
    }
}

/// An ELF file's beginning.
struct Elf<'a> {
    bytes: &'a [u8],
    wide: bool,
    little: bool,
    machine: u16,
}

impl<'a> Elf<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.strip_prefix(b"\x7fELF")?;
        let mut elf = Self {
            bytes,
            wide: *bytes.get(4)? == 2,
            little: *bytes.get(5)? == 1,
            machine: 0,
        };
        elf.machine = u16::try_from(elf.number(18, 2)?).ok()?;
        Some(elf)
    }

    /// A number of `size` bytes.
    fn number(&self, at: u64, size: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self.little {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        })
    }

    fn loader(&self) -> Option<String> {
        let (table, entry, count) = match self.wide {
            true => (
                self.number(32, 8)?,
                self.number(54, 2)?,
                self.number(56, 2)?,
            ),
            false => (
                self.number(28, 4)?,
                self.number(42, 2)?,
                self.number(44, 2)?,
            ),
        };
        for number in 0..count.min(MAX_HEADERS) {
            let at = table.checked_add(number * entry)?;
            if self.number(at, 4)? != PT_INTERP {
                continue;
            }
            let (offset, size) = match self.wide {
                true => (
                    self.number(at.checked_add(8)?, 8)?,
                    self.number(at.checked_add(32)?, 8)?,
                ),
                false => (
                    self.number(at.checked_add(4)?, 4)?,
                    self.number(at.checked_add(16)?, 4)?,
                ),
            };
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(size.min(MAX_PATH)).ok()?)?;
            let path = self.bytes.get(start..end)?;
            let path = path.split(|byte| *byte == 0).next()?;
            return Some(String::from_utf8_lossy(path).into_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A program for amd64 with a loader: one header.
    fn elf(loader: &str) -> Vec<u8> {
        let mut bytes = vec![0; 120];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 62;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = 3;
        bytes[72] = 120;
        bytes[96] = u8::try_from(loader.len() + 1).unwrap();
        bytes.extend_from_slice(loader.as_bytes());
        bytes.push(0);
        bytes
    }

    #[test]
    fn programs_are_known_by_their_first_bytes() {
        let loader = "/lib/ld-musl-x86_64.so.1";
        let wanted = Program::Elf {
            machine: 62,
            loader: Some(loader.to_owned()),
        };
        assert_eq!(Program::read(&elf(loader)), wanted);
        let script = Program::Script {
            interpreter: "/bin/bash".to_owned(),
            carriage: true,
        };
        assert_eq!(Program::read(b"#! /bin/bash -e\r\necho\r\n"), script);
        assert_eq!(Program::read(b"echo hello"), Program::Unknown);
        assert_eq!(Program::read(b""), Program::Unknown);
    }

    #[test]
    fn architectures_have_the_names_of_images() {
        assert_eq!(machine_name(183), Some("arm64"));
        assert_eq!(host_name("x86_64"), Some("amd64"));
        assert!(runs("amd64", "386") && !runs("amd64", "arm64"));
    }

    /// This very program: what a real linker writes.
    #[test]
    fn a_real_program_is_read() {
        let bytes = fs_err::read(std::env::current_exe().unwrap()).unwrap();
        let Program::Elf { machine, .. } = Program::read(&bytes[..64 << 10]) else {
            panic!("no ELF");
        };
        assert_eq!(machine_name(machine), host_name(std::env::consts::ARCH));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(mut bytes in prop::collection::vec(any::<u8>(), 0..300), elf in any::<bool>()) {
            if elf && bytes.len() > 6 {
                bytes[..4].copy_from_slice(b"\x7fELF");
            }
            let _ = Program::read(&bytes);
        }
    }
}
