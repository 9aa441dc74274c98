//! The broker is there, and a case can have one of its own.

use conformance::raw::{Wire, id};
use conformance::{Context, Options, cases};

cases! {
    the_broker_lets_a_client_in,
    a_case_can_have_a_node_of_its_own,
}

async fn the_broker_lets_a_client_in(context: Context) -> conformance::Result<()> {
    let mut wire = Wire::log_in(context.address(), context.case())?;
    wire.open_channel(1)?;
    assert_eq!(context.node().connections_named(context.case())?.len(), 1);
    Ok(())
}

async fn a_case_can_have_a_node_of_its_own(context: Context) -> conformance::Result<()> {
    let node = context.private_node(Options::new())?;
    assert_ne!(node.port(), context.node().port());
    let mut wire = Wire::log_in(node.address(), context.case())?;
    node.close_all_connections("private")?;
    wire.expect_method(id::CONNECTION_CLOSE)?;
    Ok(())
}
