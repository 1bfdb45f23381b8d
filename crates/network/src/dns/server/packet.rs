//! DNS messages as far as a resolver between clients and servers must read them (RFC 1035 section 4,
//! RFC 6891). What others say is passed on byte for byte, so nothing here takes records apart that are
//! not our own: a codec of all of them would have to write them anew.

use std::net::IpAddr;
use std::ops::Range;

/// Types of records (RFC 1035 section 3.2.2, RFC 3596, RFC 6891).
pub(super) mod kind {
    pub(in super::super) const A: u16 = 1;
    pub(in super::super) const SOA: u16 = 6;
    pub(in super::super) const PTR: u16 = 12;
    pub(in super::super) const AAAA: u16 = 28;
    pub(in super::super) const OPT: u16 = 41;
}

/// Response codes (RFC 1035 section 4.1.1).
pub(super) mod rcode {
    pub(in super::super) const NO_ERROR: u8 = 0;
    pub(in super::super) const FORMAT_ERROR: u8 = 1;
    pub(in super::super) const SERVER_FAILURE: u8 = 2;
    pub(in super::super) const NO_SUCH_NAME: u8 = 3;
    pub(in super::super) const NOT_IMPLEMENTED: u8 = 4;
    pub(in super::super) const REFUSED: u8 = 5;
}

pub(super) const HEADER: usize = 12;
/// The longest answer over UDP to those who do not say that they take more.
pub(super) const SMALLEST_LIMIT: usize = 512;
/// How long clients may keep our answers, in seconds: what dockerd says.
const TTL: u32 = 600;

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const CHECKING_DISABLED: u16 = 0x0010;
const CLASS_IN: u16 = 1;
/// A name that is the question's, which begins right behind the header (RFC 1035 section 4.1.4).
const THE_NAME_ASKED_FOR: u16 = 0xc000 | 12;
const LONGEST_NAME: usize = 255;

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

/// The identifier, which every message begins with.
pub(super) fn id(message: &[u8]) -> u16 {
    u16_at(message, 0).unwrap_or(0)
}

/// Gives a message another identifier.
pub(super) fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.first_chunk_mut() {
        *place = id.to_be_bytes();
    }
}

/// The response code in the header.
pub(super) fn code(message: &[u8]) -> u8 {
    message.get(3).map_or(0, |byte| byte & 0x0f)
}

/// Whether the rest did not fit.
pub(super) fn is_truncated(message: &[u8]) -> bool {
    u16_at(message, 2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// A question that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) kind: u16,
    /// The name in lower case with dots between its labels and none at the end; `None` for names that
    /// cannot be written that way, which are nobody's here.
    pub(super) name: Option<String>,
    /// Where the question (name, type, class) ends; it begins behind the header.
    pub(super) question_end: usize,
    /// The longest answer that the client takes over UDP.
    pub(super) limit: usize,
}

/// Why a message is not answered as asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Too short for an answer, or an answer itself: nothing is said.
    Ignore,
    /// Said with this response code.
    Refuse(u8),
}

impl Query {
    /// Reads a client's message.
    pub(super) fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let flags = u16_at(message, 2).ok_or(Malformed::Ignore)?;
        if message.len() < HEADER || flags & RESPONSE != 0 {
            return Err(Malformed::Ignore);
        }
        if flags & OPCODE != 0 {
            return Err(Malformed::Refuse(rcode::NOT_IMPLEMENTED));
        }
        if u16_at(message, 4) != Some(1) {
            return Err(Malformed::Refuse(rcode::FORMAT_ERROR));
        }
        Self::question(message).ok_or(Malformed::Refuse(rcode::FORMAT_ERROR))
    }

    fn question(message: &[u8]) -> Option<Self> {
        let name_end = plain_name(message, HEADER)?;
        let name = text(&message[HEADER..name_end]);
        let kind = u16_at(message, name_end)?;
        let question_end = name_end + 4;
        u16_at(message, name_end + 2)?;
        let mut limit = SMALLEST_LIMIT;
        let mut records = Records::new(message, question_end)?;
        for record in &mut records {
            let record = record?;
            if record.kind == kind::OPT {
                limit = limit.max(record.class.into());
            }
        }
        Some(Self {
            kind,
            name,
            question_end,
            limit,
        })
    }
}

/// The end of an uncompressed name that begins at `start`.
fn plain_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        if length > 63 || at + 1 + length - start > LONGEST_NAME {
            return None;
        }
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

