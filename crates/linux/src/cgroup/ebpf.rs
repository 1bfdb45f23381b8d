//! The device filter of v2: a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`, bpf(2), Linux 4.15.
//!
//! The kernel runs it for every open and mknod with a context of three 32-bit words, `access_type`
//! (low half: kind of device, high half: access), `major`, `minor`; it returns 1 to allow.

use super::{DeviceKind, DeviceRule, Error};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// One instruction, `struct bpf_insn` of linux/bpf.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination register in the low half, source in the high.
    registers: u8,
    offset: i16,
    immediate: i32,
}

// Opcodes, linux/bpf_common.h and linux/bpf.h.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE_REGISTER: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const MOVE_IMMEDIATE: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP_NOT_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const JUMP_EQUAL: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// Where the words of the context go.
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const fn plain(code: u8, registers: u8, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers,
        offset: 0,
        immediate,
    }
}

const fn load(register: u8, offset: i16) -> Instruction {
    // The context is in register 1.
    Instruction {
        code: LOAD_WORD,
        registers: register | 1 << 4,
        offset,
        immediate: 0,
    }
}

/// The program for `rules`. Reading, writing and making are decided one by one, each by the last rule
/// that fits: the rules are asked from the last, and what one allows is asked of no other.
fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        load(KIND, 0),
        plain(AND, KIND, 0xffff),
        load(ACCESS, 0),
        plain(SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        program.extend(rule_block(rule));
        if rule.is_total() {
            // What follows could never be reached, and the verifier refuses dead code.
            return program;
        }
    }
    program.extend(verdict(false));
    program
}

fn verdict(allow: bool) -> [Instruction; 2] {
    [
        plain(MOVE_IMMEDIATE, 0, i32::from(allow)),
        plain(EXIT, 0, 0),
    ]
}

/// Checks that jump over the rest when the rule does not fit, and the verdict.
fn rule_block(rule: &DeviceRule) -> Vec<Instruction> {
    let mut block = Vec::new();
    match rule.kind {
        DeviceKind::All => {}
        DeviceKind::Block => block.push(plain(JUMP_NOT_EQUAL, KIND, 1)), // BPF_DEVCG_DEV_BLOCK
        DeviceKind::Character => block.push(plain(JUMP_NOT_EQUAL, KIND, 2)), // BPF_DEVCG_DEV_CHAR
    }
    for (register, number) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(number) = number {
            block.push(plain(JUMP_NOT_EQUAL, register, number.cast_signed()));
        }
    }
    // BPF_DEVCG_ACC_MKNOD, _READ, _WRITE
    let mask = i32::from(rule.access.mknod)
        | i32::from(rule.access.read) << 1
        | i32::from(rule.access.write) << 2;
    if mask != 7 && rule.allow {
        block.push(plain(AND, ACCESS, !mask & 7));
        block.push(plain(JUMP_NOT_EQUAL, ACCESS, 0));
    } else if mask != 7 {
        block.push(plain(MOVE_REGISTER, 1 | ACCESS << 4, 0));
        block.push(plain(AND, 1, mask));
        block.push(plain(JUMP_EQUAL, 1, 0));
    }
    block.extend(verdict(rule.allow));
    let end = block.len();
    for (at, check) in block.iter_mut().enumerate() {
        if matches!(check.code, JUMP_NOT_EQUAL | JUMP_EQUAL) {
            check.offset = i16::try_from(end - at - 1).unwrap_or(i16::MAX);
        }
    }
    block
}

// Commands and constants of bpf(2).
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;

#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replace: u32,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct IdAttributes {
    id: u32,
    next: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is a live, exclusively borrowed struct laid out as the kernel's union
    // bpf_attr for `command`, and its size is passed with it, so the kernel touches nothing else;
    // the pointers inside point to buffers that the callers keep alive over this call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn descriptor(result: libc::c_long) -> OwnedFd {
    let raw = i32::try_from(result).unwrap_or(-1);
    // SAFETY: bpf(2) has just returned this descriptor and nothing else has seen it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

fn load_program(program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut attributes = LoadAttributes {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: program.as_ptr() as u64,
        license: c"Apache".as_ptr() as u64,
        ..LoadAttributes::default()
    };
    bpf(BPF_PROG_LOAD, &mut attributes).map(descriptor)
}

