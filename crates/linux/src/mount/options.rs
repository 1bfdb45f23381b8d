//! Options of a mount, as fstab(5), mount(8) and the runtime specification write them.

use super::Attributes;
use rustix::mount::MountAttrFlags as Attr;

/// Options sorted by whom they concern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `bind` or `rbind`: an existing tree is mounted again.
    pub bind: bool,
    /// `rbind`: with the mounts below it.
    pub recursive: bool,
    /// `remount`: only the options of an existing mount change.
    pub remount: bool,
    /// Attributes of the mount itself: those of words that set one, and of words that clear one.
    pub attributes: Attributes,
    /// Whether any word is about them.
    pub has_attributes: bool,
    /// Attributes of the mount and all below it (`rro` and the like).
    pub recursive_attributes: Attributes,
    /// Propagation words in their order: `MS_*` value and whether for the whole tree.
    pub propagation: Vec<(u64, bool)>,
    /// `tmpcopyup`: a tmpfs starts with what it covers.
    pub copy_up: bool,
    /// `idmap` (`Some(false)`) or `ridmap` (`Some(true)`).
    pub id_map: Option<bool>,
    /// Words for the file system as a whole, whatever its type: `sync`, `lazytime` and the like.
    pub superblock: Vec<&'static str>,
    /// Words for the file system, by its type.
    pub data: Vec<String>,
}

/// A word that is no propagation.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("mount propagation `{0}` is not known")]
pub struct UnknownPropagation(String);

/// `MS_*` and whether it is recursive, for a word such as `rslave`.
///
/// # Errors
/// For any other word.
pub fn propagation(word: &str) -> Result<(u64, bool), UnknownPropagation> {
    let flag = match word {
        "shared" | "rshared" => libc::MS_SHARED,
        "slave" | "rslave" => libc::MS_SLAVE,
        "private" | "rprivate" => libc::MS_PRIVATE,
        "unbindable" | "runbindable" => libc::MS_UNBINDABLE,
        _ => return Err(UnknownPropagation(word.to_owned())),
    };
    Ok((flag, word.starts_with('r')))
}

/// Every word but those of [`propagation`], for the answer of `features`.
pub(crate) const WORDS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rrelatime",
    "rro",
    "rrw",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "rw",
    "silent",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
];

impl Options {
    /// Sorts the words; what nobody knows is for the file system.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Self {
        let mut options = Self::default();
        for word in words {
            options.add(word.as_ref());
        }
        options
    }

    /// The words of mount options that are understood here, for people and programs that ask.
    pub fn known() -> impl Iterator<Item = &'static str> {
        WORDS.iter().copied()
    }

    /// Whether the mount is to be read-only at last.
    pub fn read_only(&self) -> bool {
        self.attributes.set & u64::from(Attr::MOUNT_ATTR_RDONLY.bits()) != 0
    }

    /// What a bind mount's attributes become: exactly what the words say, as mount(8) has it for
    /// `--bind -o`; access times stay as they are unless a word is about them.
    pub fn exact(&self) -> Attributes {
        Attributes {
            clear: EVERY & !self.attributes.set | self.access_times(),
            ..self.attributes
        }
    }

    /// What is left of that where attributes are locked (mount_namespaces(7), "Restrictions"): those of
    /// the source stay, and what the words say is added.
    pub fn added(&self) -> Attributes {
        Attributes {
            clear: self.attributes.clear | self.access_times(),
            ..self.attributes
        }
    }

    /// The bits to clear so that a word about access times can be obeyed.
    fn access_times(&self) -> u64 {
        const NODIRATIME: u64 = Attr::MOUNT_ATTR_NODIRATIME.bits() as u64;
        if self.attributes.clear & ATIME != 0 || self.attributes.set & NODIRATIME != 0 {
            (ATIME | NODIRATIME) & !(self.attributes.set & NODIRATIME)
        } else {
            0
        }
    }

    fn add(&mut self, word: &str) {
        match word {
            "bind" => self.bind = true,
            "rbind" => {
                self.bind = true;
                self.recursive = true;
            }
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.id_map = Some(false),
            "ridmap" => self.id_map = Some(true),
            // What the kernel does anyway, or has forgotten about: what was `iversion` to mount(2) is
            // the file system's own business, and mounting is silent.
            "defaults" | "" | "loud" | "silent" | "iversion" | "noiversion" => {}
            _ => {
                if let Ok(flag) = propagation(word) {
                    self.propagation.push(flag);
                } else if let Some(word) = SUPERBLOCK.iter().find(|known| **known == word) {
                    self.superblock.push(word);
                } else if let Some((attribute, set)) = attribute(word) {
                    self.has_attributes = true;
                    change_plain(&mut self.attributes, attribute, set);
                } else if let Some((attribute, set)) = word.strip_prefix('r').and_then(attribute) {
                    change(&mut self.recursive_attributes, attribute, set);
                } else {
                    self.data.extend(split(word).map(str::to_owned));
                }
            }
        }
    }
}

