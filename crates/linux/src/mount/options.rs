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
    /// Attributes of the mount itself.
    pub attributes: Attributes,
    /// Attributes of the mount and all below it (`rro` and the like).
    pub recursive_attributes: Attributes,
    /// Propagation words in their order: `MS_*` value and whether for the whole tree.
    pub propagation: Vec<(u64, bool)>,
    /// `tmpcopyup`: a tmpfs starts with what it covers.
    pub copy_up: bool,
    /// `idmap` (`Some(false)`) or `ridmap` (`Some(true)`).
    pub id_map: Option<bool>,
    /// Words for the file system.
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
    "iversion",
    "lazytime",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "rbind",
    "ratime",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
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
            // What the kernel does anyway, or has forgotten about.
            "defaults" | "" | "loud" | "nomand" | "mand" => {}
            _ => {
                if let Ok(flag) = propagation(word) {
                    self.propagation.push(flag);
                } else if let Some((attribute, set)) = attribute(word) {
                    change(&mut self.attributes, attribute, set);
                } else if let Some((attribute, set)) = word.strip_prefix('r').and_then(attribute) {
                    change(&mut self.recursive_attributes, attribute, set);
                } else {
                    self.data.push(word.to_owned());
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

fn change(attributes: &mut Attributes, attribute: Attr, set: bool) {
    const ATIME: u64 = 0x70; // MOUNT_ATTR__ATIME: a field of its own, to be cleared as a whole
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
            options.attributes,
            Attributes {
                set: 0x20,
                clear: 0x71,
                ..Attributes::default()
            }
        );
    }
}