/// Attaches the program for `rules` to the group at `path`, then takes away those that were there:
/// at no moment is the group without a filter.
pub(super) fn attach(path: &Path, rules: &[DeviceRule]) -> Result<(), Error> {
    let failed = |step| {
        move |source| Error::Program {
            step,
            path: path.to_owned(),
            source,
        }
    };
    let group = File::open(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })?;
    let target = group.as_raw_fd().cast_unsigned();
    let program = load_program(&program(rules)).map_err(failed("load"))?;
    let older = attached(target).map_err(failed("query"))?;
    let mut attributes = AttachAttributes {
        target,
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
        replace: 0,
    };
    bpf(BPF_PROG_ATTACH, &mut attributes).map_err(failed("attach"))?;
    for id in older {
        let mut by_id = IdAttributes {
            id,
            ..IdAttributes::default()
        };
        let Ok(old) = bpf(BPF_PROG_GET_FD_BY_ID, &mut by_id).map(descriptor) else {
            continue;
        };
        let mut attributes = AttachAttributes {
            target,
            program: old.as_raw_fd().cast_unsigned(),
            kind: BPF_CGROUP_DEVICE,
            ..AttachAttributes::default()
        };
        bpf(BPF_PROG_DETACH, &mut attributes).map_err(failed("replace"))?;
    }
    Ok(())
}

