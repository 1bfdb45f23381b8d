//! What holds for every message, whoever made it.

use super::packet::{self, Answer, HEADER, Malformed, Query, rcode};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// As a client's question: what we say to it is short enough, an answer to it, and a message that our own
/// reader finds whole.
pub(crate) fn question(bytes: &[u8]) {
    let mut said = Vec::new();
    let query = match Query::parse(bytes) {
        Ok(query) => query,
        Err(Malformed::Ignore) => return,
        Err(Malformed::Refuse(code)) => {
            packet::write_failure(bytes, 0, code, &mut said);
            assert_eq!((said.len(), packet::code(&said)), (HEADER, code));
            return;
        }
    };
    let end = query.question_end;
    assert!(end > HEADER && end <= bytes.len() && query.limit >= packet::SMALLEST_LIMIT);
    if let Some(name) = &query.name {
        let is_small = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        assert!(name.len() < 255 && name.bytes().all(is_small), "{name}");
        packet::reverse(name);
    }
    for code in [rcode::NO_ERROR, rcode::SERVER_FAILURE] {
        packet::write_failure(bytes, end, code, &mut said);
        assert!(said.len() == end && packet::code(&said) == code);
        assert_eq!(packet::lifetime(&said, end), None);
    }
    let own = [
        Answer::Addresses(vec![Ipv4Addr::LOCALHOST.into(); 100]),
        Answer::Addresses(vec![IpAddr::from(Ipv6Addr::LOCALHOST); 2]),
        Answer::Addresses(Vec::new()),
        Answer::Name("web.network".to_owned()),
        Answer::Name("x".repeat(300)),
    ];
    for answer in own {
        packet::write_answer(bytes, end, &answer, query.limit, &mut said);
        assert!(said.len() <= query.limit.max(end));
        assert!(packet::answers(&said, bytes, packet::id(bytes), end));
        let count = said[7] + said[6];
        match packet::lifetime(&said, end) {
            Some(lifetime) => {
                assert_eq!((lifetime.seconds, lifetime.ttls.len()), (600, count.into()));
            }
            None => assert!(packet::is_truncated(&said) || count == 0),
        }
    }
}

