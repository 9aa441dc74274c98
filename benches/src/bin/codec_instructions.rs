//! Runs one workload of the codec so many times, for a tool that counts instructions.
//!
//! Under `valgrind --tool=callgrind`, the difference between a run of N and one of 2 N is N messages; see
//! `scripts/instructions`. Without arguments it lists the workloads: name, required ratio, instructions to aim at.

use benches::codec::WORKLOADS;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, side, times] = &arguments[..] else {
        for workload in WORKLOADS {
            let required = workload.required.map_or("-".into(), |ratio| ratio.to_string());
            let aim = workload.aim.map_or("-".into(), |instructions| instructions.to_string());
            println!("{} {required} {aim}", workload.name);
        }
        return;
    };
    let workload = WORKLOADS.iter().find(|workload| workload.name == name);
    let times = times.parse();
    match (workload, side.as_str(), times) {
        (Some(workload), "ours", Ok(times)) => (workload.ours)(times),
        (Some(workload), "theirs", Ok(times)) => (workload.theirs)(times),
        _ => {
            eprintln!("usage: codec_instructions [WORKLOAD ours|theirs TIMES]");
            std::process::exit(2);
        }
    }
}