/// The attribute a word sets (`true`) or clears.
fn attribute(word: &str) -> Option<(Attr, bool)> {
    Some(match word {
        "ro" => (Attr::MOUNT_ATTR_RDONLY, true),
        "rw" => (Attr::MOUNT_ATTR_RDONLY, false),
        "nosuid" => (Attr::MOUNT_ATTR_NOSUID, true),
        "suid" => (Attr::MOUNT_ATTR_NOSUID, false),
        "nodev" => (Attr::MOUNT_ATTR_NODEV, true),
        "dev" => (Attr::MOUNT_ATTR_NODEV, false),
        "noexec" => (Attr::MOUNT_ATTR_NOEXEC, true),
        "exec" => (Attr::MOUNT_ATTR_NOEXEC, false),
        "nodiratime" => (Attr::MOUNT_ATTR_NODIRATIME, true),
        "diratime" => (Attr::MOUNT_ATTR_NODIRATIME, false),
        "nosymfollow" => (Attr::MOUNT_ATTR_NOSYMFOLLOW, true),
        "symfollow" => (Attr::MOUNT_ATTR_NOSYMFOLLOW, false),
        "noatime" => (Attr::MOUNT_ATTR_NOATIME, true),
        "atime" => (Attr::MOUNT_ATTR_NOATIME, false),
        "strictatime" => (Attr::MOUNT_ATTR_STRICTATIME, true),
        "nostrictatime" => (Attr::MOUNT_ATTR_STRICTATIME, false),
        "relatime" => (Attr::MOUNT_ATTR_RELATIME, true),
        "norelatime" => (Attr::MOUNT_ATTR_RELATIME, false),
        _ => return None,
    })
}

/// `MOUNT_ATTR__ATIME`: a field of its own, to be cleared as a whole.
const ATIME: u64 = 0x70;

/// What [`Options::exact`] decides about.
const EVERY: u64 = (Attr::MOUNT_ATTR_RDONLY.bits()
    | Attr::MOUNT_ATTR_NOSUID.bits()
    | Attr::MOUNT_ATTR_NODEV.bits()
    | Attr::MOUNT_ATTR_NOEXEC.bits()
    | Attr::MOUNT_ATTR_NOSYMFOLLOW.bits()) as u64;

/// Words that fsconfig(2) takes for every file system.
const SUPERBLOCK: [&str; 7] = [
    "async",
    "dirsync",
    "lazytime",
    "mand",
    "nolazytime",
    "nomand",
    "sync",
];

/// Options of a file system that share one word: `size=1m,mode=700`. Commas between quotes belong to
/// a value.
fn split(word: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    word.split(move |letter| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    })
    .filter(|part| !part.is_empty())
}

/// A word about the mount alone. `norelatime` and the like take back what was asked for and ask for
/// nothing else.
fn change_plain(attributes: &mut Attributes, attribute: Attr, set: bool) {
    let bit = u64::from(attribute.bits());
    let is_atime = matches!(
        attribute,
        Attr::MOUNT_ATTR_NOATIME | Attr::MOUNT_ATTR_STRICTATIME | Attr::MOUNT_ATTR_RELATIME
    );
    if !is_atime || set {
        change(attributes, attribute, set);
    } else if attributes.set & ATIME == bit && attributes.clear & ATIME != 0 {
        attributes.set &= !ATIME;
        attributes.clear &= !ATIME;
    }
}

fn change(attributes: &mut Attributes, attribute: Attr, set: bool) {
    let bit = u64::from(attribute.bits());
    let is_atime = matches!(
        attribute,
        Attr::MOUNT_ATTR_NOATIME | Attr::MOUNT_ATTR_STRICTATIME | Attr::MOUNT_ATTR_RELATIME
    );
    if is_atime {
        attributes.clear |= ATIME;
        attributes.set &= !ATIME;
        if set {
            attributes.set |= bit;
        }
    } else if set {
        attributes.set |= bit;
        attributes.clear &= !bit;
    } else {
        attributes.set &= !bit;
        attributes.clear |= bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_by_whom_they_concern() {
        let options = Options::parse(&[
            "rbind", "ro", "nosuid", "rslave", "rnoexec", "mode=755", "noswap",
        ]);
        assert!(options.bind && options.recursive && options.read_only());
        assert_eq!(options.attributes.set, 0x1 | 0x2);
        assert_eq!(options.recursive_attributes.set, 0x8);
        assert_eq!(options.propagation, [(libc::MS_SLAVE, true)]);
        assert_eq!(options.data, ["mode=755", "noswap"]);
    }

    #[test]
    fn the_last_word_wins_and_access_times_are_one_field() {
        let options = Options::parse(&["ro", "rw", "noatime", "strictatime"]);
        assert_eq!(
            (options.attributes.set, options.attributes.clear),
            (0x20, 0x71)
        );
        let options = Options::parse(&["noatime", "atime", "norelatime"]);
        assert_eq!(options.attributes, Attributes::default());
        assert!(options.has_attributes);
        let options = Options::parse(&["ratime", "rnodev"]);
        let set = options.recursive_attributes;
        assert_eq!((set.set, set.clear), (0x4, 0x70));
    }

    #[test]
    fn a_bind_mount_has_exactly_what_was_asked_for_unless_it_is_locked() {
        let options = Options::parse(&["bind", "ro", "exec"]);
        let (exact, added) = (options.exact(), options.added());
        assert_eq!(
            (exact.set, exact.clear),
            (0x1, 0x2 | 0x4 | 0x8 | 0x0020_0000)
        );
        assert_eq!((added.set, added.clear), (0x1, 0x8));
        let times = Options::parse(&["bind", "nodiratime"]);
        assert_eq!(
            (times.exact().set, times.exact().clear & 0xf0),
            (0x80, 0x70)
        );
    }

    #[test]
    fn words_for_file_systems_are_split_and_known_ones_kept_apart() {
        let options = Options::parse(&[
            "sync",
            "silent",
            "iversion",
            "size=1m,mode=700",
            "context=\"a,b\",x",
        ]);
        assert_eq!(options.superblock, ["sync"]);
        assert_eq!(
            options.data,
            ["size=1m", "mode=700", "context=\"a,b\"", "x"]
        );
    }
}
