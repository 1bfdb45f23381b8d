//! Values as text: GVariant's format (GLib, "GVariant Text Format"), as far as a property of a unit can need
//! it. Without a type, whole numbers are of 32 bits, with a point of `double`.

use super::value::{Type, Value};

/// How deep a value may lie.
const MAX_DEPTH: usize = 16;

/// Parses one value: `true`, `5`, `uint64 5`, `@t 5`, `"text"`, `'text'`, `[1, 2]`, `('a', 'b')`, `<5>`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text.trim() };
    let value = parser.value(None, 0)?;
    if parser.rest.is_empty() {
        Ok(value)
    } else {
        Err(format!("unexpected {:?} behind the value", parser.rest))
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip(&mut self, count: usize) {
        self.rest = self.rest[count..].trim_start();
    }

    fn eat(&mut self, sign: char) -> bool {
        let found = self.rest.starts_with(sign);
        if found {
            self.skip(sign.len_utf8());
        }
        found
    }

    /// Up to what cannot be part of a number or a name.
    fn word(&mut self) -> &'a str {
        let ends = |c: char| c.is_whitespace() || ",:[](){}<>'\"@".contains(c);
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.skip(end);
        word
    }

    fn value(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("the value is too deep".to_owned());
        }
        match self.rest.chars().next() {
            None => Err("unexpected end".to_owned()),
            Some('@') => {
                let end = self.rest.find(' ').unwrap_or(self.rest.len());
                let signature = &self.rest[1..end];
                let kinds = Type::parse_all(signature);
                let Some([kind]) = kinds.as_deref() else {
                    return Err(format!("invalid type {signature:?}"));
                };
                self.skip(end);
                self.value(Some(kind), depth + 1)
            }
            Some('"' | '\'') => {
                let text = self.quoted()?;
                Ok(match wanted {
                    Some(Type::Plain('o')) => Value::Path(text),
                    Some(Type::Plain('g')) => Value::Signature(text),
                    None | Some(Type::Plain('s')) => Value::Text(text),
                    Some(other) => {
                        return Err(format!("{text:?} is not of type {}", other.signature()));
                    }
                })
            }
            Some('[') => {
                let member = match wanted {
                    None => None,
                    Some(Type::Array(member)) => Some(&**member),
                    Some(other) => return Err(format!("not of type {}", other.signature())),
                };
                let values = self.members('[', ']', depth, |_| member)?;
                let kind = member.cloned().or_else(|| values.first().map(Value::kind));
                let kind = kind.ok_or("an empty array needs a type")?;
                if values.iter().any(|value| value.kind() != kind) {
                    return Err("the members of an array are of one type".to_owned());
                }
                Ok(Value::Array(kind, values))
            }
            Some('(') => self.tuple(wanted, depth),
            Some('<') => {
                self.eat('<');
                let value = self.value(None, depth + 1)?;
                if !self.eat('>') {
                    return Err("'>' is missing".to_owned());
                }
                Ok(Value::Variant(Box::new(value)))
            }
            Some(_) => self.named(wanted, depth),
        }
    }

    fn tuple(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        let kinds = match wanted {
            Some(Type::Struct(kinds)) => kinds.as_slice(),
            _ => &[],
        };
        let values = self.members('(', ')', depth, |at| kinds.get(at))?;
        if values.is_empty() {
            // D-Bus has no structure without members.
            return Err("a tuple of nothing".to_owned());
        }
        Ok(Value::Struct(values))
    }

    fn members<'t>(
        &mut self,
        open: char,
        close: char,
        depth: usize,
        kind: impl Fn(usize) -> Option<&'t Type>,
    ) -> Result<Vec<Value>, String> {
        let mut values = Vec::new();
        self.eat(open);
        while !self.eat(close) {
            if !values.is_empty() && !self.eat(',') {
                return Err(format!("',' or {close:?} is missing"));
            }
            if self.eat(close) {
                break;
            }
            values.push(self.value(kind(values.len()), depth + 1)?);
        }
        Ok(values)
    }

    /// A truth value, a number, or the name of a type and a value of it.
    fn named(&mut self, wanted: Option<&Type>, depth: usize) -> Result<Value, String> {
        let word = self.word();
        let letter = match word {
            "boolean" => 'b',
            "byte" => 'y',
            "int16" => 'n',
            "uint16" => 'q',
            "int32" => 'i',
            "uint32" => 'u',
            "int64" => 'x',
            "uint64" => 't',
            "double" => 'd',
            "string" => 's',
            "objectpath" => 'o',
            "signature" => 'g',
            _ => return plain(word, wanted),
        };
        self.value(Some(&Type::Plain(letter)), depth + 1)
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut letters = self.rest.char_indices();
        let quote = letters.next().map(|(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, letter)) = letters.next() {
            match letter {
                letter if Some(letter) == quote => {
                    self.skip(at + 1);
                    return Ok(text);
                }
                '\\' => match letters.next().map(|(_, letter)| letter) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(size @ ('u' | 'U')) => {
                        let digits = if size == 'u' { 4 } else { 8 };
                        let hex: String = letters.by_ref().take(digits).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&hex, 16).ok();
                        let letter = code.and_then(char::from_u32);
                        text.push(letter.ok_or_else(|| format!("invalid escape \\{size}{hex}"))?);
                    }
                    Some(letter) => text.push(letter),
                    None => break,
                },
                letter => text.push(letter),
            }
        }
        Err("a quote is missing".to_owned())
    }
}