/// As a server's answer: it can be aged and kept, if at all, within its own bytes.
pub(crate) fn answer(bytes: &[u8]) {
    let id = packet::id(bytes);
    for end in [HEADER, HEADER + 5, HEADER + 9, bytes.len()] {
        packet::answers(bytes, bytes, id, end);
        let Some(lifetime) = packet::lifetime(bytes, end) else {
            continue;
        };
        assert!(lifetime.seconds > 0 && !packet::is_truncated(bytes));
        let mut old = bytes.to_vec();
        for place in lifetime.ttls {
            assert!(usize::from(place) + 6 <= bytes.len() && usize::from(place) >= HEADER);
            packet::age(&mut old, place, lifetime.seconds);
        }
        assert_eq!(old.len(), bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const QUESTION: &[u8] = b"\x03web\0\0\x01\0\x01";
    const QUESTION_END: usize = HEADER + QUESTION.len();
    const ADDRESS: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\x01\x02\x03\x04";

    fn message(flags: u16, counts: [u16; 4], rest: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34];
        for number in [flags].into_iter().chain(counts) {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(rest.concat());
        bytes
    }

    fn refused(bytes: &[u8]) -> bool {
        Query::parse(bytes) == Err(Malformed::Refuse(rcode::FORMAT_ERROR))
    }

    #[test]
    fn pointers_are_nowhere_followed() {
        // To itself, to each other, forward, behind the end.
        for pointer in [b"\xc0\x15", b"\xc0\x17", b"\xc0\xff", b"\xff\xff"] {
            let record = [&pointer[..], &ADDRESS[2..]].concat();
            let bytes = message(0x8180, [1, 2, 0, 0], &[QUESTION, &record, &record]);
            answer(&bytes);
            let lifetime = packet::lifetime(&bytes, QUESTION_END).unwrap();
            assert_eq!((lifetime.seconds, lifetime.ttls.len()), (300, 2));
        }
        // No question needs any.
        for name in [
            &b"\xc0\x0c"[..],
            b"\x01a\xc0\x0c",
            b"\x01a\x40\0",
            b"\x80\0",
        ] {
            assert!(refused(&message(
                0x0100,
                [1, 0, 0, 0],
                &[name, b"\0\x01\0\x01"]
            )));
        }
    }

    #[test]
    fn names_have_255_bytes_at_most() {
        let label = [&[63][..], &[b'a'; 63]].concat();
        let longest = [label.repeat(3), vec![61], vec![b'a'; 61]].concat();
        let too_long = [label.repeat(3), vec![62], vec![b'a'; 62]].concat();
        let ask = |name: &[u8]| message(0x0100, [1, 0, 0, 0], &[name, b"\0\0\x01\0\x01"]);
        let bytes = ask(&longest);
        question(&bytes);
        assert_eq!(Query::parse(&bytes).unwrap().name.unwrap().len(), 253);
        for name in [too_long, label.repeat(4), label.repeat(100)] {
            assert!(refused(&ask(&name)));
            for end in [&b"\0"[..], b"\xc0\x0c"] {
                let parts = [QUESTION, &name, end, &ADDRESS[2..]];
                let bytes = message(0x8180, [1, 1, 0, 0], &parts);
                assert_eq!(packet::lifetime(&bytes, QUESTION_END), None);
            }
        }
    }

    #[test]
    fn what_is_cut_off_is_not_kept() {
        let whole = message(0x8180, [1, 2, 0, 0], &[QUESTION, ADDRESS, ADDRESS]);
        assert!(packet::lifetime(&whole, QUESTION_END).is_some());
        for end in 0..whole.len() {
            question(&whole[..end]);
            answer(&whole[..end]);
            assert_eq!(packet::lifetime(&whole[..end], QUESTION_END), None);
        }
        let asked = message(
            0x0100,
            [1, 0, 0, 1],
            &[QUESTION, b"\0\0\x29\x10\0\0\0\0\0\0\0"],
        );
        assert!(Query::parse(&asked).is_ok());
        for end in HEADER..asked.len() {
            assert!(refused(&asked[..end]));
        }
    }

    #[test]
    fn counts_that_lie_are_found_out() {
        for counts in [
            [1, 2, 0, 0],
            [1, u16::MAX, 0, 0],
            [1, 1, 1, 0],
            [1, 1, 0, u16::MAX],
        ] {
            let bytes = message(0x8180, counts, &[QUESTION, ADDRESS]);
            assert_eq!(packet::lifetime(&bytes, QUESTION_END), None);
        }
        for counts in [
            [0, 0, 0, 0],
            [2, 0, 0, 0],
            [1, 1, 0, 0],
            [1, 0, 0, 9],
            [u16::MAX; 4],
        ] {
            assert!(refused(&message(0x0100, counts, &[QUESTION])));
        }
    }

    /// Labels, pointers to anywhere, bytes that are neither, often without an end.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        let label = |length: u8| [vec![length], vec![b'A'; length.into()]].concat();
        let part = prop_oneof![
            6 => (1..=63_u8).prop_map(label),
            1 => (0xc0..=0xff_u8, any::<u8>()).prop_map(|(high, low)| vec![high, low]),
            1 => (0x40..=0xbf_u8).prop_map(|byte| vec![byte]),
        ];
        let end = prop_oneof![6 => Just(vec![0]), 1 => Just(vec![])];
        (vec(part, 0..6), end).prop_map(|(parts, end)| [parts.concat(), end].concat())
    }

    fn record() -> impl Strategy<Value = Vec<u8>> {
        let kind = prop_oneof![
            Just(1_u16),
            Just(6),
            Just(12),
            Just(28),
            Just(41),
            any::<u16>()
        ];
        let says = prop_oneof![4 => Just(None), 1 => any::<u16>().prop_map(Some)];
        let name = prop_oneof![Just(vec![0xc0, 0x0c]), name()];
        (
            name,
            kind,
            any::<u16>(),
            any::<u32>(),
            says,
            vec(any::<u8>(), 0..30),
        )
            .prop_map(|(name, kind, class, ttl, says, data)| {
                let length = says.unwrap_or(u16::try_from(data.len()).unwrap());
                let mut bytes = name;
                bytes.extend([kind, class].map(u16::to_be_bytes).concat());
                bytes.extend(ttl.to_be_bytes());
                bytes.extend(length.to_be_bytes());
                bytes.extend(data);
                bytes
            })
    }

    fn any_message() -> impl Strategy<Value = Vec<u8>> {
        let flags = prop_oneof![Just(0x0100_u16), Just(0x8180), Just(0x8183), any::<u16>()];
        let count = || prop_oneof![6 => 0..4_u16, 1 => any::<u16>()];
        let counts = (Just(1), count(), count(), count());
        (flags, counts, name(), vec(record(), 0..5), 0..40_usize).prop_map(
            |(flags, (one, two, three, four), name, records, missing)| {
                let parts = [name, b"\0\x01\0\x01".to_vec(), records.concat()].concat();
                let mut bytes = message(flags, [one, two, three, four], &[&parts]);
                // Some are cut off.
                bytes.truncate(bytes.len().saturating_sub(missing.saturating_sub(20)));
                bytes
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn all_holds_for_whatever_looks_like_a_message(bytes in any_message()) {
            question(&bytes);
            answer(&bytes);
        }
    }
}
