//! Which public time servers spread a leap second over hours, and which lists mix them with others.
//!
//! During a smear such a server is off from UTC by up to half a second, or a whole one, on purpose, so a list that
//! mixes the groups has a majority that is wrong or none at all. Google and Amazon smear alike, over the 24 hours
//! from noon to noon around the leap second; Facebook over the hours after it.

use super::TimeServer;

/// How a server passes on a leap second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leap {
    /// As a step, or it is not known to be otherwise.
    Step,
    /// Spread from noon to noon around it.
    NoonToNoon,
    /// Spread over the hours that follow it.
    Afterwards,
}

impl Leap {
    const ALL: [(Leap, &'static str); 3] = [
        (Leap::Step, "not known to smear"),
        (Leap::NoonToNoon, "smeared from noon to noon"),
        (Leap::Afterwards, "smeared over the hours after"),
    ];

    fn of(server: &TimeServer) -> Leap {
        match server.host() {
            "time.google.com"
            | "time1.google.com"
            | "time2.google.com"
            | "time3.google.com"
            | "time4.google.com"
            | "time.android.com"
            | "metadata.google.internal" => Leap::NoonToNoon,
            "216.239.35.0" | "216.239.35.4" | "216.239.35.8" | "216.239.35.12" => Leap::NoonToNoon,
            "2001:4860:4806::" | "2001:4860:4806:4::" | "2001:4860:4806:8::" | "2001:4860:4806:c::" => {
                Leap::NoonToNoon
            }
            "time.aws.com" | "169.254.169.123" | "fd00:ec2::123" => Leap::NoonToNoon,
            "time.facebook.com" | "time1.facebook.com" | "time2.facebook.com" | "time3.facebook.com"
            | "time4.facebook.com" | "time5.facebook.com" => Leap::Afterwards,
            _ => Leap::Step,
        }
    }
}

/// The groups of a list that mixes them, each with its servers; `None` if the list is of one kind.
pub(super) fn mixture(servers: &[TimeServer]) -> Option<String> {
    let groups: Vec<String> = Leap::ALL
        .iter()
        .filter_map(|(leap, words)| {
            let members: Vec<String> =
                servers.iter().filter(|s| Leap::of(s) == *leap).map(ToString::to_string).collect();
            (!members.is_empty()).then(|| format!("{words}: {}", members.join(", ")))
        })
        .collect();
    (groups.len() > 1).then(|| groups.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(names: &str) -> Option<String> {
        let servers: Vec<_> = names.split(' ').map(|n| n.parse().expect("is a server")).collect();
        mixture(&servers)
    }

    #[test]
    fn a_mixture_is_named_with_both_groups() {
        assert_eq!(
            mixed("pool.ntp.org time.google.com time.nist.gov 169.254.169.123").as_deref(),
            Some(
                "not known to smear: pool.ntp.org, time.nist.gov; \
                 smeared from noon to noon: time.google.com, 169.254.169.123"
            )
        );
        assert!(mixed("time.google.com time.facebook.com").is_some());
    }

    #[test]
    fn one_kind_is_no_mixture() {
        assert_eq!(mixed("pool.ntp.org time.cloudflare.com time.nist.gov"), None);
        assert_eq!(
            mixed("TIME2.google.com. metadata.google.internal time.aws.com [fd00:ec2::123]:123"),
            None
        );
        assert_eq!(mixed("172.20.1.1:8123 172.20.1.1:8124"), None);
    }
}
