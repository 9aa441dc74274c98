//! Runs a private RabbitMQ node for as long as its standard input is open.
//!
//! Prints the node's URI on the first line and the path of its log on the second. The node ends, and its folder with
//! it, when standard input closes and when this program dies of a signal. Arguments are lines for `rabbitmq.conf`.

use std::io::{self, Write};
use std::process::ExitCode;

use conformance::{Node, Options, Result};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "rabbitmq-node: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = std::env::args().skip(1).fold(Options::new(), Options::config);
    let node = Node::start(options)?;
    let mut output = io::stdout();
    writeln!(output, "{}\n{}", node.uri(), node.log_path().display())?;
    output.flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