/// A name as text, lower case.
fn text(wire: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((&length, after)) = rest.split_first() {
        let (label, after) = after.split_at_checked(length.into())?;
        rest = after;
        if label.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label {
            if !byte.is_ascii_graphic() || byte == b'.' {
                return None;
            }
            text.push(byte.to_ascii_lowercase().into());
        }
    }
    Some(text)
}

/// The end of a name, which may be compressed.
fn skip_name(message: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => return Some(at + 1),
            1..=63 => at += 1 + length,
            0xc0.. => return message.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
        // What follows has a byte at least.
        if at - start >= LONGEST_NAME {
            return None;
        }
    }
}

/// A record of another's.
struct Record {
    kind: u16,
    class: u16,
    /// Where its time to live stands.
    ttl_at: usize,
    data: Range<usize>,
    section: Section,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Answer,
    Authority,
    Additional,
}

/// Walks over all records behind the question; `None` for one that ends too early.
struct Records<'a> {
    message: &'a [u8],
    at: usize,
    left: [u16; 3],
}

impl<'a> Records<'a> {
    fn new(message: &'a [u8], at: usize) -> Option<Self> {
        let left = [
            u16_at(message, 6)?,
            u16_at(message, 8)?,
            u16_at(message, 10)?,
        ];
        Some(Self { message, at, left })
    }

    fn read(&mut self, section: Section) -> Option<Record> {
        let at = skip_name(self.message, self.at)?;
        let length = usize::from(u16_at(self.message, at + 8)?);
        let data = at + 10..at + 10 + length;
        self.message.get(data.clone())?;
        self.at = data.end;
        Some(Record {
            kind: u16_at(self.message, at)?,
            class: u16_at(self.message, at + 2)?,
            ttl_at: at + 4,
            data,
            section,
        })
    }
}

impl Iterator for Records<'_> {
    type Item = Option<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.left.iter().position(|left| *left > 0)?;
        self.left[index] -= 1;
        let section = [Section::Answer, Section::Authority, Section::Additional][index];
        let record = self.read(section);
        if record.is_none() {
            self.left = [0; 3];
        }
        Some(record)
    }
}

/// Whether a server's message is an answer to `asked`: the identifier, and the question in whatever case.
/// Servers that do not understand a question may leave it out.
pub(super) fn answers(message: &[u8], asked: &[u8], id: u16, question_end: usize) -> bool {
    let (Some(flags), Some(count)) = (u16_at(message, 2), u16_at(message, 4)) else {
        return false;
    };
    if message.len() < HEADER || flags & RESPONSE == 0 || self::id(message) != id {
        return false;
    }
    match (
        message.get(HEADER..question_end),
        asked.get(HEADER..question_end),
    ) {
        (Some(theirs), Some(ours)) if count == 1 => theirs.eq_ignore_ascii_case(ours),
        _ => count == 0 && code(message) != rcode::NO_ERROR && message.len() == HEADER,
    }
}

/// How long an answer may be kept, and where its times to live stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) seconds: u32,
    pub(super) ttls: Vec<u16>,
}

/// Reads how long a server's answer holds: as long as its shortest-lived record, or, for names and types
/// that do not exist, as long as the zone says (RFC 2308 section 5). `None`: it is not to be kept.
pub(super) fn lifetime(message: &[u8], question_end: usize) -> Option<Lifetime> {
    let negative = match code(message) {
        rcode::NO_ERROR => u16_at(message, 6)? == 0,
        rcode::NO_SUCH_NAME => true,
        _ => return None,
    };
    if is_truncated(message) {
        return None;
    }
    let (mut seconds, mut ttls, mut has_soa) = (u32::MAX, Vec::new(), false);
    for record in Records::new(message, question_end)? {
        let record = record?;
        if record.kind == kind::OPT {
            continue;
        }
        let ttl = u32_at(message, record.ttl_at)?;
        seconds = seconds.min(ttl);
        if record.section == Section::Authority && record.kind == kind::SOA {
            has_soa = true;
            // The last of its five numbers.
            let minimum = record.data.end.checked_sub(4)?;
            if negative && minimum >= record.data.start {
                seconds = seconds.min(u32_at(message, minimum)?);
            }
        }
        ttls.push(u16::try_from(record.ttl_at).ok()?);
    }
    (seconds > 0 && seconds < u32::MAX && (!negative || has_soa))
        .then_some(Lifetime { seconds, ttls })
}

