//! Nodes come up side by side, do as they are told, and are gone afterwards.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use conformance::node::Cluster;
use conformance::raw::args::Args;
use conformance::raw::{Frame, Wire, id};
use conformance::{Node, Options, wait};

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("sh").arg("-c").arg(format!("kill -{signal} {pid}")).status().unwrap().success());
}

fn start() -> Node {
    Node::start(Options::new()).unwrap()
}

fn declare(wire: &mut Wire, queue: &str) {
    wire.open_channel(1).unwrap();
    let args = Args::new().u16(0).short_string(queue).u8(0b10).long_string(b"\x09x-expiresI\x00\x10\x00\x00");
    wire.call(1, id::QUEUE_DECLARE, args, id::QUEUE_DECLARE_OK).unwrap();
}

#[test]
fn two_nodes_run_side_by_side_and_are_gone_after_drop() {
    let nodes = [start(), start()];
    assert_ne!(nodes[0].port(), nodes[1].port());
    for node in &nodes {
        Wire::log_in(node.address(), "side by side").unwrap();
        assert!(!node.version().unwrap().is_empty());
        assert!(node.log().contains("Starting RabbitMQ"), "{}", node.log());
        assert!(exists(node.pid().unwrap()));
    }
    let pids = nodes.each_ref().map(|node| node.pid().unwrap());
    let folders = nodes.each_ref().map(|node| node.log_path().ancestors().nth(2).unwrap().to_owned());
    drop(nodes);
    for (pid, folder) in pids.into_iter().zip(folders) {
        assert!(!exists(pid));
        assert!(!folder.exists());
    }
}

#[test]
fn a_node_does_what_an_operator_asks_of_it() {
    let node = start();
    let mut wire = Wire::log_in(node.address(), "operated").unwrap();
    declare(&mut wire, "orders");

    let queue = node.queue("orders").unwrap().unwrap();
    assert!(queue.durable && !queue.exclusive && !queue.auto_delete);
    assert_eq!((queue.messages, queue.consumers), (0, 0));
    assert_eq!(queue.arguments["x-expires"], "1048576");
    assert!(node.list_exchanges().unwrap().iter().any(|exchange| exchange.name == "amq.topic"));
    assert!(node.list_bindings().unwrap().iter().any(|binding| binding.destination == "orders"));
    assert_eq!(node.connections_named("operated").unwrap().len(), 1);
    let channels = node.list_channels().unwrap();
    assert!(channels.iter().any(|channel| channel.connection_name == "operated" && channel.number == 1));

    node.set_memory_alarm().unwrap();
    wire.send_method(1, id::BASIC_PUBLISH, Args::new().u16(0).short_string("").short_string("orders").u8(0)).unwrap();
    wire.send_frame(&Frame::header(1, 1, &[0, 0])).unwrap();
    wire.expect_method(id::CONNECTION_BLOCKED).unwrap();
    node.clear_memory_alarm().unwrap();
    wire.expect_method(id::CONNECTION_UNBLOCKED).unwrap();

    node.delete_queue("orders").unwrap();
    assert_eq!(node.queue("orders").unwrap(), None);
    assert!(node.delete_queue("orders").is_err());

    node.add_vhost("côté").unwrap();
    assert_eq!(node.list_queues_in("côté").unwrap(), []);
    node.delete_vhost("côté").unwrap();
    node.add_user("ann", "secret").unwrap();
    node.change_password("ann", "other").unwrap();
}

#[test]
fn a_forced_close_reaches_the_connection_that_it_names() {
    let node = start();
    let mark = node.log_mark();
    let mut one = Wire::log_in(node.address(), "one").unwrap();
    let mut other = Wire::log_in(node.address(), "other").unwrap();

    assert_eq!(node.close_connections("one", "maintenance").unwrap(), 1);
    let close = one.expect_method(id::CONNECTION_CLOSE).unwrap();
    let text = String::from_utf8_lossy(close.args());
    assert_eq!(close.args()[..2], 320_u16.to_be_bytes());
    assert!(text.contains("maintenance"), "{text}");

    assert_eq!(node.connections_named("other").unwrap().len(), 1);
    node.close_all_connections("everybody out").unwrap();
    other.expect_method(id::CONNECTION_CLOSE).unwrap();

    node.await_log(mark, "everybody out").unwrap();
    assert!(!node.warnings_since(mark).is_empty());
}

