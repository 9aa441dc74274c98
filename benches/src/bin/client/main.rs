//! A first benchmark of the whole client: publish, publish with confirms in a window of 100, consume without acks, and
//! consume with an ack each, against a peer process that costs next to nothing, on loopback.
//!
//! ```text
//! cargo run --profile bench -p benches --bin client -- [publish|confirm|consume|ack ...] [--messages N] [--size BYTES]
//! ```
//!
//! Each line says thousands of messages a second, the client's CPU time for each message, and, for publish and consume,
//! the ratio to `raw`: prebuilt bytes through a plain socket, a system call for each 64 KiB, measured in the same run.
//! `--instructions` runs the client's part alone, for `valgrind --tool=callgrind`: see `scripts/instructions`.

mod peer;
mod raw;
mod work;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "peer") {
        return Ok(peer::serve()?);
    }
    let options = Options::parse(&args)?;
    let peer = Peer::start()?;
    for name in &options.workloads {
        let raw = match name.as_str() {
            "publish" if !options.instructions => Some(raw::publish(peer.port, options.messages, options.size)?),
            "consume" if !options.instructions => Some(raw::consume(peer.port, options.messages, options.size)?),
            _ => None,
        };
        for multi_thread in [false, true] {
            if options.instructions && multi_thread {
                continue;
            }
            let taken = work::run(name, peer.port, options.messages, options.size, multi_thread)?;
            report(name, multi_thread, &options, taken, raw);
        }
    }
    Ok(())
}

struct Options {
    workloads: Vec<String>,
    messages: u64,
    size: usize,
    instructions: bool,
}

impl Options {
    fn parse(args: &[String]) -> Outcome<Self> {
        let mut options = Self { workloads: Vec::new(), messages: 1_000_000, size: 16, instructions: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--messages" => options.messages = args.next().ok_or("--messages wants a number")?.parse()?,
                "--size" => options.size = args.next().ok_or("--size wants a number of bytes")?.parse()?,
                "--instructions" => options.instructions = true,
                name if work::NAMES.contains(&name) => options.workloads.push(name.to_owned()),
                other => return Err(format!("unknown argument {other:?}; workloads are {:?}", work::NAMES).into()),
            }
        }
        if options.workloads.is_empty() {
            options.workloads = work::NAMES.iter().map(ToString::to_string).collect();
        }
        Ok(options)
    }
}

/// What a workload took.
#[derive(Clone, Copy)]
struct Taken {
    wall: Duration,
    cpu: Duration,
}

impl Taken {
    /// Runs `work` and looks at the clocks before and after it.
    fn of<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<Self> {
        let (wall, cpu) = (Instant::now(), cpu_time()?);
        work()?;
        Ok(Self { wall: wall.elapsed(), cpu: cpu_time()?.saturating_sub(cpu) })
    }
}

fn report(name: &str, multi_thread: bool, options: &Options, taken: Taken, raw: Option<Taken>) {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52, for people")]
    let messages = options.messages as f64;
    let runtime = if multi_thread { "multi-thread" } else { "current-thread" };
    let rate = messages / taken.wall.as_secs_f64() / 1000.0;
    let cpu = taken.cpu.as_secs_f64() / messages * 1e9;
    let ratio =
        raw.map_or(String::new(), |raw| format!(", {:.2} of raw", raw.wall.as_secs_f64() / taken.wall.as_secs_f64()));
    println!("{name:8} {:6} B  {runtime:15} {rate:9.0} k msg/s  {cpu:7.0} ns CPU/msg{ratio}", options.size);
}

/// User and system time of this process so far.
fn cpu_time() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no process name in /proc/self/stat")?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || -> Outcome<u64> { Ok(fields.next().ok_or("too few fields in /proc/self/stat")?.parse()?) };
    // Ticks of 10 ms, on every Linux in use.
    Ok(Duration::from_millis((ticks()? + ticks()?) * 10))
}

/// The peer's process; it ends with this one, because its standard input does.
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    fn start() -> Outcome<Self> {
        let mut child =
            Command::new(std::env::current_exe()?).arg("peer").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("the peer has no output")?).read_line(&mut line)?;
        Ok(Self { child, port: line.trim().parse()? })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It was asked to end just now; there is nobody to tell if that failed.
        let _ = self.child.wait();
    }
}
