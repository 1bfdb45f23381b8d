//! Lists of numbers such as `0-3,7` (cpuset(7), "List format").

use crate::error::{Error, said};

/// The largest number: more processors or nodes than any kernel is built for.
const MOST: u32 = 8191;

/// The list as a mask of bits, lowest word first.
pub(crate) fn mask(list: &str) -> Result<Vec<u64>, Error> {
    let mut mask: Vec<u64> = Vec::new();
    for range in list.split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(said(format!("invalid range: {range}")));
        }
        for number in first..=last {
            let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
            if mask.len() <= word {
                mask.resize(word + 1, 0);
            }
            mask[word] |= 1 << (number % 64);
        }
    }
    Ok(mask)
}

fn number(text: &str) -> Result<u32, Error> {
    let number = text.trim().parse().ok().filter(|number| *number <= MOST);
    number.ok_or_else(|| said(format!("{text:?} is not a number up to {MOST}")))
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn ranges_become_bits_and_nonsense_is_refused() {
        assert_eq!(mask("0-2,5").expect("a list"), [0b10_0111]);
        assert_eq!(mask("64, 0").expect("a list"), [1, 1]);
        for wrong in ["", "x", "3-1", "1-", "-1", "0,,1", "8192", "99999999999"] {
            assert!(mask(wrong).is_err(), "{wrong:?}");
        }
    }
}
