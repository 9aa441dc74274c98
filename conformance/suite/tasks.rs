//! Queues of tasks, and workers.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conformance::{Context, cases, wait};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::facade::{
    CodecError, ErrorKind, Get, Message, OnError, Settlement, Task, TaskQueue, Work, spawn, task_queue, timeout,
};
use crate::suite::support::{Result, SOON, await_queue, config, open};

cases! {
    r1_f48_tasks_come_out_in_the_order_in_which_they_went_in,
    r2_f48_a_queue_that_does_not_exist_has_no_tasks_and_is_not_created,
    r3_f48_two_queues_used_in_turns_never_mix,
    r4_f48_a_bad_name_is_an_error_in_these_words,
    r5_f48_a_name_is_of_lowercase_letters_digits_and_single_underscores,
    r6_f48_another_client_sees_what_was_declared_and_published,
    r7_f48_a_payload_is_an_object_and_nothing_is_an_empty_one,
    r8_f48_a_host_that_does_not_exist_fails_at_once_in_these_words,
    r9_r10_f48_an_unknown_scheme_is_shown_without_the_password,
    r11_f48_a_worker_drains_a_queue_and_counts,
    r11_f48_a_task_that_fails_stops_no_worker_and_one_that_is_put_back_is_seen_again,
    r11_f48_a_worker_keeps_to_its_rate,
    r11_f48_a_worker_waits_for_tasks_and_outlives_its_connection_and_its_queue,
    f48_a_task_is_leased_until_it_is_settled,
    f48_without_acks_a_task_is_settled_when_it_is_taken_out,
    f48_a_task_queue_outlives_its_connection_and_what_it_has_declared,
}

/// A task queue, and a name for this case that it takes.
async fn tasks(context: &Context) -> Result<(TaskQueue, String)> {
    Ok((task_queue(config(context)).await?, name(context, "tasks")))
}

fn name(context: &Context, what: &str) -> String {
    let name = format!("t{}", context.name(what)).to_lowercase();
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "_").replace("__", "_")
}

/// Deletes what was declared, and closes.
async fn end(context: &Context, tasks: TaskQueue, names: &[&str]) -> Result {
    tasks.close().await?;
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    for name in names {
        channel.queue_delete(*name).await?;
        channel.exchange_delete(*name).await?;
    }
    Ok(connection.close().await?)
}

/// Takes a task out and settles it.
async fn take(tasks: &TaskQueue, name: &str) -> Result<Option<Value>> {
    let Some(task) = tasks.get(name).await? else { return Ok(None) };
    let payload = task.payload()?;
    task.done()?;
    Ok(Some(Value::Object(payload)))
}

async fn r1_f48_tasks_come_out_in_the_order_in_which_they_went_in(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    assert_eq!(tasks.poll(&mail).await?, 0);
    tasks.submit(&mail, &json!({ "mail": 1 })).await?;
    tasks.submit(&mail, &json!({ "mail": 2 })).await?;
    assert_eq!(tasks.poll(&mail).await?, 2);
    assert_eq!(take(&tasks, &mail).await?, Some(json!({ "mail": 1 })));
    assert_eq!(take(&tasks, &mail).await?, Some(json!({ "mail": 2 })));
    assert_eq!(take(&tasks, &mail).await?, None);
    assert_eq!(tasks.poll(&mail).await?, 0);
    end(&context, tasks, &[&mail]).await
}

async fn r2_f48_a_queue_that_does_not_exist_has_no_tasks_and_is_not_created(context: Context) -> Result {
    let (tasks, missing) = tasks(&context).await?;
    // More than once: each time the broker closes a channel.
    for _ in 0..3 {
        assert_eq!(tasks.poll(&missing).await?, 0);
        assert!(tasks.get(&missing).await?.is_none());
        assert!(tasks.clone().no_ack().get(&missing).await?.is_none());
    }
    assert!(context.node().queue(&missing)?.is_none());
    Ok(tasks.close().await?)
}

async fn r3_f48_two_queues_used_in_turns_never_mix(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    let post = name(&context, "others");
    for number in 0..5 {
        tasks.submit(&mail, &json!({ "mail": number })).await?;
        tasks.submit(&post, &json!({ "post": number })).await?;
    }
    for number in 0..5 {
        assert_eq!(take(&tasks, &post).await?, Some(json!({ "post": number })));
        assert_eq!(take(&tasks, &mail).await?, Some(json!({ "mail": number })));
    }
    assert_eq!((take(&tasks, &mail).await?, take(&tasks, &post).await?), (None, None));
    end(&context, tasks, &[&mail, &post]).await
}

