//! Durations and sizes as people write and read them.

use std::time::Duration;

/// Reads a duration such as `500ms`, `1.5s` or `30d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let seconds = parse(text, &[("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)])?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Reads a size in bytes such as `256MiB` or `1.5GB`.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, f64); 7] = [
        ("B", 1.0),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
    ];
    let bytes = parse(text, &UNITS)?;
    // Far more than there is, and still exact.
    if bytes > 1e15 { Err("that is too large".to_owned()) } else { Ok(bytes as usize) }
}

fn parse(text: &str, units: &[(&str, f64)]) -> Result<f64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let number: f64 = number.trim().parse().map_err(|_| "it must start with a number".to_owned())?;
    if number.is_sign_negative() {
        return Err("it must not be negative".to_owned());
    }
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| factor);
    factor.map(|factor| number * factor).ok_or_else(|| {
        let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
        format!("it must end with a unit: {}", names.join(", "))
    })
}

/// A duration as Cargo shows it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds >= 60 {
        format!("{}m {:02}s", seconds / 60, seconds % 60)
    } else if seconds > 0 {
        format!("{:.2}s", duration.as_secs_f64())
    } else {
        format!("{:.2}ms", duration.as_secs_f64() * 1e3)
    }
}

/// A size in bytes, rounded.
pub(crate) fn show_size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} GiB")
}

/// How long ago something was, rounded down.
pub(crate) fn show_age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86400 => (seconds / 3600, "hour"),
        _ => (seconds / 86400, "day"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("500ms", 500), ("1.5s", 1500), ("2m", 120_000), ("30d", 2_592_000_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1 fortnight", "infs", "1e300d", "NaNs"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0B", 0), ("256MiB", 256 << 20), ("1.5kB", 1500), ("4GiB", 4 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "256", "MiB", "-1B", "1mib", "9999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (256 << 20, "256.0 MiB"),
            (5 << 40, "5120.0 GiB"),
        ] {
            assert_eq!(show_size(bytes), shown);
        }
        for (seconds, shown) in
            [(59, "just now"), (60, "1 minute ago"), (7200, "2 hours ago"), (86400 * 45, "45 days ago")]
        {
            assert_eq!(show_age(Duration::from_secs(seconds)), shown);
        }
        for (milliseconds, shown) in [(5, "5.00ms"), (1234, "1.23s"), (72_000, "1m 12s")] {
            assert_eq!(show_duration(Duration::from_millis(milliseconds)), shown);
        }
    }
}
