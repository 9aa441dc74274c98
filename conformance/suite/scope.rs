//! A channel for the time of a function.

use conformance::{Context, cases};

use crate::facade::{Error, ErrorKind, Outcome, Queue};
use crate::suite::support::{Result, assert_channel_closed, await_queue, open};

cases! {
    c4_a_publish_to_a_missing_exchange_comes_out_at_the_end_of_its_scope,
    c4_a_publish_to_a_missing_exchange_comes_out_of_tx_commit_and_of_its_confirm,
    f21_a_scope_ends_when_all_of_it_has_reached_the_broker,
    f21_the_error_of_the_function_goes_before_that_of_the_channel,
    f21_a_scope_whose_channel_was_closed_in_it_ends_well,
    f21_scopes_that_fail_leave_no_channel_behind within 120,
}

async fn c4_a_publish_to_a_missing_exchange_comes_out_at_the_end_of_its_scope(context: Context) -> Result {
    let connection = open(&context).await?;
    let missing = context.name("missing");
    let error = connection
        .with_channel(async |channel| channel.publish(&missing, "key", "lost").await)
        .await
        .expect_err("there is no such exchange");
    assert_channel_closed(&error, 404);
    assert!(error.to_string().contains(&missing), "{error}");
    // The connection is unharmed.
    let two = connection.with_channel(async |_| Ok::<_, Error>(2)).await?;
    assert_eq!(two, 2);
    Ok(connection.close().await?)
}

async fn c4_a_publish_to_a_missing_exchange_comes_out_of_tx_commit_and_of_its_confirm(context: Context) -> Result {
    let connection = open(&context).await?;
    let missing = context.name("missing");
    let error = connection
        .with_channel(async |channel| {
            channel.tx_select().await?;
            channel.publish(&missing, "key", "lost").await?;
            channel.tx_commit().await
        })
        .await
        .expect_err("there is no such exchange");
    assert_channel_closed(&error, 404);
    let outcome = connection
        .with_channel(async |channel| {
            channel.confirm_select().await?;
            let outcome = channel.send(&missing, "key", "lost").await?.outcome().await;
            assert!(
                matches!(&outcome, Outcome::Unknown(cause) if cause.reply_code().is_some_and(|code| code.0 == 404))
            );
            Ok::<_, Error>(outcome)
        })
        .await;
    assert_channel_closed(&outcome.expect_err("there is no such exchange"), 404);
    Ok(connection.close().await?)
}

async fn f21_a_scope_ends_when_all_of_it_has_reached_the_broker(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    connection
        .with_channel(async |channel| {
            for number in 0..200 {
                channel.publish("", &queue, number.to_string()).await?;
            }
            Ok::<_, Error>(())
        })
        .await?;
    await_queue(context.node(), &queue, "all to be there", |queue| queue.ready == 200);
    // Acks as well; what was not settled goes back.
    let left = connection
        .with_channel(async |channel| {
            let mut consumer = channel.consume(&queue).await?;
            for _ in 0..50 {
                consumer.next().await.expect("a delivery")?.ack()?;
            }
            Ok::<_, Error>(150)
        })
        .await?;
    await_queue(context.node(), &queue, "the rest to be back", |queue| (queue.ready, queue.consumers) == (left, 0));
    Ok(connection.close().await?)
}

/// An error of the application's own.
#[derive(Debug)]
enum Mine {
    Own(&'static str),
    Amqp(Error),
}

impl From<Error> for Mine {
    fn from(error: Error) -> Self {
        Self::Amqp(error)
    }
}

async fn f21_the_error_of_the_function_goes_before_that_of_the_channel(context: Context) -> Result {
    let connection = open(&context).await?;
    let missing = context.name("missing");
    let mut kept = None;
    let result = connection
        .with_channel(async |channel| {
            kept = Some(channel.clone());
            channel.publish(&missing, "key", "lost").await?;
            Err::<(), _>(Mine::Own("not enough"))
        })
        .await;
    assert!(matches!(result, Err(Mine::Own("not enough"))));
    // The other one is not lost.
    assert_channel_closed(&kept.expect("a channel").error().expect("it is closed"), 404);
    let result = connection
        .with_channel(async |channel| {
            channel.publish(&missing, "key", "lost").await?;
            Ok::<_, Mine>(())
        })
        .await;
    let Err(Mine::Amqp(error)) = result else { panic!("{result:?}") };
    assert_channel_closed(&error, 404);
    // And there may be no channel at all.
    connection.close().await?;
    let Err(Mine::Amqp(error)) = connection.with_channel(async |_| Ok::<_, Mine>(())).await else { panic!("no error") };
    assert!(matches!(error.kind(), ErrorKind::ConnectionNotOpen), "{error}");
    Ok(())
}

async fn f21_a_scope_whose_channel_was_closed_in_it_ends_well(context: Context) -> Result {
    let connection = open(&context).await?;
    connection.with_channel(async |channel| channel.close().await).await?;
    Ok(connection.close().await?)
}

async fn f21_scopes_that_fail_leave_no_channel_behind(context: Context) -> Result {
    let connection = open(&context).await?;
    let missing = context.name("missing");
    // More than there are numbers of channels.
    for _ in 0..u32::from(connection.tuning().channel_max) + 100 {
        let result = connection.with_channel(async |channel| channel.publish(&missing, "key", "lost").await).await;
        assert_channel_closed(&result.expect_err("there is no such exchange"), 404);
    }
    Ok(connection.close().await?)
}
