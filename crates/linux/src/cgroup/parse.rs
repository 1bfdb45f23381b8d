//! The formats of the kernel's files. A line that is not of its file's form is passed over: newer kernels
//! add lines, some with other forms.

use super::stats::{BlockCount, Pressure, Stall};
use std::collections::BTreeMap;

/// One number; `max` is the largest. Some counters of the kernel can go below zero for a moment.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "max" {
        return Some(u64::MAX);
    }
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => text.parse::<i64>().is_ok().then_some(0),
    }
}

/// Lines of `name number`.
pub(super) fn counters(text: &str) -> BTreeMap<String, u64> {
    let counter = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), number(value)?))
    };
    text.lines().filter_map(counter).collect()
}

/// A list such as `0-2,7`.
pub(super) fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        Some(first..=last)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Numbers on one line.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(number).collect()
}

/// `cpuacct.usage_all`: a heading, then lines of processor, user and kernel. Gives kernel and user.
pub(super) fn usage_all(text: &str) -> (Vec<u64>, Vec<u64>) {
    let line = |line: &str| match numbers(line).as_slice() {
        [_, user, kernel] => Some((*kernel, *user)),
        _ => None,
    };
    text.lines().skip(1).filter_map(line).unzip()
}

/// A table of v1's blkio: `8:0 Read 17`, or `8:0 17`, and a line with a total.
pub(super) fn block_table(text: &str) -> Vec<BlockCount> {
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split([' ', ':']).filter(|f| !f.is_empty()).collect();
        let (major, minor, operation, value) = match fields.as_slice() {
            [major, minor, value] => (major, minor, "", value),
            [major, minor, operation, value] => (major, minor, *operation, value),
            _ => return None,
        };
        Some(BlockCount {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            operation: operation.to_owned(),
            value: number(value)?,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// v2's `io.stat`: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`. Gives bytes and operations.
pub(super) fn io_stat(text: &str) -> (Vec<BlockCount>, Vec<BlockCount>) {
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let device = fields.next().and_then(|device| device.split_once(':'));
        let Some((Ok(major), Ok(minor))) = device.map(|(a, b)| (a.parse(), b.parse())) else {
            continue;
        };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let (table, operation) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                _ => continue,
            };
            if let Some(value) = number(value) {
                table.push(BlockCount {
                    major,
                    minor,
                    operation: operation.to_owned(),
                    value,
                });
            }
        }
    }
    (bytes, operations)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
pub(super) fn pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let stall = match fields.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        *stall = Stall::default();
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let share = || value.parse().ok().filter(|share: &f64| share.is_finite());
            match key {
                "avg10" => stall.avg10 = share().unwrap_or(0.0),
                "avg60" => stall.avg60 = share().unwrap_or(0.0),
                "avg300" => stall.avg300 = share().unwrap_or(0.0),
                "total" => stall.total = number(value).unwrap_or(0),
                _ => {}
            }
        }
    }
    pressure
}

#[cfg(test)]
mod tests {
    use super::super::stats::huge_page_size;
    use super::*;
    use proptest::prelude::*;

    fn count(device: (u64, u64), operation: &str, value: u64) -> BlockCount {
        BlockCount {
            major: device.0,
            minor: device.1,
            operation: operation.to_owned(),
            value,
        }
    }

    #[test]
    fn files_as_the_kernel_writes_them() {
        assert_eq!(number("max\n"), Some(u64::MAX));
        assert_eq!(number("-8192\n"), Some(0));
        assert_eq!(number("x"), None);
        assert_eq!(list("0-2,7\n"), [0, 1, 2, 7]);
        assert!(list("\n").is_empty());
        let all = "cpu user system\n0 5 6\n1 7 8\n";
        assert_eq!(usage_all(all), (vec![6, 8], vec![5, 7]));
        let table = "8:0 Read 12\n8:0 Total 12\n8:16 5\nTotal 17\n";
        let expected = [
            count((8, 0), "Read", 12),
            count((8, 0), "Total", 12),
            count((8, 16), "", 5),
        ];
        assert_eq!(block_table(table), expected);
        let io = "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n254:1\n";
        let (bytes, operations) = io_stat(io);
        let device = (254, 0);
        assert_eq!(bytes, [count(device, "Read", 1), count(device, "Write", 2)]);
        assert_eq!(operations.len(), 2);
        let psi = pressure("some avg10=1.50 avg60=0.00 avg300=0.07 total=99\n");
        assert_eq!((psi.some.avg10, psi.some.total), (1.5, 99));
        assert_eq!(psi.full, Stall::default());
        let sizes = ["hugepages-64kB", "hugepages-2048kB", "hugepages-1048576kB"];
        let names = ["64KB", "2MB", "1GB"].map(|name| Some(name.to_owned()));
        assert_eq!(sizes.map(huge_page_size), names);
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[ -~\n]{0,200}") {
            let _ = (number(&text), counters(&text), numbers(&text), usage_all(&text));
            let _ = (block_table(&text), io_stat(&text), huge_page_size(&text));
            prop_assert!(pressure(&text).some.avg10.is_finite());
        }

        #[test]
        fn what_was_written_is_what_is_read(
            values in proptest::collection::btree_map("[a-z_]{1,12}", any::<u64>(), 0..20),
            device in (any::<u32>(), any::<u32>()),
        ) {
            let text: String = values.iter().map(|(k, v)| format!("{k} {v}\n")).collect();
            prop_assert_eq!(counters(&text), values);
            let (major, minor) = device;
            let text = format!("{major}:{minor} rbytes=9 wios=8\n");
            let device = (u64::from(major), u64::from(minor));
            let expected = (vec![count(device, "Read", 9)], vec![count(device, "Write", 8)]);
            prop_assert_eq!(io_stat(&text), expected);
        }

        #[test]
        fn a_list_names_each_of_its_members(ranges in proptest::collection::vec((0..500_u16, 0..9_u16), 1..8)) {
            let text: Vec<String> = ranges.iter().map(|(a, n)| format!("{a}-{}", a + n)).collect();
            let expected: Vec<u16> = ranges.iter().flat_map(|(a, n)| *a..=a + n).collect();
            prop_assert_eq!(list(&text.join(",")), expected);
        }
    }
}