fn u32_at(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

/// Takes `seconds` off a time to live.
pub(super) fn age(message: &mut [u8], ttl_at: u16, seconds: u32) {
    let place = message
        .get_mut(usize::from(ttl_at)..)
        .and_then(<[u8]>::first_chunk_mut::<4>);
    if let Some(place) = place {
        *place = u32::from_be_bytes(*place)
            .saturating_sub(seconds)
            .to_be_bytes();
    }
}

/// What we know ourselves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The name exists, but nothing of this type; not empty otherwise.
    Addresses(Vec<IpAddr>),
    /// The name of an address.
    Name(String),
}

/// Writes an answer of ours to `query`, at most `limit` bytes.
pub(super) fn write_answer(
    query: &[u8],
    question_end: usize,
    answer: &Answer,
    limit: usize,
    to: &mut Vec<u8>,
) {
    head(query, question_end, RECURSION_AVAILABLE, to);
    let mut count: u16 = 0;
    let mut data = [0; LONGEST_NAME + 1];
    let write = |kind: u16, data: &[u8], to: &mut Vec<u8>| {
        let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
        if to.len() + 12 + data.len() > limit {
            return false;
        }
        for number in [THE_NAME_ASKED_FOR, kind, CLASS_IN] {
            to.extend(number.to_be_bytes());
        }
        to.extend(TTL.to_be_bytes());
        to.extend(length.to_be_bytes());
        to.extend(data);
        true
    };
    let mut whole = true;
    match answer {
        Answer::Addresses(addresses) => {
            for address in addresses {
                let fits = match address {
                    IpAddr::V4(address) => write(kind::A, &address.octets(), to),
                    IpAddr::V6(address) => write(kind::AAAA, &address.octets(), to),
                };
                if !fits {
                    whole = false;
                    break;
                }
                count = count.saturating_add(1);
            }
        }
        Answer::Name(name) => {
            if let Some(length) = wire_name(name, &mut data) {
                whole = write(kind::PTR, &data[..length], to);
                count = u16::from(whole);
            }
        }
    }
    to[6..8].copy_from_slice(&count.to_be_bytes());
    if !whole {
        to[2] |= (TRUNCATED >> 8) as u8;
    }
}

/// A name as it goes over the wire; `None` for what is no name.
fn wire_name(name: &str, to: &mut [u8; LONGEST_NAME + 1]) -> Option<usize> {
    let mut at = 0;
    for label in name.split('.') {
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| (1..=63).contains(n))?;
        let end = at + 1 + label.len();
        if end >= LONGEST_NAME {
            return None;
        }
        to[at] = length;
        to[at + 1..end].copy_from_slice(label.as_bytes());
        at = end;
    }
    to[at] = 0;
    Some(at + 1)
}

/// Writes an answer that says only that there is none, in the way of dockerd's.
pub(super) fn write_failure(query: &[u8], question_end: usize, code: u8, to: &mut Vec<u8>) {
    let available = match code {
        rcode::NO_ERROR => RECURSION_AVAILABLE,
        _ => 0,
    };
    head(query, question_end, available, to);
    to[3] |= code;
}

/// The header of an answer, and the question if it could be read (`question_end` > 12).
fn head(query: &[u8], question_end: usize, flags: u16, to: &mut Vec<u8>) {
    to.clear();
    let asked = u16_at(query, 2).unwrap_or(0);
    let copied = asked & (OPCODE | RECURSION_DESIRED | CHECKING_DISABLED);
    to.extend(id(query).to_be_bytes());
    to.extend((RESPONSE | copied | flags).to_be_bytes());
    let question = query.get(HEADER..question_end).unwrap_or(&[]);
    to.extend(u16::from(!question.is_empty()).to_be_bytes());
    to.extend([0; 6]);
    to.extend(question);
}

/// The address that a name below in-addr.arpa or ip6.arpa stands for (RFC 1035 section 3.5, RFC 3596
/// section 2.5).
pub(super) fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0_u8; 4];
        let mut parts = digits.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = parts.next()?.parse().ok()?;
        }
        return parts.next().is_none().then(|| octets.into());
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let mut octets = [0_u8; 16];
    let mut parts = digits.split('.');
    for octet in octets.iter_mut().rev() {
        for shift in [0, 4] {
            let digit = parts.next().filter(|digit| digit.len() == 1)?;
            *octet |= u8::from_str_radix(digit, 16).ok()? << shift;
        }
    }
    parts.next().is_none().then(|| octets.into())
}
