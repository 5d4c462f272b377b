//! Which images a machine can run, and which of them it prefers: the rules by which Docker itself picks an
//! entry of a multi-platform image (containerd's `platforms.Only`).
//!
//! Takes platforms as registries and Docker spell them; gives a preference or none. Must stay with Docker's
//! rules even where they surprise (a 64-bit Pi takes a 32-bit image if there is no other): the engine will
//! pick by them whatever is decided here.

use crate::model::Platform;

/// The oldest ARM generation Docker still offers images for.
const OLDEST_ARM: u8 = 5;

/// How well an offered platform suits the host: 0 is best, `None` does not run at all.
///
/// An empty operating system is read as the host's. `unknown/unknown`, an attestation, never runs.
pub fn preference(host: &Platform, offered: &Platform) -> Option<u8> {
    let host = normalized(host, "linux");
    let offered = normalized(offered, &host.os);
    if offered.os == "unknown" || offered.architecture == "unknown" {
        return None;
    }
    let place = accepted(&host).iter().position(|accepted| *accepted == offered)?;
    u8::try_from(place).ok()
}

/// The entry Docker would pick for the host; among equals the first, as the OCI image specification has it.
pub fn best_match<'a>(
    host: &Platform,
    offered: impl IntoIterator<Item = &'a Platform>,
) -> Option<&'a Platform> {
    let runnable = offered.into_iter().filter_map(|p| preference(host, p).map(|place| (place, p)));
    runnable.min_by_key(|(place, _)| *place).map(|(_, platform)| platform)
}

/// The platform of the engine's machine.
///
/// `goarch` and `os` are `Arch` and `Os` of `GET /version`: they describe the daemon, which may be 32-bit on a
/// 64-bit kernel. Only the generation of a 32-bit ARM comes from the kernel: `Architecture` of `GET /info`.
pub fn host_platform(goarch: &str, os: &str, kernel_machine: &str) -> Platform {
    let variant = match goarch {
        "arm" => arm_generation(kernel_machine),
        _ => "",
    };
    let said = Platform { os: os.to_owned(), architecture: goarch.to_owned(), variant: variant.to_owned() };
    normalized(&said, "linux")
}

/// A machine that does not say is read as v7, as Docker reads `arm` without a variant.
fn arm_generation(kernel_machine: &str) -> &'static str {
    match kernel_machine {
        m if m == "aarch64" || m.starts_with("armv8") => "v8",
        m if m.starts_with("armv6") => "v6",
        m if m.starts_with("armv5") => "v5",
        _ => "v7",
    }
}

