//! The test that the README shows, as it stands there.

use amqp_broker::{Broker, On, Reaction, Rule};

/// Somebody's code under test: it places an order, and again if the broker refuses it.
async fn place_order(connection: &amqp_tokio::Connection, order: &str) -> Result<(), amqp_tokio::Error> {
    let publisher = connection.publisher().await?;
    match publisher.publish("", "orders", order).await {
        Err(error) if matches!(error.kind(), amqp_tokio::ErrorKind::Nacked) => {
            publisher.publish("", "orders", order).await
        }
        outcome => outcome,
    }
}

#[tokio::test]
async fn an_order_that_is_refused_is_placed_again() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::start()?; // within the test's process, on a free port
    broker.add_rule(Rule::new(On::Publish, Reaction::Reject).times(1)); // the first publish is nacked
    let connection = amqp_tokio::connect(broker.uri()).await?;
    connection.channel().await?.queue_declare("orders").await?;
    place_order(&connection, "7 apples").await?; // the code under test
    let orders = broker.messages("orders")?;
    assert_eq!(orders.len(), 1, "refused once, and then taken");
    assert_eq!(orders[0].body, b"7 apples");
    Ok(())
}

#[test]
fn the_readme_shows_this_very_test() {
    let readme = include_str!("../../README.md");
    let (_, shown) = include_str!("readme.rs").split_once("#[tokio::test]").unwrap();
    let (shown, _) = shown.split_once("\n}\n").unwrap();
    assert!(readme.contains(shown), "README.md and tests/readme.rs differ");
}
