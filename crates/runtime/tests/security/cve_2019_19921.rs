//! The directory on which procfs is mounted is exchanged for a link meanwhile, by another container that
//! shares the tree: labels and masks then go to a procfs of the attacker's.

use crate::bundle::{Container, Exchange};

#[test]
fn procfs_is_not_mounted_through_a_link_that_comes_and_goes() {
    let look = "grep -h elsewhere /proc/self/mountinfo /elsewhere/self/mountinfo";
    let Some(container) = Container::new("19921", &["sh", "-c", look]) else {
        return;
    };
    fs_err::create_dir(container.inside("elsewhere")).unwrap();
    fs_err::os::unix::fs::symlink("/elsewhere", container.inside("link")).unwrap();
    let attacker = Exchange::start(container.inside("proc"), container.inside("link"));
    // Whether it works or is refused depends on who wins; only where procfs is counts.
    for _ in 0..40 {
        let outcome = container.run();
        assert!(
            !outcome.text.contains(" /elsewhere "),
            "procfs is behind a link: {outcome:?}"
        );
        container.delete();
    }
    attacker.stop();
}