async fn r4_f48_a_bad_name_is_an_error_in_these_words(context: Context) -> Result {
    let (tasks, _) = tasks(&context).await?;
    let errors = [
        tasks.submit("BADNAME", &json!({})).await.unwrap_err(),
        tasks.get("BADNAME").await.unwrap_err(),
        tasks.poll("BADNAME").await.unwrap_err(),
        tasks.work("BADNAME", Work::default(), async |_: Task| ()).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error.kind(), ErrorKind::TaskQueueName(name) if name == "BADNAME"), "{error:?}");
        assert_eq!(error.to_string(), r#""BADNAME" is not a properly-formatted queue name"#);
    }
    Ok(tasks.close().await?)
}

async fn r5_f48_a_name_is_of_lowercase_letters_digits_and_single_underscores(context: Context) -> Result {
    let (tasks, _) = tasks(&context).await?;
    let longest = "a".repeat(255);
    for good in ["fo", "a1", "a_b", &longest] {
        // Nobody has used it, and counting does not create it.
        assert_eq!(tasks.poll(good).await?, 0, "{good:?}");
    }
    let too_long = "a".repeat(256);
    for bad in ["f", "", "a__b", "ab_", "_ab", "1ab", "foo-bar", "foo.bar", "foo\n", &too_long] {
        let error = tasks.poll(bad).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TaskQueueName(name) if name == bad), "{bad:?}: {error}");
    }
    Ok(tasks.close().await?)
}

async fn r6_f48_another_client_sees_what_was_declared_and_published(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    tasks.submit(&mail, &json!({ "mail": [1, 2] })).await?;
    let node = context.node();
    let queue = node.queue(&mail)?.expect("the queue");
    assert!(queue.durable && !queue.exclusive && !queue.auto_delete, "{queue:?}");
    let exchanges = node.list_exchanges()?;
    let exchange = exchanges.iter().find(|exchange| exchange.name == mail).expect("the exchange");
    assert!(exchange.durable && !exchange.auto_delete && exchange.kind == "direct", "{exchange:?}");
    let bindings = node.list_bindings()?;
    assert!(bindings.iter().any(|binding| binding.source == mail
        && binding.destination == mail
        && binding.destination_kind == "queue"
        && binding.routing_key == mail));
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let message = channel.get(Get::new(&mail).no_ack()).await?.expect("the message");
    let properties = message.properties()?;
    assert_eq!(properties.delivery_mode, Some(2));
    assert_eq!(properties.content_type.expect("a content type").as_bytes(), b"application/json");
    assert_eq!(message.body(), r#"{"mail":[1,2]}"#);
    assert_eq!((message.exchange(), message.routing_key()), (mail.as_str(), mail.as_str()));

    // And what it puts there is a task.
    channel.publish(&mail, &mail, "{}").await?;
    await_queue(node, &mail, "a task", |queue| queue.ready == 1);
    assert_eq!(take(&tasks, &mail).await?, Some(json!({})));
    channel.publish(&mail, &mail, Message::new("[1]")).await?;
    await_queue(node, &mail, "a task", |queue| queue.ready == 1);
    let task = tasks.get(&mail).await?.expect("a task");
    let error = task.payload().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Codec(CodecError::Decode { .. })), "{error}");
    task.reject()?;
    connection.close().await?;
    end(&context, tasks, &[&mail]).await
}

async fn r7_f48_a_payload_is_an_object_and_nothing_is_an_empty_one(context: Context) -> Result {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Mail {
        to: String,
    }

    let (tasks, mail) = tasks(&context).await?;
    tasks.submit(&mail, &json!({})).await?;
    tasks.submit(&mail, &()).await?;
    tasks.submit(&mail, &None::<Mail>).await?;
    for _ in 0..3 {
        assert_eq!(take(&tasks, &mail).await?, Some(json!({})));
    }
    let payload = Mail { to: "alice".to_owned() };
    tasks.submit(&mail, &payload).await?;
    let task = tasks.get(&mail).await?.expect("a task");
    assert_eq!(task.json::<Mail>()?, payload);
    task.done()?;
    for (payload, expected) in
        [(json!([1]), "a list"), (json!("text"), "a text"), (json!(17), "a number"), (json!(true), "a truth value")]
    {
        let error = tasks.submit(&mail, &payload).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TaskPayload { found } if *found == expected), "{error}");
    }
    let keys = std::collections::BTreeMap::from([(vec![1], 1)]);
    let error = tasks.submit(&mail, &keys).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Codec(CodecError::Encode { .. })), "{error}");
    assert_eq!(tasks.poll(&mail).await?, 0);
    end(&context, tasks, &[&mail]).await
}