#[test]
fn a_node_keeps_its_port_and_data_when_it_is_killed_stopped_and_restarted() {
    let node = start();
    let (port, first) = (node.port(), node.pid().unwrap());
    declare(&mut Wire::log_in(node.address(), "before").unwrap(), "survivor");

    node.flush_declarations().unwrap();
    node.restart().unwrap();
    assert!(!exists(first));
    assert_ne!(node.pid(), Some(first));
    assert_eq!(node.port(), port);
    assert!(node.queue("survivor").unwrap().is_some());

    node.stop().unwrap();
    assert_eq!(node.pid(), None);
    assert!(node.version().is_err());
    assert!(Wire::connect(node.address()).is_err());
    node.start_again().unwrap();
    assert!(node.queue("survivor").unwrap().is_some());

    let mut wire = Wire::log_in(node.address(), "application").unwrap();
    node.stop_app().unwrap();
    wire.expect_method(id::CONNECTION_CLOSE).unwrap();
    assert!(Wire::connect(node.address()).is_err());
    node.start_app().unwrap();
    Wire::log_in(node.address(), "again").unwrap();

    node.freeze().unwrap();
    let mut frozen = Wire::connect(node.address()).unwrap();
    frozen.set_patience(Duration::from_millis(200)).unwrap();
    frozen.send(&conformance::raw::PROTOCOL_HEADER).unwrap();
    assert!(frozen.expect_method(id::CONNECTION_START).is_err());
    node.thaw().unwrap();
    frozen.set_patience(Duration::from_secs(10)).unwrap();
    frozen.expect_method(id::CONNECTION_START).unwrap();
}

#[test]
fn the_log_holds_what_was_logged_by_the_time_it_is_read() {
    let node = start();
    for number in 0..20 {
        node.evaluate(&format!("logger:warning(\"number {number}.\")")).unwrap();
        assert!(node.warnings().last().unwrap().ends_with(&format!("number {number}.")));
    }
    node.freeze().unwrap();
    assert_eq!(node.warnings().len(), 20);
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let failure = Node::start(Options::new().config("listeners.tcp.1 = nonsense")).unwrap_err();
    assert!(failure.to_string().contains("listeners.tcp"), "{failure}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let failure = Node::start(Options::new().config(format!("listeners.tcp.1 = {taken}"))).unwrap_err();
    assert!(failure.to_string().contains("eaddrinuse"), "{failure}");
    let failure = Node::start(Options::new().install(conformance::Install::at("/nowhere"))).unwrap_err();
    assert!(failure.to_string().contains("scripts/rabbitmq"), "{failure}");
}

#[test]
fn three_nodes_form_a_cluster_and_one_may_come_and_go() {
    let cluster = Cluster::start(3, &Options::new()).unwrap();
    let mut wire = Wire::log_in(cluster[0].address(), "clustered").unwrap();
    wire.open_channel(1).unwrap();
    let quorum = b"\x0cx-queue-typeS\x00\x00\x00\x06quorum";
    let args = Args::new().u16(0).short_string("shared").u8(0b10).long_string(quorum);
    wire.call(1, id::QUEUE_DECLARE, args, id::QUEUE_DECLARE_OK).unwrap();
    for node in &cluster {
        assert!(node.queue("shared").unwrap().is_some());
    }

    let leader = cluster.leader_of("shared").unwrap();
    let name = leader.name();
    leader.kill();
    cluster.await_members().unwrap();
    wait::until_true(Duration::from_secs(60), "another leader", || cluster.leader_of("shared").unwrap().name() != name)
        .unwrap();
    leader.start_again().unwrap();
    cluster.await_members().unwrap();
}

/// The program that runs one node, and what it prints first.
struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
    log: PathBuf,
    node: u32,
}

fn program() -> Program {
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_rabbitmq-node")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let (uri, log) = (line(), PathBuf::from(line()));
    assert!(uri.starts_with("amqp://guest:guest@127.0.0.1:"), "{uri}");
    assert!(fs::read_to_string(&log).unwrap().contains("Starting RabbitMQ"));
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let node = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    Program { child, output, log, node }
}

impl Program {
    fn expect_no_trace(mut self) {
        self.child.wait().unwrap();
        wait::until_true(Duration::from_secs(20), "the node to go", || !exists(self.node)).unwrap();
        assert!(!self.log.ancestors().nth(2).unwrap().exists());
        drop(self.output);
    }
}

#[test]
fn the_program_ends_its_node_when_its_input_closes() {
    let mut program = program();
    drop(program.child.stdin.take());
    program.expect_no_trace();
}

#[test]
fn a_node_ends_when_the_process_that_started_it_is_killed() {
    let mut program = program();
    program.child.kill().unwrap();
    program.expect_no_trace();
}

#[test]
fn a_node_ends_when_the_process_that_started_it_is_interrupted() {
    for signal in ["TERM", "INT"] {
        let program = program();
        kill(signal, program.child.id());
        program.expect_no_trace();
    }
}

#[test]
fn a_frozen_node_ends_as_well_when_the_process_that_started_it_is_killed() {
    let mut program = program();
    kill("STOP", program.node);
    let is_stopped = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("stat")).unwrap().contains(") T ");
    wait::until_true(Duration::from_secs(20), "the node to freeze", || {
        fs::read_dir(format!("/proc/{}/task", program.node)).unwrap().flatten().all(is_stopped)
    })
    .unwrap();
    program.child.kill().unwrap();
    program.expect_no_trace();
}