/// One spelling per platform, after containerd's `platforms.Normalize`.
fn normalized(platform: &Platform, os_if_empty: &str) -> Platform {
    let os = if platform.os.is_empty() { os_if_empty } else { &platform.os };
    let architecture = platform.architecture.to_ascii_lowercase();
    let variant = platform.variant.to_ascii_lowercase();
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("amd64" | "x86_64" | "x86-64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("arm64" | "aarch64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    Platform {
        os: os.to_ascii_lowercase(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
    }
}

/// What a normalized host runs, best first, after containerd's `platformVector`.
fn accepted(host: &Platform) -> Vec<Platform> {
    let on_host = |architecture: &str, variant: String| Platform {
        os: host.os.clone(),
        architecture: architecture.to_owned(),
        variant,
    };
    let arm_up_to =
        |newest: u8| (OLDEST_ARM..=newest).rev().map(|generation| on_host("arm", format!("v{generation}")));
    let generation = host.variant.strip_prefix('v').and_then(|digits| digits.parse::<u8>().ok());
    let mut accepted = vec![host.clone()];
    match host.architecture.as_str() {
        "arm64" => {
            accepted.push(on_host("arm64", String::new()));
            accepted.extend(arm_up_to(8));
        }
        "arm" => accepted.extend(arm_up_to(generation.map_or(0, |own| own.min(9).saturating_sub(1)))),
        "amd64" => {
            let lower = (2..generation.map_or(0, |own| own.min(9))).rev();
            accepted.extend(lower.map(|level| on_host("amd64", format!("v{level}"))));
            accepted.push(on_host("amd64", String::new()));
            accepted.push(on_host("386", String::new()));
        }
        _ => {}
    }
    accepted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::best_match;
    use super::host_platform;
    use super::normalized;
    use super::preference;
    use crate::model::Platform;

    /// What Docker's own matcher answered when it was asked.
    const CASES: &str = include_str!("../tests/fixtures/oci/platform-match-cases.json");

    #[derive(Deserialize)]
    struct Cases {
        hosts: Vec<HostCase>,
        parse_then_format: BTreeMap<String, String>,
    }

    #[derive(Deserialize)]
    struct HostCase {
        host: String,
        host_normalized: String,
        accepts_best_first: Vec<String>,
    }

    fn cases() -> Cases {
        serde_json::from_str(CASES).unwrap()
    }

    /// Unlike `Platform::from_str` it takes the empty operating system that indexes contain.
    fn platform(text: &str) -> Platform {
        let mut words = text.split('/').map(str::to_owned);
        Platform {
            os: words.next().unwrap(),
            architecture: words.next().unwrap_or_default(),
            variant: words.next().unwrap_or_default(),
        }
    }

    #[test]
    fn every_host_accepts_what_docker_accepts_in_dockers_order() {
        for case in cases().hosts {
            let host = platform(&case.host);
            let places: Vec<Option<u8>> =
                case.accepts_best_first.iter().map(|text| preference(&host, &platform(text))).collect();
            assert!(places.iter().all(Option::is_some), "{}: {places:?}", case.host);
            assert!(places.is_sorted(), "{}: {places:?}", case.host);
        }
    }

    #[test]
    fn every_host_refuses_what_docker_refuses() {
        let cases = cases().hosts;
        let known: Vec<&String> = cases.iter().flat_map(|case| &case.accepts_best_first).collect();
        for case in &cases {
            for offered in known.iter().filter(|text| !case.accepts_best_first.contains(text)) {
                assert_eq!(preference(&platform(&case.host), &platform(offered)), None, "{offered}");
            }
        }
    }

    #[test]
    fn spellings_that_docker_reads_alike_are_read_alike() {
        for case in cases().hosts {
            let as_is = normalized(&platform(&case.host), "linux");
            assert_eq!(as_is, platform(&case.host_normalized), "{}", case.host);
        }
        for (written, read) in cases().parse_then_format {
            if written.contains('/') {
                let both = (normalized(&platform(&written), "linux"), normalized(&platform(&read), "linux"));
                assert_eq!(both.0, both.1, "{written}");
            }
        }
    }

    #[test]
    fn arm64_with_and_without_v8_are_equally_good() {
        let host = platform("linux/arm64");
        assert_eq!(preference(&host, &platform("linux/arm64")), Some(0));
        assert_eq!(preference(&host, &platform("linux/arm64/v8")), Some(0));
    }

    #[test]
    fn an_attestation_never_runs_anywhere() {
        let attestation = platform("unknown/unknown");
        for host in ["linux/arm64", "linux/amd64", "linux/arm/v6", "unknown/unknown"] {
            assert_eq!(preference(&platform(host), &attestation), None, "{host}");
        }
    }

    #[test]
    fn another_operating_system_does_not_run() {
        assert_eq!(preference(&platform("linux/amd64"), &platform("windows/amd64")), None);
    }

    #[test]
    fn the_best_entry_wins_and_the_first_among_equals() {
        let offered: Vec<Platform> =
            ["linux/amd64", "linux/arm/v6", "linux/arm64/v8", "linux/arm64"].map(platform).to_vec();
        assert_eq!(best_match(&platform("linux/arm64"), &offered), offered.get(2));
        assert_eq!(best_match(&platform("linux/arm/v7"), &offered), offered.get(1));
        assert_eq!(best_match(&platform("linux/riscv64"), &offered), None);
    }

    #[test]
    fn the_daemon_decides_the_architecture_and_the_kernel_only_the_arm_generation() {
        let is = |goarch, machine, expected: &str| {
            assert_eq!(host_platform(goarch, "linux", machine), platform(expected), "{goarch} on {machine}");
        };
        is("arm64", "aarch64", "linux/arm64");
        is("arm", "aarch64", "linux/arm/v8");
        is("arm", "armv8l", "linux/arm/v8");
        is("arm", "armv7l", "linux/arm/v7");
        is("arm", "armv6l", "linux/arm/v6");
        is("arm", "", "linux/arm/v7");
        is("amd64", "x86_64", "linux/amd64");
        is("riscv64", "riscv64", "linux/riscv64");
    }

    #[test]
    fn a_newer_amd64_level_still_runs_the_lower_ones() {
        let host = platform("linux/amd64/v3");
        let places: Vec<Option<u8>> = ["amd64/v3", "amd64/v2", "amd64", "386", "amd64/v4"]
            .iter()
            .map(|text| preference(&host, &platform(&format!("linux/{text}"))))
            .collect();
        assert_eq!(places, [Some(0), Some(1), Some(2), Some(3), None]);
    }
}
