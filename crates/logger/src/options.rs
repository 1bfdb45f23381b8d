//! Options of the drivers, checked when a container is created: what dockerd checks then, in its words. The rest is
//! checked when the container is started, as dockerd does.

use crate::url::Url;
use crate::words::host_and_port;
use crate::{Driver, fluentd, gelf, syslog};
use std::collections::BTreeMap;

/// Options of every driver: which of the container's attributes are told.
const COMMON: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];

/// Checks a driver's options, those that all drivers have (`mode`, `max-buffer-size`, `cache-…`) excepted.
///
/// # Errors
/// dockerd's complaint.
pub fn check(driver: Driver, options: &BTreeMap<String, String>) -> Result<(), String> {
    let known = |names: &[&str]| match first_unknown(options, names) {
        Some(name) => Err(format!(
            "unknown log opt '{name}' for {} log driver",
            driver.as_str()
        )),
        None => Ok(()),
    };
    match driver {
        Driver::Syslog => known(&syslog::OPTIONS).and_then(|()| syslog::check(options)),
        Driver::Journald => known(&[]),
        Driver::Gelf => gelf::check(options),
        Driver::Fluentd => {
            known(&fluentd::OPTIONS).and_then(|()| fluentd::Options::read(options).map(drop))
        }
        Driver::Splunk => known(&crate::splunk::OPTIONS),
    }
}

pub(crate) fn first_unknown<'o>(
    options: &'o BTreeMap<String, String>,
    names: &[&str],
) -> Option<&'o String> {
    options
        .keys()
        .find(|name| !names.contains(&name.as_str()) && !COMMON.contains(&name.as_str()))
}

/// A server's name and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: String,
}

impl Host {
    /// As it is written in an address.
    ///
    /// # Errors
    /// Go's text.
    pub(crate) fn read(text: &str, port: &str) -> Result<Self, String> {
        let (name, given) = host_and_port(text)?;
        Ok(Self {
            name: name.to_owned(),
            port: given.unwrap_or(port).to_owned(),
        })
    }