async fn r8_f48_a_host_that_does_not_exist_fails_at_once_in_these_words(_: Context) -> Result {
    let made = timeout(SOON, task_queue("amqp://doesntexist.invalid")).await;
    let error = made.map_err(|_| "it takes too long").unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TaskQueueConnect(_)), "{error:?}");
    let text = error.to_string();
    let (first, cause) = text.split_once('\n').expect("two lines");
    assert_eq!(first, "Failed to connect to the AMQP server:");
    assert!(cause.starts_with("    ") && cause.trim().contains("doesntexist"), "{text}");
    Ok(())
}

async fn r9_r10_f48_an_unknown_scheme_is_shown_without_the_password(context: Context) -> Result {
    let error = task_queue("http://alice:secret@localhost/tasks").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Uri(_)), "{error:?}");
    assert!(error.to_string().contains("http://alice:***@localhost/tasks"), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    let wrong = task_queue(config(&context).credentials("alice", "secret")).await.unwrap_err();
    assert!(!format!("{wrong} {wrong:?}").contains("secret"), "{wrong:?}");
    let (tasks, _) = tasks(&context).await?;
    assert!(!format!("{tasks:?}").contains("guest"), "{tasks:?}");
    Ok(tasks.close().await?)
}

async fn r11_f48_a_worker_drains_a_queue_and_counts(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    // There is no such queue yet.
    assert_eq!(tasks.work(&mail, Work::default().stop_when_empty(), async |_: Task| ()).await?, 0);
    for number in 0..20 {
        tasks.submit(&mail, &json!({ "number": number })).await?;
    }
    let mut seen = Vec::new();
    let count = tasks
        .work(&mail, Work::default().stop_when_empty(), |task: Task| {
            seen.push(task.payload().unwrap()["number"].as_u64().unwrap());
            async {}
        })
        .await?;
    assert_eq!(count, 20);
    assert!(seen.iter().copied().eq(0..20), "{seen:?}");
    assert_eq!(tasks.poll(&mail).await?, 0);
    // So many and no more.
    for _ in 0..3 {
        tasks.submit(&mail, &()).await?;
    }
    assert_eq!(tasks.work(&mail, Work::default().max_tasks(2), async |_: Task| ()).await?, 2);
    await_queue(context.node(), &mail, "one to be left", |queue| queue.ready == 1);
    end(&context, tasks, &[&mail]).await
}

async fn r11_f48_a_task_that_fails_stops_no_worker_and_one_that_is_put_back_is_seen_again(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    for number in 0..6 {
        tasks.submit(&mail, &json!({ "number": number })).await?;
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let work = Work::default().stop_when_empty().on_panic(OnError::RequeueOnce);
    let count = tasks
        .work(&mail, work, {
            let seen = Arc::clone(&seen);
            move |task: Task| {
                let seen = Arc::clone(&seen);
                async move {
                    let number = task.payload().unwrap()["number"].as_u64().unwrap();
                    seen.lock().unwrap().push((number, task.redelivered()));
                    match (number, task.redelivered()) {
                        (1, _) => return Err("it fails"),
                        (2, false) => return Ok(Settlement::Requeue),
                        (3, false) => task.requeue().map_err(|_| "it is open")?,
                        // As a panic does, but without a word on the terminal.
                        (4, false) => resume_unwind(Box::new("as it should")),
                        _ => {}
                    }
                    Ok(Settlement::Ack)
                }
            }
        })
        .await?;
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort_unstable();
    let expected =
        [(0, false), (1, false), (2, false), (2, true), (3, false), (3, true), (4, false), (4, true), (5, false)];
    assert_eq!(seen, expected);
    assert_eq!(count, 9);
    await_queue(context.node(), &mail, "nothing to be left", |queue| queue.messages == 0);
    end(&context, tasks, &[&mail]).await
}

async fn r11_f48_a_worker_keeps_to_its_rate(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    for _ in 0..7 {
        tasks.submit(&mail, &()).await?;
    }
    let (before, period) = (Instant::now(), Duration::from_millis(200));
    let work = Work::default().stop_when_empty().rate(3, period);
    assert_eq!(tasks.work(&mail, work, async |_: Task| ()).await?, 7);
    // The fourth begins a period after the first, the seventh a period after the fourth.
    assert!(before.elapsed() >= 2 * period, "{:?}", before.elapsed());
    end(&context, tasks, &[&mail]).await
}

async fn r11_f48_a_worker_waits_for_tasks_and_outlives_its_connection_and_its_queue(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    let seen = Arc::new(Mutex::new(0));
    let working = spawn({
        let (tasks, mail, seen) = (tasks.clone(), mail.clone(), Arc::clone(&seen));
        async move {
            let handler = move |_: Task| {
                *seen.lock().unwrap() += 1;
                async {}
            };
            tasks.work(&mail, Work::default(), handler).await
        }
    });
    let others = task_queue(context.uri()).await?;
    for (number, meanwhile) in ["nothing", "connection", "queue", "nothing"].into_iter().enumerate() {
        await_queue(context.node(), &mail, "the worker", |queue| queue.consumers == 1);
        others.submit(&mail, &()).await?;
        wait::until_true(SOON, "it is handled", || *seen.lock().unwrap() == number + 1)?;
        await_queue(context.node(), &mail, "it is done", |queue| queue.messages == 0);
        match meanwhile {
            "connection" => {
                context.node().close_connections(context.case(), "for a test")?;
                await_queue(context.node(), &mail, "no worker, or another", |_| true);
            }
            "queue" => context.node().delete_queue(&mail)?,
            _ => {}
        }
        // The queue is there again when the worker is.
        wait::until_true(SOON, "the queue", || context.node().queue(&mail).is_ok_and(|queue| queue.is_some()))?;
    }
    tasks.close().await?;
    assert_eq!(working.await?, 4);
    end(&context, others, &[&mail]).await
}

async fn f48_a_task_is_leased_until_it_is_settled(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    for number in 0..3 {
        tasks.submit(&mail, &json!({ "number": number })).await?;
    }
    let (one, two) = (tasks.get(&mail).await?.expect("a task"), tasks.get(&mail).await?.expect("a task"));
    assert_eq!(tasks.poll(&mail).await?, 1);
    // What closes a channel elsewhere does not end a lease.
    assert_eq!(tasks.poll(name(&context, "missing")).await?, 0);
    drop(one);
    await_queue(context.node(), &mail, "it to come back", |queue| (queue.ready, queue.unacknowledged) == (2, 1));
    let again = tasks.get(&mail).await?.expect("a task");
    assert_eq!((again.payload()?["number"].as_u64(), again.redelivered()), (Some(0), true));
    again.done()?;
    two.requeue()?;
    let two = tasks.get(&mail).await?;
    let two = match two {
        Some(task) if task.payload()?["number"] == 1 => task,
        other => panic!("{other:?}"),
    };
    two.reject()?;
    assert_eq!(take(&tasks, &mail).await?, Some(json!({ "number": 2 })));
    await_queue(context.node(), &mail, "nothing to be left", |queue| queue.messages == 0);
    // A lease ends with its connection.
    tasks.submit(&mail, &()).await?;
    let leased = tasks.get(&mail).await?.expect("a task");
    tasks.close().await?;
    await_queue(context.node(), &mail, "it to come back", |queue| queue.ready == 1);
    assert!(leased.done().is_err());
    let error = tasks.poll(&mail).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::PoolClosed), "{error}");
    end(&context, task_queue(config(&context)).await?, &[&mail]).await
}

