//! One bar: `[=====>      ]  1.2MB/4.5MB`.

use crate::format::human_size;
use hull_api::progress::Detail;

/// A bar is drawn only on terminals wider than this; below, numbers must do.
const WIDE: usize = 110;

/// The bar and its numbers; empty when there is nothing to show.
pub(super) fn bar(detail: &Detail, columns: usize) -> String {
    let human = |bytes: i64| {
        #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
        human_size(bytes as f64, 4)
    };
    let count = |number: i64| {
        if detail.units.is_empty() {
            human(number)
        } else {
            format!("{number} {}", detail.units)
        }
    };
    if detail.current <= 0 && detail.total <= 0 {
        return String::new();
    }
    if detail.total <= 0 {
        return format!("{:>8}", count(detail.current));
    }
    let mut text = String::new();
    if columns > WIDE {
        // Fifty characters for the whole.
        let done = i128::from(detail.current) * 50 / i128::from(detail.total);
        let done = usize::try_from(done.clamp(0, 50)).unwrap_or(50);
        let missing = 50 - done;
        text = format!("[{}>{}] ", "=".repeat(done), " ".repeat(missing));
    }
    if detail.hide_counts {
        return text;
    }
    if detail.current > detail.total {
        // The total was a guess; the bar has been at its end since.
        return text + &format!("{:>8}", count(detail.current));
    }
    if detail.units.is_empty() {
        text + &format!("{:>8}/{}", human(detail.current), human(detail.total))
    } else {
        text + &format!("{}/{} {}", detail.current, detail.total, detail.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(current: i64, total: i64) -> Detail {
        Detail {
            current,
            total,
            ..Detail::default()
        }
    }

    #[test]
    fn bars_as_docker_draws_them() {
        assert_eq!(bar(&detail(0, 0), 120), "");
        assert_eq!(bar(&detail(1000, 0), 120), "     1kB");
        assert_eq!(
            bar(&detail(500, 1000), 120),
            "[=========================>                         ]     500B/1kB"
        );
        assert_eq!(bar(&detail(500, 1000), 80), "    500B/1kB");
        assert_eq!(bar(&detail(2000, 1000), 80), "     2kB");
        assert!(bar(&detail(1000, 1000), 200).starts_with(&format!("[{}>]", "=".repeat(50))));
    }
}
