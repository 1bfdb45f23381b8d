//! System call filters: a policy is refused, or its program is one that the kernel takes and that ends.

#![no_main]

use arbitrary::Arbitrary;
use hull_linux::seccomp::{
    Action, Architecture, Comparison, Condition, Instruction, Policy, Rule, compile,
};

#[derive(Arbitrary, Debug)]
struct Input {
    default: u8,
    architectures: Vec<u8>,
    rules: Vec<(Vec<u8>, u8, Vec<(u8, u8, u64, u64)>)>,
    calls: Vec<(u32, [u64; 6])>,
}

const NAMES: [&str; 12] = [
    "read",
    "write",
    "open",
    "close",
    "clone",
    "clone3",
    "openat2",
    "socketcall",
    "mmap2",
    "ioctl",
    "file_getattr",
    "nosuch",
];

fn action(number: u8) -> Action {
    match number % 8 {
        0 => Action::Allow,
        1 => Action::Errno(number.into()),
        2 => Action::KillProcess,
        3 => Action::KillThread,
        4 => Action::Trap,
        5 => Action::Trace(number.into()),
        6 => Action::Log,
        _ => Action::Notify,
    }
}

fn condition(&(argument, kind, value, mask): &(u8, u8, u64, u64)) -> Condition {
    let comparison = match kind % 7 {
        0 => Comparison::Equal(value),
        1 => Comparison::NotEqual(value),
        2 => Comparison::Less(value),
        3 => Comparison::LessOrEqual(value),
        4 => Comparison::Greater(value),
        5 => Comparison::GreaterOrEqual(value),
        _ => Comparison::Masked { mask, value },
    };
    // Seven, so that now and then one is wrong.
    Condition {
        argument: argument % 7,
        comparison,
    }
}

fn policy(input: &Input) -> Policy {
    let architectures = input.architectures.iter().map(|number| match number % 4 {
        0 => Architecture::X86_64,
        1 => Architecture::X32,
        2 => Architecture::I386,
        _ => Architecture::Aarch64,
    });
    let name = |number: &u8| NAMES[usize::from(*number) % NAMES.len()].to_owned();
    let rules = input.rules.iter().map(|(names, number, conditions)| Rule {
        names: names.iter().map(name).collect(),
        action: action(*number),
        conditions: conditions.iter().map(condition).collect(),
    });
    Policy {
        default: action(input.default),
        architectures: architectures.collect(),
        rules: rules.collect(),
    }
}

/// What the program answers. Panics where the kernel would have refused it.
fn run(program: &[Instruction], audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let Instruction {
            code,
            jump_true,
            jump_false,
            value,
        } = program[at];
        at += 1;
        let holds = match code {
            0x20 => {
                assert!(
                    value % 4 == 0 && value < 64,
                    "outside of struct seccomp_data"
                );
                accumulator = match value {
                    0 => number,
                    4 => audit,
                    8 | 12 => 0,
                    _ => {
                        let argument = arguments[(value as usize - 16) / 8];
                        if value % 8 == 0 {
                            argument as u32
                        } else {
                            (argument >> 32) as u32
                        }
                    }
                };
                continue;
            }
            0x54 => {
                accumulator &= value;
                continue;
            }
            0x05 => {
                at += value as usize;
                continue;
            }
            0x06 => return value,
            0x15 => accumulator == value,
            0x25 => accumulator > value,
            0x35 => accumulator >= value,
            _ => panic!("opcode {code:#x}"),
        };
        at += usize::from(if holds { jump_true } else { jump_false });
    }
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let policy = policy(&input);
    let Ok(filter) = compile(&policy) else {
        return;
    };
    let program = filter.instructions();
    assert!(program.len() <= 4096);
    for (at, instruction) in program.iter().enumerate() {
        let furthest = match instruction.code {
            0x05 => instruction.value as usize,
            0x06 => continue,
            _ => usize::from(instruction.jump_true.max(instruction.jump_false)),
        };
        assert!(
            at + 1 + furthest < program.len(),
            "a jump out of the program"
        );
    }
    for (number, arguments) in &input.calls {
        for audit in [0xc000_003e, 0x4000_0003, 0xc000_00b7] {
            run(program, audit, *number, *arguments);
        }
        // SECCOMP_RET_KILL_PROCESS for an architecture that nobody has.
        assert_eq!(run(program, 1, *number, *arguments), 0x8000_0000);
    }
});