async fn f48_without_acks_a_task_is_settled_when_it_is_taken_out(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    tasks.submit(&mail, &json!({ "mail": 1 })).await?;
    let task = tasks.clone().no_ack().get(&mail).await?.expect("a task");
    await_queue(context.node(), &mail, "nothing to be left", |queue| queue.messages == 0);
    assert_eq!(task.payload()?["mail"], 1);
    drop(task);
    tasks.submit(&mail, &()).await?;
    assert_eq!(
        tasks.clone().no_ack().work(&mail, Work::default().max_tasks(1), async |_: Task| Err::<(), _>(())).await?,
        1
    );
    await_queue(context.node(), &mail, "nothing to be left", |queue| queue.messages == 0);
    end(&context, tasks, &[&mail]).await
}

async fn f48_a_task_queue_outlives_its_connection_and_what_it_has_declared(context: Context) -> Result {
    let (tasks, mail) = tasks(&context).await?;
    tasks.submit(&mail, &json!({ "mail": 1 })).await?;
    wait::until_true(SOON, "the connection is listed", || {
        context.node().close_connections(context.case(), "for a test").is_ok_and(|closed| closed == 1)
    })?;
    // Until this side has heard of it calls fail; then they are made on a new connection.
    let mut failed = 0;
    while let Err(error) = tasks.poll(&mail).await {
        assert!(error.is_retryable() || error.close_reason().is_some(), "{error}");
        failed += 1;
        assert!(failed < 100, "{error}");
    }
    assert_eq!(take(&tasks, &mail).await?, Some(json!({ "mail": 1 })));
    // The queue, and then the exchange, go behind its back.
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    tasks.submit(&mail, &json!({ "mail": 2 })).await?;
    channel.queue_delete(&mail).await?;
    tasks.submit(&mail, &json!({ "mail": 3 })).await?;
    assert_eq!(take(&tasks, &mail).await?, Some(json!({ "mail": 3 })));
    channel.exchange_delete(&mail).await?;
    tasks.submit(&mail, &json!({ "mail": 4 })).await?;
    assert_eq!(take(&tasks, &mail).await?, Some(json!({ "mail": 4 })));
    connection.close().await?;
    end(&context, tasks, &[&mail]).await
}
