//! How much memory is available. Asks the kernel; changes nothing.

/// The bytes that programs can still be given without swapping; `None` if the kernel does not say.
pub fn available_bytes() -> Option<u64> {
    available(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// `MemAvailable` of `/proc/meminfo`, which is in KiB whatever its unit is called there, see `proc_meminfo(5)`.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let count: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    count.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn the_kernel_tells_what_is_available() {
        let told = "MemTotal:        3884352 kB\nMemFree:          112340 kB\nMemAvailable:    2950172 kB\n";
        assert_eq!(available(told), Some(2_950_172 * 1024));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
        assert!(available_bytes().is_some_and(|bytes| bytes > 0));
    }
}
