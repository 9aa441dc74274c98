//! What listeners hear of a connection.

use conformance::{Context, Options, cases};

use crate::facade::{ConnectionEvent, Error, Events, connect};
use crate::suite::support::{Result, assert_connection_closed, named, open, open_once};

cases! {
    f12_every_listener_hears_of_an_alarm_and_of_its_end,
    c15_every_listener_hears_of_a_close_by_the_broker_once_and_with_its_cause,
    a_close_of_ones_own_is_the_last_event_and_has_no_cause,
}

/// The end, which must be the next event, and the last.
async fn expect_end(events: &mut Events) -> Option<Error> {
    let event = events.next().await;
    let Some(ConnectionEvent::Closed { cause }) = event else { panic!("{event:?}") };
    assert!(events.next().await.is_none());
    cause
}

async fn f12_every_listener_hears_of_an_alarm_and_of_its_end(context: Context) -> Result {
    let node = context.private_node(Options::new())?;
    let connection = connect(named(&context, &node.uri())).await?;
    let mut listeners = [connection.events(), connection.events()];
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(context.name("queue")).await?.name;
    node.set_memory_alarm()?;
    // The broker notices a publisher by what it publishes.
    channel.publish("", &queue, "x").await?;
    for events in &mut listeners {
        let event = events.next().await;
        assert!(matches!(&event, Some(ConnectionEvent::Blocked { reason }) if reason.contains("memory")), "{event:?}");
    }
    node.clear_memory_alarm()?;
    for events in &mut listeners {
        let event = events.next().await;
        assert!(matches!(event, Some(ConnectionEvent::Unblocked)), "{event:?}");
    }
    connection.close().await?;
    for events in &mut listeners {
        assert!(expect_end(events).await.is_none());
    }
    Ok(())
}

async fn c15_every_listener_hears_of_a_close_by_the_broker_once_and_with_its_cause(context: Context) -> Result {
    let connection = open_once(&context).await?;
    let listeners = [connection.events(), connection.events()];
    assert_eq!(context.node().close_connections(context.case(), "it is late")?, 1);
    let told = connection.closed().await.unwrap_err();
    let late = connection.events();
    for mut events in listeners.into_iter().chain([late]) {
        let cause = expect_end(&mut events).await.expect("the broker closed it");
        assert_connection_closed(&cause, 320);
        assert!(cause.to_string().contains("it is late"), "{cause}");
        assert_eq!(cause.close_reason(), told.close_reason());
    }
    Ok(())
}

async fn a_close_of_ones_own_is_the_last_event_and_has_no_cause(context: Context) -> Result {
    for by_drop in [false, true] {
        let connection = open(&context).await?;
        let mut events = connection.events();
        assert!(events.try_next().is_none());
        if by_drop {
            // Listening does not keep it open.
            drop(connection);
        } else {
            connection.close().await?;
        }
        assert!(expect_end(&mut events).await.is_none());
    }
    Ok(())
}
