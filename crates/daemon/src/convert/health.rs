//! Health checks.

use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::container::{Health as WireHealth, HealthResult as WireResult, Healthcheck};
use hull_engine::container::{Health, HealthCheck, HealthResult, OnUnhealthy};
use std::time::Duration;

/// A check as asked for.
///
/// # Errors
/// 400 in dockerd's words, for times that are too short and for negative numbers.
pub(crate) fn check(asked: Healthcheck, version: ApiVersion) -> Result<HealthCheck, ApiError> {
    let start_interval = if version.since(44) {
        asked.start_interval
    } else {
        0
    };
    let interval = duration("Interval", asked.interval)?;
    let timeout = duration("Timeout", asked.timeout)?;
    let retries = u32::try_from(asked.retries)
        .map_err(|_| ApiError::bad_request("Retries in Healthcheck cannot be negative"))?;
    Ok(HealthCheck {
        test: asked.test,
        interval,
        timeout,
        start_period: duration("StartPeriod", asked.start_period)?,
        start_interval: duration("StartInterval", start_interval)?,
        retries,
    })
}

fn duration(member: &str, nanoseconds: i64) -> Result<Duration, ApiError> {
    const LEAST: Duration = Duration::from_millis(1);
    let duration = u64::try_from(nanoseconds).map(Duration::from_nanos).ok();
    duration
        .filter(|duration| duration.is_zero() || *duration >= LEAST)
        .ok_or_else(|| {
            ApiError::bad_request(format!("{member} in Healthcheck cannot be less than 1ms"))
        })
}

/// What is to happen to a container that becomes unhealthy.
///
/// # Errors
/// 400 for words that are none.
pub(crate) fn on_unhealthy(word: &str) -> Result<OnUnhealthy, ApiError> {
    match word {
        "" | "none" => Ok(OnUnhealthy::Nothing),
        "restart" => Ok(OnUnhealthy::Restart),
        "stop" => Ok(OnUnhealthy::Stop),
        "kill" => Ok(OnUnhealthy::Kill),
        other => Err(ApiError::bad_request(format!(
            "invalid action on an unhealthy container: '{other}'; use one of 'none', 'restart', 'stop', or 'kill'"
        ))),
    }
}

/// A check as shown.
pub(crate) fn shown(check: &HealthCheck) -> Healthcheck {
    let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Healthcheck {
        test: check.test.clone(),
        interval: nanoseconds(check.interval),
        timeout: nanoseconds(check.timeout),
        start_period: nanoseconds(check.start_period),
        start_interval: nanoseconds(check.start_interval),
        retries: check.retries.into(),
    }
}

/// How a container is.
pub(crate) fn state(health: &Health) -> WireHealth {
    let result = |result: &HealthResult| WireResult {
        start: result.start.to_string(),
        end: result.end.to_string(),
        exit_code: result.exit_code.into(),
        output: result.output.clone(),
    };
    WireHealth {
        status: health.status.as_str().to_owned(),
        failing_streak: health.failing_streak.into(),
        log: Some(health.log.iter().map(result).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As dockerd 28.5 answered the same.
    #[test]
    fn numbers_are_checked_in_dockers_words() {
        let refused = |change: fn(&mut Healthcheck)| {
            let mut asked = Healthcheck::default();
            change(&mut asked);
            check(asked, ApiVersion::NEWEST).unwrap_err().message
        };
        let short = "in Healthcheck cannot be less than 1ms";
        assert_eq!(
            refused(|asked| asked.interval = 5),
            format!("Interval {short}")
        );
        assert_eq!(
            refused(|asked| asked.interval = -1),
            format!("Interval {short}")
        );
        assert_eq!(
            refused(|asked| asked.timeout = 5),
            format!("Timeout {short}")
        );
        assert_eq!(
            refused(|asked| asked.start_period = 5),
            format!("StartPeriod {short}")
        );
        assert_eq!(
            refused(|asked| asked.start_interval = 5),
            format!("StartInterval {short}")
        );
        assert_eq!(
            refused(|asked| asked.retries = -1),
            "Retries in Healthcheck cannot be negative"
        );
        let old = Healthcheck {
            start_interval: 5_000_000_000,
            ..Healthcheck::default()
        };
        let old = check(old, ApiVersion::new(1, 43)).unwrap();
        assert_eq!(old.start_interval, Duration::ZERO, "API 1.44 brought it");
        assert!(on_unhealthy("destroy").is_err());
    }
}