fn plain(word: &str, wanted: Option<&Type>) -> Result<Value, String> {
    let invalid = || {
        let kind = wanted.map_or_else(|| "any type".to_owned(), Type::signature);
        format!("{word:?} is no value of {kind}")
    };
    let letter = match wanted {
        Some(Type::Plain(letter)) => *letter,
        Some(_) => return Err(invalid()),
        None if matches!(word, "true" | "false") => 'b',
        None if word.contains('.') => 'd',
        None => 'i',
    };
    let number = || whole(word);
    let value = match letter {
        'b' => word.parse().ok().map(Value::Bool),
        'd' => word.parse().ok().map(Value::Double),
        'y' => number().and_then(|n| n.try_into().ok()).map(Value::Byte),
        'n' => number().and_then(|n| n.try_into().ok()).map(Value::I16),
        'q' => number().and_then(|n| n.try_into().ok()).map(Value::U16),
        'i' => number().and_then(|n| n.try_into().ok()).map(Value::I32),
        'u' => number().and_then(|n| n.try_into().ok()).map(Value::U32),
        'x' => number().and_then(|n| n.try_into().ok()).map(Value::I64),
        't' => number().and_then(|n| n.try_into().ok()).map(Value::U64),
        _ => None,
    };
    value.ok_or_else(invalid)
}

/// Decimal, octal after `0`, or with `0x`.
fn whole(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let number = if let Some(hex) = digits.strip_prefix("0x") {
        i128::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i128::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    Some(sign * number.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_are_values() {
        let strings = |values: &[&str]| {
            let values = values.iter().map(|text| Value::text(text)).collect();
            Value::Array(Type::Plain('s'), values)
        };
        for (text, value) in [
            ("true", Value::Bool(true)),
            (" 5 ", Value::I32(5)),
            ("-0x10", Value::I32(-16)),
            ("010", Value::I32(8)),
            ("1.5", Value::Double(1.5)),
            ("uint64 123456789", Value::U64(123_456_789)),
            ("@t 7", Value::U64(7)),
            ("byte 0xff", Value::Byte(255)),
            ("'inactive-or-failed'", Value::text("inactive-or-failed")),
            (r#""a\"b\u00e9\n""#, Value::text("a\"bé\n")),
            ("objectpath '/a'", Value::Path("/a".to_owned())),
            ("['a', \"b\"]", strings(&["a", "b"])),
            ("@as []", strings(&[])),
            ("<uint32 3>", Value::Variant(Box::new(Value::U32(3)))),
            (
                "('a', uint16 2)",
                Value::Struct(vec![Value::text("a"), Value::U16(2)]),
            ),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
        for text in [
            "",
            "tru",
            "5 6",
            "[]",
            "[1, 'a']",
            "'a",
            "uint16 70000",
            "@zz 1",
            "<1",
            "(1",
            "@as 5",
            "boolean 1",
            "byte -1",
            "5000000000",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[ -~µ]{0,40}", deep in 0..40_usize) {
            let _ = parse(&text);
            let _ = parse(&("<".repeat(deep) + &text));
        }
    }
}
