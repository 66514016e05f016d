//! What a task gets: the next size that Fargate has.
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size>

/// CPU units (1024 are one vCPU) and MiB of a Fargate task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub cpu: u64,
    pub memory: u64,
}

/// CPU, least and most memory, and the step between.
const SIZES: [(u64, u64, u64, u64); 7] = [
    (256, 512, 2048, 512),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16384, 1024),
    (4096, 8192, 30720, 1024),
    (8192, 16384, 61440, 4096),
    (16384, 32768, 122_880, 8192),
];

impl Size {
    pub const SMALLEST: Self = Self { cpu: 256, memory: 512 };

    /// The smallest size that holds both; the largest that there is, where none does.
    pub fn at_least(cpu: u64, memory: u64) -> Self {
        let fits = SIZES.iter().find(|(units, _, most, _)| *units >= cpu && *most >= memory);
        let (units, least, most, step) = fits.copied().unwrap_or(SIZES[SIZES.len() - 1]);
        // The smallest has 512, 1024 and 2048, and not 1536.
        let memory = match memory.max(least).div_ceil(step).saturating_mul(step).min(most) {
            1536 if units == 256 => 2048,
            memory => memory,
        };
        Self { cpu: units, memory }
    }
}

/// CPU units of `0.5`, `"2"` or `500m` CPUs.
pub(crate) fn cpu_units(text: &str) -> Option<u64> {
    let text = text.trim();
    let cpus = match text.strip_suffix('m') {
        Some(milli) => milli.parse::<f64>().ok()? / 1000.0,
        None => text.parse::<f64>().ok()?,
    };
    let units = (cpus * 1024.0).ceil();
    (0.0..=1_000_000.0).contains(&units).then_some(units as u64)
}

/// MiB of `512M`, `1.5g`, `0.5GB`, `524288000` (bytes).
pub(crate) fn mebibytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    let number: f64 = number.parse().ok()?;
    let bytes = match unit.trim() {
        "" | "b" => 1.0,
        "k" | "kb" | "ki" | "kib" => 1024.0,
        "m" | "mb" | "mi" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gi" | "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let mebibytes = (number * bytes / 1024.0 / 1024.0).ceil();
    (0.0..=10_000_000.0).contains(&mebibytes).then_some(mebibytes as u64)
}

/// Seconds of `1m30s`, `500ms`, `10` (seconds); a part of one is a whole one.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return (0.0..1e9).contains(&number).then(|| number.ceil() as u64);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at_checked(rest.find(|c: char| c.is_ascii_alphabetic())?)?;
        let (unit, tail) =
            tail.split_at_checked(tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len()))?;
        let scale = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    (0.0..1e9).contains(&total).then(|| total.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_gets_the_next_size_that_there_is() {
        for ((cpu, memory), expected) in [
            ((0, 0), (256, 512)),
            ((256, 513), (256, 1024)),
            ((256, 1500), (256, 2048)),
            ((300, 0), (512, 1024)),
            ((256, 3000), (512, 3072)),
            ((1024, 9000), (2048, 9216)),
            ((8192, 17000), (8192, 20480)),
            ((99_999, 999_999), (16384, 122_880)),
        ] {
            assert_eq!(Size::at_least(cpu, memory), Size { cpu: expected.0, memory: expected.1 }, "{cpu} {memory}");
        }
    }

    #[test]
    fn sizes_and_times_are_read_as_they_are_written() {
        assert_eq!(
            ["512M", "0.5GB", "524288000", "4g", "x"].map(mebibytes),
            [Some(512), Some(512), Some(500), Some(4096), None]
        );
        assert_eq!(["0.50", "2", "500m", "-1", "many"].map(cpu_units), [Some(512), Some(2048), Some(512), None, None]);
        assert_eq!(["1m30s", "500ms", "10", "soon", "5"].map(seconds), [Some(90), Some(1), Some(10), None, Some(5)]);
    }
}
