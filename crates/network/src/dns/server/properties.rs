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
