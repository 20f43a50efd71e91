//! Times as people write and read them: spans such as `30s`, moments as RFC 3339, as milliseconds since
//! the Unix epoch, or as so long ago.

use std::time::Duration;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A span: a number with ms, s, m, h or d behind it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no time: write it as 500ms, 30s, 2m, 1h or 7d");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(refuse)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => DAY_MS.unsigned_abs(),
        _ => return Err(refuse()),
    };
    number
        .checked_mul(ms)
        .map(Duration::from_millis)
        .ok_or_else(refuse)
}

/// A moment in milliseconds since the Unix epoch: such a number, RFC 3339 (a date alone is its
/// midnight, without a zone it is UTC), or a span with `-` in front for so long before `now_ms`.
pub(crate) fn moment(text: &str, now_ms: i64) -> Result<i64, String> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = i64::try_from(duration(ago)?.as_millis()).unwrap_or(i64::MAX);
        return Ok(now_ms.saturating_sub(ago).max(0));
    }
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let read = rfc3339_ms(text);
    read.ok_or_else(|| {
        format!(
            "{text:?} is no moment: write 2026-11-22, 2026-11-22T03:00:00Z, milliseconds since 1970, or -1h"
        )
    })
}

fn rfc3339_ms(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = number(parts.next()?, 4)?;
    let month = number(parts.next()?, 2)?;
    let day = number(parts.next()?, 2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let midnight = days_from_epoch(year, month, day) * DAY_MS;
    let Some(time) = time else {
        return Some(midnight);
    };
    let zone = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone);
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = time.splitn(3, ':');
    let hours = number(parts.next()?, 2).filter(|hours| *hours < 24)?;
    let minutes = number(parts.next()?, 2).filter(|minutes| *minutes < 60)?;
    let seconds = match parts.next() {
        // 60 is a leap second, which Unix time does not have.
        Some(seconds) => number(seconds, 2).filter(|seconds| *seconds <= 60)?,
        None => 0,
    };
    let ms = milliseconds(fraction)?;
    let east = zone_minutes(zone)?;
    Some(midnight + ((hours * 60 + minutes - east) * 60 + seconds) * 1000 + ms)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

fn milliseconds(fraction: &str) -> Option<i64> {
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let first: String = fraction.chars().chain("000".chars()).take(3).collect();
    first.parse().ok()
}

/// Minutes east of UTC.
fn zone_minutes(zone: &str) -> Option<i64> {
    let sign = match zone.chars().next() {
        None | Some('Z' | 'z') => return (zone.len() <= 1).then_some(0),
        Some('-') => -1,
        Some(_) => 1,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let hours = number(hours, 2).filter(|hours| *hours < 24)?;
    let minutes = number(minutes, 2).filter(|minutes| *minutes < 60)?;
    Some(sign * (hours * 60 + minutes))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar; a year begins with March, so that the leap day is
/// its last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// RFC 3339 in UTC, to the millisecond.
pub(crate) fn rfc3339(ms: i64) -> String {
    let days = ms.div_euclid(DAY_MS);
    let of_day = ms.rem_euclid(DAY_MS);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(7 * 24)));
        for text in ["", "5", "s", "1.5s", "-1s", "99999999999999999999d", "1w"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_read_in_every_form() {
        let now = 1_000_000_000_000;
        for (text, ms) in [
            ("0", 0),
            ("1732247999000", 1_732_247_999_000),
            ("-1h", now - 3_600_000),
            ("1970-01-01", 0),
            ("2000-02-29T12:30:01.5Z", 951_827_401_500),
            ("2024-11-22T03:59:59Z", 1_732_247_999_000),
            ("2024-11-22T04:59:59+01:00", 1_732_247_999_000),
            ("2024-11-21 22:29:59-05:30", 1_732_247_999_000),
        ] {
            assert_eq!(moment(text, now), Ok(ms), "{text}");
        }
        for text in [
            "",
            "x",
            "2023-02-29",
            "2024-13-01",
            "2024-1-1",
            "2024-01-01T24:00:00Z",
        ] {
            assert!(moment(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_that_was_written_is_read_again() {
        for ms in [0, -1, 951_827_401_500, 1_732_247_999_000, 4_102_444_800_000] {
            assert_eq!(moment(&rfc3339(ms), 0), Ok(ms), "{}", rfc3339(ms));
        }
        assert_eq!(rfc3339(951_827_401_500), "2000-02-29T12:30:01.500Z");
    }
}
