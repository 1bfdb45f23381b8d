//! From a policy to a program of classic BPF (kernel documentation, `networking/filter`).

use super::{
    Action, Architecture, Comparison, Condition, Error, Filter, Instruction, Policy, Rule,
};
use std::collections::BTreeMap;

// Opcodes, linux/bpf_common.h.
const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_GREATER_EQUAL: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

// struct seccomp_data of linux/seccomp.h.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const MAX_INSTRUCTIONS: usize = 4096;
/// Of one rule: each is at most six instructions, and a jump over all of them reaches 255.
const MAX_CONDITIONS: usize = 12;
const X32_BIT: u32 = 0x4000_0000;
/// `__ARM_NR_BASE` of 32-bit ARM.
const ARM_PRIVATE: u32 = 0xf_0000;
const ENOSYS: u16 = 38;

const fn plain(code: u16, value: u32) -> Instruction {
    Instruction {
        code,
        jump_true: 0,
        jump_false: 0,
        value,
    }
}

const fn jump(code: u16, value: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        value,
    }
}

/// Makes a filter of a policy.
///
/// Calls that are newer than all that the policy mentions fail with `ENOSYS` where the default is to
/// refuse: programs then fall back to what they used before, as they do on an older kernel. With
/// `EPERM` they would give up. runc does the same.
///
/// # Errors
/// [`Error`].
pub fn compile(policy: &Policy) -> Result<Filter, Error> {
    let conditions = policy.rules.iter().flat_map(|rule| &rule.conditions);
    if let Some(wrong) = conditions
        .map(|condition| condition.argument)
        .find(|argument| *argument > 5)
    {
        return Err(Error::Argument(wrong));
    }
    let conditions = policy.rules.iter().map(|rule| rule.conditions.len()).max();
    if let Some(most) = conditions.filter(|most| *most > MAX_CONDITIONS) {
        return Err(Error::Conditions(most));
    }
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    let mut done: Vec<u32> = Vec::new();
    for architecture in &policy.architectures {
        let audit = architecture.audit();
        if done.contains(&audit) {
            continue;
        }
        done.push(audit);
        let same: Vec<Architecture> = policy
            .architectures
            .iter()
            .copied()
            .filter(|a| a.audit() == audit)
            .collect();
        let section = section(policy, &same);
        program.push(jump(JUMP_EQUAL, audit, 1, 0));
        program.push(plain(JUMP, length(&section)));
        program.extend(section);
    }
    program.push(plain(RETURN, Action::KillProcess.code()));
    if program.len() > MAX_INSTRUCTIONS {
        return Err(Error::TooLong(program.len()));
    }
    let notifies = policy.default == Action::Notify
        || policy
            .rules
            .iter()
            .any(|rule| rule.action == Action::Notify);
    Ok(Filter {
        instructions: program,
        notifies,
    })
}

fn length(code: &[Instruction]) -> u32 {
    // Far below; over it the program is refused anyway.
    u32::try_from(code.len()).unwrap_or(u32::MAX)
}

/// What happens from a call number on, up to the next entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate<'p> {
    Action(Action),
    Rules(Vec<&'p Rule>, Action),
}

/// The program for all instruction sets that share one audit number.
fn section(policy: &Policy, architectures: &[Architecture]) -> Vec<Instruction> {
    let mut starts: BTreeMap<u32, Fate<'_>> = BTreeMap::from([(0, Fate::Action(policy.default))]);
    for architecture in [
        Architecture::X86_64,
        Architecture::I386,
        Architecture::Aarch64,
        Architecture::Arm,
        Architecture::X32,
    ] {
        let is_x32 = architecture == Architecture::X32;
        if architectures.contains(&architecture) {
            add_calls(&mut starts, policy, architecture);
        } else if is_x32 && architectures.contains(&Architecture::X86_64) {
            // Calls of the x32 variant come under x86-64's number.
            starts.insert(X32_BIT, Fate::Action(Action::KillProcess));
        }
    }
    // Neighbours with the same fate are one interval.
    let mut intervals: Vec<(u32, Fate<'_>)> = Vec::new();
    for (start, fate) in starts {
        if intervals.last().is_none_or(|(_, last)| *last != fate) {
            intervals.push((start, fate));
        }
    }
    let mut code = vec![plain(LOAD, NUMBER)];
    code.extend(search(&intervals));
    code
}

fn add_calls<'p>(
    starts: &mut BTreeMap<u32, Fate<'p>>,
    policy: &'p Policy,
    architecture: Architecture,
) {
    let mut calls: BTreeMap<u32, Vec<&'p Rule>> = BTreeMap::new();
    for rule in &policy.rules {
        for name in &rule.names {
            if let Some(number) = architecture.number(name) {
                calls.entry(number).or_default().push(rule);
            }
        }
    }
    let base = if architecture == Architecture::X32 {
        X32_BIT
    } else {
        0
    };
    let refuses = matches!(
        policy.default,
        Action::Errno(_) | Action::KillProcess | Action::KillThread | Action::Trap
    );
    let newer = if refuses && !calls.is_empty() {
        Action::Errno(ENOSYS)
    } else {
        policy.default
    };
    // 32-bit ARM has a few calls far above all others (`set_tls`): they are not what newer ones come after.
    let end = if architecture == Architecture::Arm {
        ARM_PRIVATE
    } else {
        u32::MAX
    };
    let newest = calls.keys().copied().filter(|number| *number < end).max();
    starts.insert(base, Fate::Action(policy.default));
    for (number, rules) in calls {
        starts.insert(number, fate(rules, policy.default));
        // Until the next call that is mentioned, if that is not the very next one.
        let after = if Some(number) == newest {
            newer
        } else {
            policy.default
        };
        starts.insert(number + 1, Fate::Action(after));
    }
}

