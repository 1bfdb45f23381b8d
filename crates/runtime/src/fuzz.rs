//! What reads strangers' input, as functions of bytes: for the fuzzer, and for the test that runs them
//! briefly with every change. Each panics where a property does not hold.

use crate::arguments::{Arguments, Order};
use crate::id::ContainerId;
use crate::plan::Namespaces;
use crate::state::Record;
use crate::{cgroups, command, config, plan, seccomp};
use hull_linux::mount::Options;
use hull_linux::namespace::id_map as text_of;
use hull_linux::systemd::{Kind, Message, parse_value};
use hull_spec::runtime::{IdMapping, Linux, Process, Seccomp, Spec};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path};

/// A target: its name, which is that of the directory of its seeds, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("config", config),
    ("profile", profile),
    ("id_map", id_map),
    ("arguments", arguments),
    ("mount_options", mount_options),
    ("state", state),
    ("bus_message", bus_message),
    ("property", property),
];

/// `config.json`: what is read is written so that it reads the same; what is checked can be planned.
pub fn config(text: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<Spec>(text) else {
        return;
    };
    let again = serde_json::to_vec(&spec).map(|text| serde_json::from_slice::<Spec>(&text));
    assert!(matches!(again, Ok(Ok(again)) if again == spec), "{spec:?}");
    config::warnings(&spec);
    if config::check(&spec).is_err() {
        return;
    }
    let mut linux = spec.linux.unwrap_or_default();
    let place = cgroups::Place::of(&linux, "id");
    let up = |component: Component<'_>| component == Component::ParentDir;
    assert!(!Path::new(&place.path).components().any(up), "{place:?}");
    cgroups::wants_limits(&linux);
    // Files of this host are not for a fuzzer to open.
    for namespace in &mut linux.namespaces {
        namespace.path.clear();
    }
    assert!(Namespaces::of(&linux).is_ok(), "{linux:?}");
    for mount in &spec.mounts {
        check_options(&Options::parse(&mount.options));
    }
    planned(&spec.process.unwrap_or_default(), &linux);
}

/// What the plan makes of single properties is a refusal or a value.
fn planned(process: &Process, linux: &Linux) {
    let refused = [
        process
            .scheduler
            .as_ref()
            .map(|it| plan::scheduling::attributes(it).is_err()),
        process
            .io_priority
            .as_ref()
            .map(|it| plan::scheduling::io_priority(it).is_err()),
        linux
            .personality
            .as_ref()
            .map(|it| plan::scheduling::personality(it).is_err()),
        linux
            .memory_policy
            .as_ref()
            .map(|it| plan::memory::policy(it).is_err()),
        linux
            .seccomp
            .as_ref()
            .map(|it| seccomp::compile(it).is_err()),
    ];
    // Nothing but that they end.
    std::hint::black_box(refused);
}

/// A system call filter, as a document.
pub fn profile(text: &[u8]) {
    if let Ok(profile) = serde_json::from_slice::<Seccomp>(text) {
        // What the program does is checked where it is made (`linux::seccomp`).
        let _ = std::hint::black_box(seccomp::compile(&profile));
    }
}

/// Id maps: read from a document, written as the kernel reads them, one line of three numbers each.
pub fn id_map(text: &[u8]) {
    let Ok(maps) = serde_json::from_slice::<Vec<IdMapping>>(text) else {
        return;
    };
    let ranges = || {
        maps.iter()
            .map(|map| (map.container_id, map.host_id, map.size))
    };
    let written = text_of(ranges());
    let number = |text: &str| text.parse::<u32>().ok();
    let read = written.lines().map(|line| {
        let mut numbers = line.split(' ').map(number);
        let three = [numbers.next(), numbers.next(), numbers.next()].map(Option::flatten);
        (three, numbers.next().is_none())
    });
    let expected =
        ranges().map(|(inside, outside, size)| ([inside, outside, size].map(Some), true));
    assert!(read.eq(expected), "{written}");
}

/// Command lines: words are divided by zeroes. What follows `--` is nobody's option.
pub fn arguments(text: &[u8]) {
    let words = |text: &[u8]| -> Vec<OsString> {
        let words = text.split(|byte| *byte == 0);
        words
            .map(|word| OsString::from_vec(word.to_owned()))
            .collect()
    };
    for command in command::COMMANDS {
        for order in [Order::Anywhere, Order::First, Order::Second] {
            let Ok(parsed) = Arguments::parse(words(text), command.flags, order) else {
                continue;
            };
            let mut more = words(text);
            more.extend(["--".into(), "--bundle".into()]);
            let last = Arguments::parse(more, command.flags, order);
            if let Ok(last) = last {
                let tail = last.rest.last().map(String::as_str);
                assert!(tail == Some("--bundle"), "{last:?} after {parsed:?}");
            }
            if let Some(id) = parsed.rest.first() {
                check_id(id);
            }
        }
    }
}

fn check_id(id: &str) {
    if ContainerId::parse(id).is_ok() {
        let mut components = Path::new(id).components();
        let one = matches!(components.next(), Some(Component::Normal(name)) if name == id);
        assert!(
            one && components.next().is_none(),
            "{id:?} names a directory"
        );
    }
}

/// Mount options, divided by commas.
pub fn mount_options(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    check_options(&Options::parse(&text.split(',').collect::<Vec<_>>()));
}

fn check_options(options: &Options) {
    /// `MOUNT_ATTR__ATIME`: to set a value of this field is to clear the field.
    const ATIME: u64 = 0x70;
    for attributes in [options.attributes, options.recursive_attributes] {
        assert!(
            attributes.set & attributes.clear & !ATIME == 0,
            "{options:?}"
        );
        let times = attributes.set & ATIME;
        assert!(
            times == 0 || attributes.clear & ATIME == ATIME,
            "{options:?}"
        );
    }
    let known = |word: &String| Options::known().any(|known| known == word);
    assert!(!options.data.iter().any(known), "{options:?}");
}

/// `state.json`: what is read is written so that it reads the same.
pub fn state(text: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(text) else {
        return;
    };
    let written = serde_json::to_vec(&record);
    let again = written.map(|text| serde_json::from_slice::<Record>(&text));
    let same = matches!(again, Ok(Ok(again)) if format!("{again:?}") == format!("{record:?}"));
    assert!(same, "{record:?}");
}

/// Messages of systemd's bus: what is read is written so that it reads the same.
pub fn bus_message(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        assert_kept(&message);
    }
}

/// As text, since not every number is the same as itself.
fn assert_kept(message: &Message) {
    let again = Message::decode(&message.encode());
    let kept = again.is_ok_and(|again| format!("{again:?}") == format!("{message:?}"));
    assert!(kept, "{message:?}");
}

/// Properties of a unit, as annotations write them: what is a value can be sent.
pub fn property(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let Ok(value) = parse_value(&text) else {
        return;
    };
    let mut message = Message::new(Kind::Call, 1);
    message.body.push(value);
    assert_kept(&message);
}
