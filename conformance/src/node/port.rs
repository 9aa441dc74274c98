//! Free ports on loopback.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Failure, Result};

/// Below the range that Linux takes outgoing connections' ports from: a node that is restarted must find its port
/// free again, though clients have dialled by the hundred meanwhile.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port on `host` that nothing listens on, and that no other call in this process was given.
///
/// Another process may still take it before it is used, so whoever listens on it must be ready to ask again.
pub(super) fn free(host: Ipv4Addr) -> Result<u16> {
    free_on_all(&[host])
}

/// A port that is free in this sense on every one of `hosts`.
pub(super) fn free_on_all(hosts: &[Ipv4Addr]) -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes start at different places, so that two that run at a time seldom meet.
    let start = process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % u32::from(COUNT);
        let port = u16::try_from(u32::from(FIRST) + offset).map_err(Failure::during("choosing a port"))?;
        if hosts.iter().all(|host| TcpListener::bind(SocketAddrV4::new(*host, port)).is_ok()) {
            return Ok(port);
        }
    }
    Err(Failure::new(format!("no free port on {hosts:?} from {FIRST} on")))
}