/// The rules up to the first without conditions; that one's action ends them.
fn fate(rules: Vec<&Rule>, default: Action) -> Fate<'_> {
    let end = rules.iter().position(|rule| rule.conditions.is_empty());
    let last = end.map_or(default, |at| rules[at].action);
    let conditional: Vec<&Rule> = rules.into_iter().take(end.unwrap_or(usize::MAX)).collect();
    if conditional.is_empty() {
        Fate::Action(last)
    } else {
        Fate::Rules(conditional, last)
    }
}

/// Binary search for the interval that the number lies in.
fn search(intervals: &[(u32, Fate<'_>)]) -> Vec<Instruction> {
    match intervals {
        [] => Vec::new(),
        [(_, fate)] => leaf(fate),
        _ => {
            let (left, right) = intervals.split_at(intervals.len() / 2);
            let (start, left, right) = (right[0].0, search(left), search(right));
            let mut code = Vec::with_capacity(left.len() + right.len() + 2);
            match u8::try_from(left.len()) {
                Ok(short) => code.push(jump(JUMP_GREATER_EQUAL, start, short, 0)),
                Err(_) => {
                    // Conditional jumps reach 255 instructions.
                    code.push(jump(JUMP_GREATER_EQUAL, start, 0, 1));
                    code.push(plain(JUMP, length(&left)));
                }
            }
            code.extend(left);
            code.extend(right);
            code
        }
    }
}

fn leaf(fate: &Fate<'_>) -> Vec<Instruction> {
    match fate {
        Fate::Action(action) => vec![plain(RETURN, action.code())],
        Fate::Rules(rules, last) => {
            let mut code: Vec<Instruction> =
                rules.iter().flat_map(|rule| conditional(rule)).collect();
            code.push(plain(RETURN, last.code()));
            code
        }
    }
}

/// Where a check goes on; replaced by distances once the rule's code is whole.
const PASS: u8 = 0xfe;
const FAIL: u8 = 0xff;

fn conditional(rule: &Rule) -> Vec<Instruction> {
    let mut code: Vec<Instruction> = Vec::new();
    for condition in &rule.conditions {
        let mut check = check(*condition);
        let length = check.len();
        for (at, instruction) in check.iter_mut().enumerate() {
            let to_end = u8::try_from(length - at - 1).unwrap_or(u8::MAX);
            for target in [&mut instruction.jump_true, &mut instruction.jump_false] {
                if *target == PASS {
                    *target = to_end;
                }
            }
        }
        code.extend(check);
    }
    code.push(plain(RETURN, rule.action.code()));
    let length = code.len();
    for (at, instruction) in code.iter_mut().enumerate() {
        // Within reach: see MAX_CONDITIONS.
        let to_end = u8::try_from(length - at - 1).unwrap_or(u8::MAX);
        for target in [&mut instruction.jump_true, &mut instruction.jump_false] {
            if *target == FAIL {
                *target = to_end;
            }
        }
    }
    code
}

/// Compares one argument in two halves.
fn check(condition: Condition) -> Vec<Instruction> {
    let low_at = ARGUMENTS + 8 * u32::from(condition.argument);
    let (low, high) = (plain(LOAD, low_at), plain(LOAD, low_at + 4));
    let halves = |value: u64| {
        let bytes = value.to_le_bytes();
        let [a, b, c, d, e, f, g, h] = bytes;
        (
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        )
    };
    // Greater or equal as `code` says, or its opposite.
    let ordered = |value: u64, code: u16, holds: bool| {
        let (low_value, high_value) = halves(value);
        let (yes, no) = if holds { (PASS, FAIL) } else { (FAIL, PASS) };
        vec![
            high,
            jump(JUMP_GREATER, high_value, yes, 0),
            jump(JUMP_EQUAL, high_value, 0, no),
            low,
            jump(code, low_value, yes, no),
        ]
    };
    match condition.comparison {
        Comparison::Equal(value) => {
            let (low_value, high_value) = halves(value);
            vec![
                high,
                jump(JUMP_EQUAL, high_value, 0, FAIL),
                low,
                jump(JUMP_EQUAL, low_value, PASS, FAIL),
            ]
        }
        Comparison::NotEqual(value) => {
            let (low_value, high_value) = halves(value);
            vec![
                high,
                jump(JUMP_EQUAL, high_value, 0, PASS),
                low,
                jump(JUMP_EQUAL, low_value, FAIL, PASS),
            ]
        }
        Comparison::GreaterOrEqual(value) => ordered(value, JUMP_GREATER_EQUAL, true),
        Comparison::Greater(value) => ordered(value, JUMP_GREATER, true),
        Comparison::Less(value) => ordered(value, JUMP_GREATER_EQUAL, false),
        Comparison::LessOrEqual(value) => ordered(value, JUMP_GREATER, false),
        Comparison::Masked { mask, value } => {
            let ((low_mask, high_mask), (low_value, high_value)) = (halves(mask), halves(value));
            vec![
                high,
                plain(AND, high_mask),
                jump(JUMP_EQUAL, high_value, 0, FAIL),
                low,
                plain(AND, low_mask),
                jump(JUMP_EQUAL, low_value, PASS, FAIL),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the program answers, by interpreting it.
    fn ask(filter: &Filter, audit: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let load = |at: u32| match at {
            NUMBER => number,
            ARCHITECTURE => audit,
            at => {
                let argument = arguments[usize::try_from((at - ARGUMENTS) / 8).unwrap()];
                if at % 8 == 0 {
                    (argument & 0xffff_ffff) as u32
                } else {
                    (argument >> 32) as u32
                }
            }
        };
        let (mut at, mut accumulator) = (0_usize, 0_u32);
        loop {
            let Instruction {
                code,
                jump_true,
                jump_false,
                value,
            } = filter.instructions()[at];
            at += 1;
            let mut branch =
                |holds: bool| at += usize::from(if holds { jump_true } else { jump_false });
            match code {
                LOAD => accumulator = load(value),
                AND => accumulator &= value,
                JUMP => at += value as usize,
                JUMP_EQUAL => branch(accumulator == value),
                JUMP_GREATER => branch(accumulator > value),
                JUMP_GREATER_EQUAL => branch(accumulator >= value),
                RETURN => return value,
                other => panic!("opcode {other:#x}"),
            }
        }
    }

    /// The same by the policy's own words.
    fn expected(
        policy: &Policy,
        architecture: Architecture,
        number: u32,
        arguments: [u64; 6],
    ) -> u32 {
        let mentioned = policy
            .rules
            .iter()
            .flat_map(|rule| &rule.names)
            .filter_map(|name| architecture.number(name));
        let newest = mentioned.max();
        let holds = |condition: &Condition| {
            let argument = arguments[usize::from(condition.argument)];
            match condition.comparison {
                Comparison::Equal(value) => argument == value,
                Comparison::NotEqual(value) => argument != value,
                Comparison::Less(value) => argument < value,
                Comparison::LessOrEqual(value) => argument <= value,
                Comparison::Greater(value) => argument > value,
                Comparison::GreaterOrEqual(value) => argument >= value,
                Comparison::Masked { mask, value } => argument & mask == value,
            }
        };
        let about = |rule: &&Rule| {
            rule.names
                .iter()
                .any(|name| architecture.number(name) == Some(number))
        };
        if let Some(rule) = policy
            .rules
            .iter()
            .filter(about)
            .find(|rule| rule.conditions.iter().all(holds))
        {
            return rule.action.code();
        }
        match (policy.default, newest) {
            (Action::Errno(_), Some(newest)) if number > newest => Action::Errno(ENOSYS).code(),
            (default, _) => default.code(),
        }
    }

    fn comparison() -> impl Strategy<Value = Comparison> {
        let value = prop_oneof![0..4_u64, Just(u64::MAX), Just(1 << 32), any::<u64>()];
        (0..7, value.clone(), value).prop_map(|(kind, value, mask)| match kind {
            0 => Comparison::Equal(value),
            1 => Comparison::NotEqual(value),
            2 => Comparison::Less(value),
            3 => Comparison::LessOrEqual(value),
            4 => Comparison::Greater(value),
            5 => Comparison::GreaterOrEqual(value),
            _ => Comparison::Masked {
                mask,
                value: value & mask,
            },
        })
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let names = proptest::sample::select(vec![
            "read", "write", "open", "close", "clone3", "getppid", "mount", "openat2",
        ]);
        let conditions = proptest::collection::vec((0..6_u8, comparison()), 0..=MAX_CONDITIONS);
        let action = prop_oneof![
            Just(Action::Allow),
            (0..100_u16).prop_map(Action::Errno),
            (0..100_u16).prop_map(Action::Trace),
            proptest::sample::select(vec![
                Action::Trap,
                Action::Log,
                Action::Notify,
                Action::KillThread,
                Action::KillProcess,
            ]),
        ];
        (proptest::collection::vec(names, 1..4), conditions, action).prop_map(
            |(names, conditions, action)| Rule {
                names: names.into_iter().map(str::to_owned).collect(),
                conditions: conditions
                    .into_iter()
                    .map(|(argument, comparison)| Condition {
                        argument,
                        comparison,
                    })
                    .collect(),
                action,
            },
        )
    }

    proptest! {
        #[test]
        fn the_program_does_what_the_policy_says(
            rules in proptest::collection::vec(rule(), 0..8),
            number in prop_oneof![0..10_u32, 100..120_u32, 430..470_u32],
            arguments in proptest::array::uniform6(prop_oneof![0..4_u64, Just(u64::MAX), Just(1 << 32)]),
        ) {
            let architectures = vec![Architecture::X86_64, Architecture::I386, Architecture::X32];
            let policy = Policy { default: Action::Errno(1), architectures: architectures.clone(), rules };
            let filter = compile(&policy).unwrap();
            for architecture in architectures {
                let number = if architecture == Architecture::X32 { number | X32_BIT } else { number };
                let answer = ask(&filter, architecture.audit(), number, arguments);
                prop_assert_eq!(answer, expected(&policy, architecture, number, arguments), "{:?} {}", architecture, number);
            }
            for (at, instruction) in filter.instructions().iter().enumerate() {
                let after = at + 1 + usize::from(instruction.jump_true.max(instruction.jump_false));
                prop_assert!(instruction.code == RETURN || after < filter.instructions().len());
            }
            prop_assert_eq!(ask(&filter, 0x1234, number, arguments), Action::KillProcess.code());
        }
    }

    #[test]
    fn x32_calls_do_not_slip_past_a_filter_for_x86_64() {
        let policy = Policy {
            default: Action::Allow,
            architectures: vec![Architecture::X86_64],
            rules: Vec::new(),
        };
        let filter = compile(&policy).unwrap();
        assert_eq!(
            ask(&filter, Architecture::X86_64.audit(), X32_BIT | 1, [0; 6]),
            Action::KillProcess.code()
        );
        assert_eq!(
            ask(&filter, Architecture::X86_64.audit(), 1, [0; 6]),
            Action::Allow.code()
        );
    }

    #[test]
    fn private_calls_of_arm_are_not_the_newest() {
        let rule = Rule {
            names: vec!["read".to_owned(), "set_tls".to_owned()],
            action: Action::Allow,
            conditions: Vec::new(),
        };
        let policy = Policy {
            default: Action::Errno(1),
            architectures: vec![Architecture::Aarch64, Architecture::Arm],
            rules: vec![rule],
        };
        let filter = compile(&policy).unwrap();
        let answer = |number| ask(&filter, Architecture::Arm.audit(), number, [0; 6]);
        assert_eq!(answer(3), Action::Allow.code());
        assert_eq!(answer(0xf_0005), Action::Allow.code());
        assert_eq!(answer(2), Action::Errno(1).code());
        assert_eq!(answer(4000), Action::Errno(ENOSYS).code());
    }

    #[test]
    fn impossible_policies_are_refused() {
        let condition = Condition {
            argument: 6,
            comparison: Comparison::Equal(0),
        };
        let rule = Rule {
            names: vec!["read".to_owned()],
            action: Action::Allow,
            conditions: vec![condition],
        };
        let policy = Policy {
            default: Action::Allow,
            architectures: vec![Architecture::X86_64],
            rules: vec![rule],
        };
        assert_eq!(compile(&policy), Err(Error::Argument(6)));
        let mut policy = policy;
        let condition = Condition {
            argument: 0,
            comparison: Comparison::Equal(1),
        };
        policy.rules[0].conditions = vec![condition; 60];
        assert_eq!(compile(&policy), Err(Error::Conditions(60)));
    }
}
