//! No descriptor left: the router goes on, spends no time on what it cannot do, and serves again once there is room.

use std::{fs, net::TcpStream, thread::sleep, time::Duration};

use crate::router::{KEY, Router, eventually, exchange, request, status};

const LIMIT: usize = 100;

/// Hundredths of a second of processor time that the process has used.
fn used(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn without_descriptors_it_neither_ends_nor_spins_and_recovers() {
    let refusing = emulator::Emulator::refusing_base().unwrap();
    let router = Router::start(&refusing, &[], &format!("ulimit -n {LIMIT}"));
    assert_eq!(status(&router.chat(KEY)), "200");
    for _ in 0..2 {
        let held: Vec<_> = (0..2 * LIMIT).map(|_| TcpStream::connect(&router.public).unwrap()).collect();
        let open = || fs::read_dir(format!("/proc/{}/fd", router.pid())).unwrap().count();
        eventually("the descriptors are used up", || (open() >= LIMIT - 10).then_some(()));
        let before = used(router.pid());
        sleep(Duration::from_secs(2));
        let spent = used(router.pid()) - before;
        assert!(spent < 100, "{spent} hundredths of a second in two seconds");
        drop(held);
        eventually("it serves again", || (status(&router.chat(KEY)) == "200").then_some(()));
        let alive = exchange(&router.admin, &request("GET /livez", "", ""));
        assert_eq!(status(&alive), "200", "{alive}");
    }
}