fn attached(target: u32) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; 64];
    let mut attributes = QueryAttributes {
        target,
        kind: BPF_CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        count: 64,
        ..QueryAttributes::default()
    };
    bpf(BPF_PROG_QUERY, &mut attributes)?;
    ids.truncate(attributes.count as usize);
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::super::Access;
    use super::*;

    fn rule(allow: bool, kind: DeviceKind, major: Option<u32>, access: &str) -> DeviceRule {
        DeviceRule {
            allow,
            kind,
            major,
            minor: None,
            access: Access::parse(access).unwrap(),
        }
    }

    /// What the program answers, by interpreting it.
    fn ask(rules: &[DeviceRule], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [kind | access << 16, major, minor];
        let program = program(rules);
        let mut registers = [0_u32; 10];
        let mut at = 0_usize;
        loop {
            let Instruction {
                code,
                registers: which,
                offset,
                immediate,
            } = program[at];
            let (to, from) = (usize::from(which & 15), usize::from(which >> 4));
            at += 1;
            let skip = usize::try_from(offset).unwrap();
            match code {
                LOAD_WORD => registers[to] = context[skip / 4],
                MOVE_REGISTER => registers[to] = registers[from],
                MOVE_IMMEDIATE => registers[to] = immediate.cast_unsigned(),
                AND => registers[to] &= immediate.cast_unsigned(),
                SHIFT_RIGHT => registers[to] >>= immediate,
                JUMP_NOT_EQUAL if registers[to] != immediate.cast_unsigned() => at += skip,
                JUMP_EQUAL if registers[to] == immediate.cast_unsigned() => at += skip,
                JUMP_NOT_EQUAL | JUMP_EQUAL => {}
                EXIT => return registers[0] == 1,
                other => panic!("unexpected opcode {other:#x}"),
            }
        }
    }

    #[test]
    fn the_last_rule_that_fits_decides() {
        let rules = [
            rule(false, DeviceKind::All, None, "rwm"),
            rule(true, DeviceKind::Character, None, "m"),
            rule(true, DeviceKind::Character, Some(1), "rwm"),
            rule(false, DeviceKind::Character, Some(1), "w"),
        ];
        let (mknod, read, write) = (1, 2, 4);
        assert!(
            ask(&rules, 2, mknod, 5, 0),
            "any character node may be made"
        );
        assert!(!ask(&rules, 2, read, 5, 0));
        assert!(!ask(&rules, 1, mknod, 5, 0), "but no block node");
        assert!(ask(&rules, 2, read, 1, 3));
        assert!(
            !ask(&rules, 2, read | write, 1, 3),
            "writing was taken away"
        );
        assert!(!ask(&[], 2, read, 1, 3), "no rule, no device");
        let two = [
            rule(true, DeviceKind::Character, Some(1), "r"),
            rule(true, DeviceKind::Character, None, "w"),
        ];
        assert!(ask(&two, 2, read | write, 1, 3), "each allows its part");
        assert!(!ask(&two, 2, read | write | mknod, 1, 3));
        assert!(!ask(&two, 2, read | write, 2, 3));
        assert!(ask(&[rule(true, DeviceKind::All, None, "rwm")], 1, 7, 9, 9));
    }

    /// What the rules say, bit by bit.
    fn model(rules: &[DeviceRule], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let fits = |rule: &&DeviceRule, bit: u32| {
            let kind_fits = match rule.kind {
                DeviceKind::All => true,
                DeviceKind::Block => kind == 1,
                DeviceKind::Character => kind == 2,
            };
            let bits = [rule.access.mknod, rule.access.read, rule.access.write];
            kind_fits
                && rule.major.is_none_or(|number| number == major)
                && rule.minor.is_none_or(|number| number == minor)
                && bits[bit as usize]
        };
        (0..3).filter(|bit| access & 1 << bit != 0).all(|bit| {
            let last = rules.iter().rev().find(|rule| fits(rule, bit));
            last.is_some_and(|rule| rule.allow)
        })
    }

    fn any_rule() -> impl proptest::strategy::Strategy<Value = DeviceRule> {
        use proptest::prelude::*;
        let kinds = [DeviceKind::All, DeviceKind::Block, DeviceKind::Character];
        let number = || proptest::option::of(0..3_u32);
        (any::<bool>(), 0..3_usize, number(), number(), 1..8_u8).prop_map(
            move |(allow, kind, major, minor, access)| DeviceRule {
                allow,
                kind: kinds[kind],
                major,
                minor,
                access: Access {
                    mknod: access & 1 != 0,
                    read: access & 2 != 0,
                    write: access & 4 != 0,
                },
            },
        )
    }

    proptest::proptest! {
        #[test]
        fn the_program_says_what_the_rules_say(
            rules in proptest::collection::vec(any_rule(), 0..8),
            kind in 1..3_u32,
            access in 1..8_u32,
            major in 0..3_u32,
            minor in 0..3_u32,
        ) {
            let said = ask(&rules, kind, access, major, minor);
            proptest::prop_assert_eq!(said, model(&rules, kind, access, major, minor));
        }
    }

    #[test]
    fn the_kernel_accepts_the_program() {
        let mut rules = vec![
            rule(false, DeviceKind::All, None, "rwm"),
            rule(true, DeviceKind::Character, Some(1), "rw"),
            rule(false, DeviceKind::Block, Some(8), "w"),
        ];
        // Many that each decide a part: the verifier must not take a turn for every way through.
        for major in 0..60 {
            for access in ["r", "w", "rw", "m"] {
                rules.push(rule(
                    major % 3 != 0,
                    DeviceKind::Character,
                    Some(major),
                    access,
                ));
            }
        }
        match load_program(&program(&rules)) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// On a host with v1 the v2 hierarchy is at `unified`, without controllers; the filter needs none.
    #[test]
    fn the_kernel_obeys_the_newest_filter_alone() {
        use super::super::{Cgroup, Layout};
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let is_v2 = |root: &&Path| root.join("cgroup.controllers").exists();
        let Some(root) = roots.into_iter().find(is_v2) else {
            println!("skipped: no v2 hierarchy");
            return;
        };
        let name = format!("hull-test-{}-devices", std::process::id());
        let group = Cgroup::new(Layout::v2_at(root), &name).unwrap();
        if group.create().is_err() {
            println!("skipped: no cgroups can be made");
            return;
        }
        // A process in the group reads the device once it is told to.
        let reads = |major: u32| {
            let null = rule(true, DeviceKind::Character, Some(major), "rwm");
            group.set_devices(&[null]).unwrap();
            let mut child = std::process::Command::new("sh")
                .args(["-c", "read go; head -c1 /dev/zero >&2"])
                .stdin(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            group.add(child.id()).unwrap();
            drop(child.stdin.take());
            child.wait().unwrap().success()
        };
        let outcome = [reads(1), reads(5), reads(1)];
        let directory = File::open(root.join(&name)).unwrap();
        let filters = attached(directory.as_raw_fd().cast_unsigned()).unwrap();
        group.freeze().unwrap();
        group.thaw().unwrap();
        group.remove().unwrap();
        assert_eq!(outcome, [true, false, true]);
        assert_eq!(filters.len(), 1);
    }
}
