//! What a path in a container is, as Go tells it.

use hull_api::container::archive::{self, mode};
use hull_engine::container::PathStat;

/// The document of the header.
pub(crate) fn path_stat(stat: PathStat) -> archive::PathStat {
    archive::PathStat {
        name: stat.name,
        size: i64::try_from(stat.size).unwrap_or(i64::MAX),
        mode: go_mode(stat.mode),
        mtime: super::time::text(Some(stat.mtime)),
        link_target: stat.link_target,
    }
}

/// stat(2)'s mode as Go's `fs.FileMode`.
fn go_mode(stat: u32) -> u32 {
    let kind = match stat & 0o170_000 {
        0o040_000 => mode::DIRECTORY,
        0o120_000 => mode::SYMLINK,
        0o010_000 => mode::FIFO,
        0o140_000 => mode::SOCKET,
        0o060_000 => mode::DEVICE,
        0o020_000 => mode::DEVICE | mode::CHARACTER,
        _ => 0,
    };
    let bits = [
        (0o4000, mode::SET_UID),
        (0o2000, mode::SET_GID),
        (0o1000, mode::STICKY),
    ];
    let special = bits.iter().filter(|(bit, _)| stat & bit != 0);
    special.fold(kind | stat & 0o777, |all, (_, bit)| all | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from dockerd 28.5.
    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o100_644), 420);
        assert_eq!(go_mode(0o120_777), 134_218_239);
        assert_eq!(go_mode(0o040_755), 2_147_484_141);
        assert_eq!(go_mode(0o041_777), mode::DIRECTORY | mode::STICKY | 0o777);
        assert_eq!(go_mode(0o020_620), mode::DEVICE | mode::CHARACTER | 0o620);
    }
}
