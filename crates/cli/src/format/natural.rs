//! The order of names that people expect: `n2` before `n10`.

use std::cmp::Ordering;

/// Compares runs of digits by their number and everything else byte by byte.
pub(crate) fn natural_cmp(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(x), Some(y)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        if !(x.is_ascii_digit() && y.is_ascii_digit()) {
            match x.cmp(y) {
                Ordering::Equal => (a, b) = (&a[1..], &b[1..]),
                order => return order,
            }
            continue;
        }
        let (left, right) = (digits(a), digits(b));
        let (plain_left, plain_right) = (without_zeros(left), without_zeros(right));
        let order = plain_left
            .len()
            .cmp(&plain_right.len())
            .then_with(|| plain_left.cmp(plain_right))
            // 01 before 1 only where nothing else differs so far.
            .then_with(|| right.len().cmp(&left.len()));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (&a[left.len()..], &b[right.len()..]);
    }
}

fn digits(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    &text[..end.unwrap_or(text.len())]
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let start = digits.iter().position(|digit| *digit != b'0');
    &digits[start.unwrap_or(digits.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = [
            "n10",
            "n2",
            "n1",
            "a",
            "n",
            "n2b",
            "100/tcp -> x",
            "80/tcp -> x",
        ];
        names.sort_by(|a, b| natural_cmp(a, b));
        assert_eq!(
            names,
            [
                "80/tcp -> x",
                "100/tcp -> x",
                "a",
                "n",
                "n1",
                "n2",
                "n2b",
                "n10"
            ]
        );
        assert_eq!(natural_cmp("a1", "a1"), Ordering::Equal);
    }
}
