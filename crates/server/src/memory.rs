//! How much memory the process may use: what the kernel allows it, or what the machine has.

/// The file with the machine's memory.
const MACHINE: &str = "/proc/meminfo";
/// Which control groups the process is in.
const GROUPS: &str = "/proc/self/cgroup";
/// The folders with the limits of control groups, of version 2 and of version 1.
const UNIFIED: (&str, &str) = ("/sys/fs/cgroup", "memory.max");
const MEMORY: (&str, &str) = ("/sys/fs/cgroup/memory", "memory.limit_in_bytes");
/// The memory that is assumed where no file says more.
const UNKNOWN: u64 = 1 << 30;
/// The part of the memory that bodies and answers may take.
const PART: u64 = 4;

/// The budget where none is configured: a quarter of the memory that the process may use.
pub(crate) fn default_budget() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    usize::try_from(available(&read) / PART).unwrap_or(usize::MAX)
}

/// The memory that the process may use, by what `read` finds in files: the least that a control group of the process or one
/// around it allows, or the machine's.
fn available(read: &dyn Fn(&str) -> Option<String>) -> u64 {
    let groups = read(GROUPS).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| group(line, read)).chain(read(MACHINE).and_then(|text| total(&text)));
    limits.min().unwrap_or(UNKNOWN)
}

/// What the control group of one line, such as `0::/system.slice/router.service` or `4:memory:/docker/1f`, allows.
fn group(line: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => UNIFIED,
        some if some.split(',').any(|controller| controller == "memory") => MEMORY,
        _ => return None,
    };
    // Within a container the path may be the host's, which is not there: the root is the container's own then.
    let path = path.trim_matches('/');
    let mut within = std::iter::successors((!path.is_empty()).then_some(path), |path| Some(path.rsplit_once('/')?.0));
    let limit = |folder: &str| read(&format!("{root}{folder}/{file}"))?.trim().parse().ok();
    let own = within.by_ref().filter_map(|path| limit(&format!("/{path}"))).min();
    own.into_iter().chain(limit("")).min()
}

/// The machine's memory, which `meminfo` gives in kibibytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        8000000 kB\nMemFree:         1000000 kB\n";
    const GIB: u64 = 1 << 30;

    fn of(files: &[(&str, &str)]) -> u64 {
        available(&|path| files.iter().find(|(known, _)| *known == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn a_container_may_use_what_its_control_group_allows() {
        let files = [(MACHINE, MEMINFO), (GROUPS, "0::/\n"), ("/sys/fs/cgroup/memory.max", "1073741824\n")];
        assert_eq!(of(&files), GIB);
        let old = [
            (MACHINE, MEMINFO),
            (GROUPS, "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
        ];
        assert_eq!(of(&old), GIB);
    }

    #[test]
    fn the_least_of_all_groups_around_the_process_holds() {
        let groups = (GROUPS, "0::/system.slice/router.service\n");
        let own = ("/sys/fs/cgroup/system.slice/router.service/memory.max", "2147483648\n");
        let around = ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n");
        assert_eq!(of(&[(MACHINE, MEMINFO), groups, own]), 2 * GIB);
        assert_eq!(of(&[(MACHINE, MEMINFO), groups, own, around]), GIB);
    }

    #[test]
    fn without_a_limit_it_is_the_machines() {
        let machine = 8_000_000 << 10;
        for limit in ["max\n", "9223372036854771712\n", "what?", ""] {
            let files = [
                (MACHINE, MEMINFO),
                (GROUPS, "4:memory:/\n0::/\n"),
                ("/sys/fs/cgroup/memory.max", limit),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", limit),
            ];
            assert_eq!(of(&files), machine, "{limit:?}");
        }
        assert_eq!(of(&[(MACHINE, MEMINFO)]), machine);
        assert_eq!(of(&[]), UNKNOWN);
        assert_eq!(of(&[(MACHINE, "MemTotal: much\n"), (GROUPS, "0\n:\n")]), UNKNOWN);
    }
}
