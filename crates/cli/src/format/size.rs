//! Sizes: `2.07MB` out, `512m` in.

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// A size in powers of 1000 with so many significant digits.
pub(crate) fn human_size(bytes: f64, precision: usize) -> String {
    scaled(bytes, 1000.0, &DECIMAL, precision)
}

/// A size in powers of 1024 with four significant digits.
pub(crate) fn bytes_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

fn scaled(mut size: f64, base: f64, units: &[&str; 9], precision: usize) -> String {
    let mut unit = 0;
    while size >= base && unit < units.len() - 1 {
        size /= base;
        unit += 1;
    }
    format!("{}{}", significant(size, precision), units[unit])
}

/// Go's `%.{precision}g`: significant digits, no trailing zeros, exponent form for large numbers.
pub(crate) fn significant(number: f64, precision: usize) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let precision = precision.max(1);
    let scientific = format!("{:.*e}", precision - 1, number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(limit - 1 - exponent).unwrap_or_default();
    trim(&format!("{number:.decimals$}")).to_owned()
}

fn trim(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

/// Reads a size in powers of 1024: `512`, `512m`, `1.5 GiB`.
pub(crate) fn parse_bytes(text: &str) -> Result<i64, String> {
    hull_spec::parse_size(text, hull_spec::Thousand::Binary).map_err(|error| error.to_string())
}

/// Reads a number of CPUs into billionths.
pub(crate) fn parse_cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if (whole.is_empty() && fraction.is_empty())
        || !fraction.bytes().all(|b| b.is_ascii_digit())
        || whole.starts_with('+')
    {
        return Err(invalid());
    }
    if fraction.len() > 9 && fraction[9..].bytes().any(|b| b != b'0') {
        return Err("value is too precise".to_owned());
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| invalid())?
    };
    let nanos: i64 = format!("{:0<9}", fraction.get(..9).unwrap_or(fraction))
        .parse()
        .map_err(|_| invalid())?;
    whole
        .checked_mul(1_000_000_000)
        .and_then(|whole| whole.checked_add(nanos))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_docker_writes_them() {
        for (bytes, three, four) in [
            (0.0, "0B", "0B"),
            (999.0, "999B", "999B"),
            (1000.0, "1kB", "1kB"),
            (2_065_221.0, "2.07MB", "2.065MB"),
            (124_000_000.0, "124MB", "124MB"),
            (1_234_567_890.0, "1.23GB", "1.235GB"),
            (999_999.0, "1e+03kB", "1000kB"),
        ] {
            assert_eq!(human_size(bytes, 3), three);
            assert_eq!(human_size(bytes, 4), four);
        }
        assert_eq!(bytes_size(25_276_510_208.0), "23.54GiB");
    }

    #[test]
    fn cpus_are_billionths() {
        assert_eq!(parse_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(parse_cpus(".01"), Ok(10_000_000));
        assert_eq!(parse_cpus("2"), Ok(2_000_000_000));
        assert!(parse_cpus("x").is_err() && parse_cpus(".").is_err());
        assert!(parse_cpus("0.1234567891").is_err());
    }
}
