//! `HEALTHCHECK`.

use super::super::flags::{Flags, Kind};
use super::super::place::Error;
use super::super::syntax::{Arguments, Statement};
use hull_spec::image::Healthcheck;

pub(super) fn healthcheck(statement: &Statement) -> Result<Healthcheck, Error> {
    let Arguments::Health(kind, inner) = &statement.arguments else {
        return Err(Error::new("HEALTHCHECK requires at least one argument"));
    };
    let kind = kind.to_uppercase();
    if kind == "NONE" {
        if !inner.words().is_empty() {
            return Err(Error::new("HEALTHCHECK NONE takes no arguments"));
        }
        return Ok(Healthcheck {
            test: Some(vec![kind]),
            ..Healthcheck::default()
        });
    }
    let names = [
        "interval",
        "timeout",
        "start-period",
        "start-interval",
        "retries",
    ];
    let flags = Flags::read(&statement.flags, &names.map(|name| (name, Kind::Value)))?;
    if kind != "CMD" {
        let message = format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)");
        return Err(Error::new(message));
    }
    if inner.words().is_empty() {
        return Err(Error::new("Missing command after HEALTHCHECK CMD"));
    }
    let kind = if inner.is_json() { "CMD" } else { "CMD-SHELL" };
    let mut test = vec![kind.to_owned()];
    test.extend_from_slice(inner.words());
    Ok(Healthcheck {
        test: Some(test),
        interval: interval(&flags, "interval")?,
        timeout: interval(&flags, "timeout")?,
        start_period: interval(&flags, "start-period")?,
        start_interval: interval(&flags, "start-interval")?,
        retries: retries(&flags.value("retries"))?,
    })
}

fn interval(flags: &Flags, name: &str) -> Result<i64, Error> {
    const LEAST: i64 = 1_000_000;
    let text = flags.value(name);
    if text.is_empty() {
        return Ok(0);
    }
    let read = hull_spec::parse_duration(&text).map_err(|why| Error::new(why.to_string()))?;
    if read != 0 && read < LEAST {
        let message = format!("Interval {name:?} cannot be less than 1ms");
        return Err(Error::new(message));
    }
    Ok(read)
}

fn retries(text: &str) -> Result<i64, Error> {
    if text.is_empty() {
        return Ok(0);
    }
    let wrong = |why| Error::new(format!("strconv.ParseInt: parsing {text:?}: {why}"));
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("invalid syntax"));
    }
    let number = text
        .parse::<i32>()
        .map_err(|_| wrong("value out of range"))?;
    if number < 0 {
        let message = format!("--retries cannot be negative ({number})");
        return Err(Error::new(message));
    }
    Ok(i64::from(number))
}