    pub(crate) fn of(url: &Url, port: &str) -> Result<Self, String> {
        Self::read(&url.host, port)
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &[(Driver, &[(&str, &str)])] = &[
        (Driver::Syslog, &[]),
        (Driver::Syslog, &[("syslog-address", "udp://")]),
        (
            Driver::Syslog,
            &[
                ("syslog-address", "tcp+tls://127.0.0.1:1"),
                ("tag", "{{.Nope}}"),
            ],
        ),
        (
            Driver::Syslog,
            &[
                ("syslog-facility", "local7"),
                ("syslog-format", "rfc5424micro"),
            ],
        ),
        (
            Driver::Syslog,
            &[("syslog-facility", "23"), ("labels-regex", "[")],
        ),
        (Driver::Journald, &[("env", "a")]),
        (
            Driver::Gelf,
            &[
                ("gelf-address", "udp://a:1"),
                ("gelf-compression-level", "-1"),
            ],
        ),
        (
            Driver::Gelf,
            &[
                ("gelf-address", "tcp://a:1"),
                ("gelf-tcp-max-reconnect", "0"),
            ],
        ),
        (Driver::Fluentd, &[("fluentd-address", "foo")]),
        (
            Driver::Fluentd,
            &[("fluentd-address", "tls://"), ("fluentd-max-retries", "3")],
        ),
        (
            Driver::Fluentd,
            &[
                ("fluentd-address", "unix:///a/b"),
                ("fluentd-async", "true"),
            ],
        ),
        (Driver::Splunk, &[("splunk-url", "x")]),
    ];

    #[test]
    fn what_dockerd_takes_is_taken() {
        for (driver, options) in FINE {
            check(*driver, &map(options)).unwrap();
        }
    }

    fn map(options: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        owned.collect()
    }

    /// Asked of dockerd 28.5.
    #[rustfmt::skip]
    const REFUSED: &[(Driver, &str, &str, &str)] = &[
        (Driver::Syslog, "x", "y", "unknown log opt 'x' for syslog log driver"),
        (Driver::Syslog, "syslog-address", "foo", "unsupported scheme: ''"),
        (Driver::Syslog, "syslog-address", "foo:123", "unsupported scheme: 'foo'"),
        (Driver::Syslog, "syslog-address", "http://a", "unsupported scheme: 'http'"),
        (Driver::Syslog, "syslog-address", "udp://[::1", "parse \"udp://[::1\": missing ']' in host"),
        (Driver::Syslog, "syslog-address", "tcp://a:1:2", "address a:1:2: too many colons in address"),
        (Driver::Syslog, "syslog-address", "unix:///nonexist", "stat /nonexist: no such file or directory"),
        (Driver::Syslog, "syslog-facility", "x", "invalid syslog facility"),
        (Driver::Syslog, "syslog-facility", "24", "invalid syslog facility"),
        (Driver::Syslog, "syslog-format", "x", "Invalid syslog format"),
        (Driver::Journald, "x", "y", "unknown log opt 'x' for journald log driver"),
        (Driver::Gelf, "tag", "x", "gelf-address is a required parameter"),
        (Driver::Gelf, "gelf-address", "foo", "gelf: endpoint needs to be TCP or UDP"),
        (Driver::Gelf, "gelf-address", "udp://a", "gelf: please provide gelf-address as proto://host:port"),
        (Driver::Fluentd, "x", "y", "unknown log opt 'x' for fluentd log driver"),
        (Driver::Fluentd, "fluentd-address", "foo:bar",
            "invalid fluentd-address (foo:bar): parse \"tcp://foo:bar\": invalid port \":bar\" after host"),
        (Driver::Fluentd, "fluentd-address", "udp://a:1",
            "invalid fluentd-address (udp://a:1): unsupported scheme: 'udp'"),
        (Driver::Fluentd, "fluentd-address", "tcp://a:99999",
            "invalid fluentd-address (tcp://a:99999): invalid port: strconv.ParseUint: parsing \"99999\": value out of range"),
        (Driver::Fluentd, "fluentd-address", "tcp://a:1/path",
            "invalid fluentd-address (tcp://a:1/path): should not contain a path element"),
        (Driver::Fluentd, "fluentd-address", "unix://", "invalid fluentd-address (unix://): path is empty"),
        (Driver::Fluentd, "fluentd-async", "x", "strconv.ParseBool: parsing \"x\": invalid syntax"),
        (Driver::Fluentd, "fluentd-async-reconnect-interval", "x",
            "invalid value for fluentd-async-reconnect-interval: time: invalid duration \"x\""),
        (Driver::Fluentd, "fluentd-async-reconnect-interval", "1ms",
            "invalid value for fluentd-async-reconnect-interval: value (\"1ms\") must be between 100ms and 10s"),
        (Driver::Fluentd, "fluentd-buffer-limit", "x", "invalid size: 'x'"),
        (Driver::Fluentd, "fluentd-max-retries", "-1", "strconv.ParseUint: parsing \"-1\": invalid syntax"),
        (Driver::Fluentd, "fluentd-max-retries", "4294967295", "invalid fluentd-max-retries: value out of range"),
        (Driver::Fluentd, "fluentd-retry-wait", "5", "time: missing unit in duration \"5\""),
        (Driver::Fluentd, "fluentd-write-timeout", "x",
            "invalid value for fluentd-write-timeout: value must be a duration: time: invalid duration \"x\""),
        (Driver::Fluentd, "fluentd-write-timeout", "-1s",
            "invalid value for fluentd-write-timeout: value must be a duration that is non-negative"),
        (Driver::Fluentd, "fluentd-read-timeout", "1s", "unknown log opt 'fluentd-read-timeout' for fluentd log driver"),
        (Driver::Splunk, "x", "y", "unknown log opt 'x' for splunk log driver"),
    ];

    /// Asked of dockerd 28.5, with an address.
    #[rustfmt::skip]
    const GELF: &[(&str, &str, &str, &str)] = &[
        ("tcp://a:1", "gelf-compression-type", "gzip", "compression is only supported on UDP"),
        ("udp://a:1", "gelf-compression-type", "x",
            "unknown value \"x\" for log opt \"gelf-compression-type\" for gelf log driver"),
        ("udp://a:1", "gelf-compression-level", "10",
            "unknown value \"10\" for log opt \"gelf-compression-level\" for gelf log driver"),
        ("udp://a:1", "gelf-tcp-max-reconnect", "1", "\"gelf-tcp-max-reconnect\" is only valid for TCP"),
        ("tcp://a:1", "gelf-tcp-reconnect-delay", "-1", "\"gelf-tcp-reconnect-delay\" must be a positive integer"),
        ("tcp://a:1", "x", "1", "unknown log opt \"x\" for gelf log driver"),
    ];

    #[test]
    fn what_dockerd_refuses_is_refused_in_its_words() {
        for (driver, name, value, text) in REFUSED {
            assert_eq!(
                check(*driver, &map(&[(name, value)])),
                Err((*text).to_owned())
            );
        }
        for (address, name, value, text) in GELF {
            let options = map(&[("gelf-address", address), (name, value)]);
            assert_eq!(check(Driver::Gelf, &options), Err((*text).to_owned()));
        }
    }
}
