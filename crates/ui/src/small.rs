//! Numbers in two bytes: a 32-bit floating point number without its sign and with 8 bits behind the point, which is
//! exact to a fifth of a percent, enough for a chart.

/// Not known. It stands for a number that is none.
pub(crate) const UNKNOWN: u16 = u16::MAX;

/// `None` and what is no number, negative or without end are [`UNKNOWN`].
pub(crate) fn pack(value: Option<f32>) -> u16 {
    let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) else {
        return UNKNOWN;
    };
    // Half of what is cut off, to round. The largest numbers round to infinity, which is a number here still.
    let bits = value.to_bits().saturating_add(1 << 14) >> 15;
    u16::try_from(bits).unwrap_or(UNKNOWN)
}

/// The number again.
pub(crate) fn unpack(packed: u16) -> Option<f32> {
    let value = f32::from_bits(u32::from(packed) << 15);
    (packed != UNKNOWN && value.is_finite()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_measure_is_unknown() {
        for none in [None, Some(-1.0), Some(f32::NAN), Some(f32::INFINITY)] {
            assert_eq!(unpack(pack(none)), None, "{none:?}");
        }
        assert_eq!(unpack(pack(Some(0.0))), Some(0.0));
        assert_eq!(unpack(pack(Some(100.0))), Some(100.0));
    }

    proptest::proptest! {
        #[test]
        fn a_number_stays_what_it_is(value in 1e-30_f32..1e30) {
            let back = unpack(pack(Some(value))).unwrap();
            proptest::prop_assert!((back / value - 1.0).abs() <= 0.002, "{value} {back}");
        }

        #[test]
        fn two_bytes_say_the_same_again(bits: u16) {
            if let Some(value) = unpack(bits) {
                proptest::prop_assert_eq!(pack(Some(value)), bits);
            }
        }
    }
}
