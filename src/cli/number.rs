//! Numbers as flags take them, refused with the range that is allowed.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Reads a whole number within `range`; whatever else was given, the message tells the range.
pub fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let (first, last) = (range.start(), range.end());
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            // Where the type is the only upper limit, telling it would help nobody.
            if last.to_string().len() > 18 {
                format!("expected a whole number, {first} or more")
            } else {
                format!("expected a whole number from {first} to {last}")
            }
        })
    }
}

/// Reads a number; what is none, or not finite, is refused with the range that is allowed, which `range` tells in words.
#[cfg(feature = "transformer")]
pub fn real(range: &'static str) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.ok_or_else(|| format!("expected a number {range}"))
    }
}

/// `0.1%` or `0.001`.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    number
        .trim()
        .parse::<f64>()
        .map(|number| number * unit)
        .map_err(|_| "expected a share like 0.1% or 0.001".to_string())
}

/// `10` or `0.5`, in minutes; at most a year.
pub fn minutes(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=525_600.0).contains(&number) => Ok(Duration::from_secs_f64(60.0 * number)),
        _ => Err("expected minutes, 0 to 525600".to_string()),
    }
}

/// `4G`, `500M` or a number of bytes.
pub fn bytes(text: &str) -> Result<u64, String> {
    let unit = match text.trim_end_matches(['b', 'B']).chars().last() {
        Some('k' | 'K') => 1e3,
        Some('m' | 'M') => 1e6,
        Some('g' | 'G') => 1e9,
        Some('t' | 'T') => 1e12,
        _ => 1.0,
    };
    let number: Result<f64, _> = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse();
    match number {
        Ok(number) if number > 0.0 && number * unit < 1e18 => Ok((number * unit) as u64),
        _ => Err("expected a size like 500M or 4G".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_sizes_are_read_as_people_write_them() {
        assert_eq!(share("0.1%").unwrap(), 0.001);
        assert_eq!(share("0.25").unwrap(), 0.25);
        assert!(share("much").is_err());
        assert_eq!(
            (bytes("4G").unwrap(), bytes("500MB").unwrap(), bytes("77").unwrap()),
            (4_000_000_000, 500_000_000, 77)
        );
        assert!(bytes("-4G").is_err() && bytes("G").is_err());
    }

    #[test]
    fn minutes_may_be_parts_of_one() {
        assert_eq!(minutes("0.5"), Ok(Duration::from_secs(30)));
        assert_eq!(minutes("0"), Ok(Duration::ZERO));
        assert!(
            minutes("-1").is_err() && minutes("NaN").is_err() && minutes("1e9").is_err() && minutes("10m").is_err()
        );
    }

    #[test]
    fn whole_numbers_are_refused_with_their_range() {
        let window = whole(1..=1000usize);
        assert_eq!(window("5"), Ok(5));
        for wrong in ["0", "1001", "-3", "1e3", "5.0", "many", ""] {
            assert_eq!(window(wrong), Err("expected a whole number from 1 to 1000".to_string()), "{wrong}");
        }
        assert_eq!(whole(0..=u64::MAX)("-1"), Err("expected a whole number, 0 or more".to_string()));
    }

    #[cfg(feature = "transformer")]
    #[test]
    fn numbers_are_finite() {
        assert_eq!(real("from 0 to 1")("0.5"), Ok(0.5));
        for wrong in ["NaN", "inf", "1e999", "half", ""] {
            assert_eq!(real("from 0 to 1")(wrong), Err("expected a number from 0 to 1".to_string()), "{wrong}");
        }
    }
}
