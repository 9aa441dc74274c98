//! What the other cases take for granted of each adapter's facade.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use conformance::{Context, cases};

use crate::facade::{sleep, spawn, timeout};

cases! {
    a_spawned_task_runs_while_the_case_blocks,
    a_task_gives_its_result,
    sleep_takes_its_time,
    timeout_tells_what_took_too_long,
}

async fn a_spawned_task_runs_while_the_case_blocks(_: Context) {
    let (sender, receiver) = mpsc::channel();
    let task = spawn(async move {
        sleep(Duration::from_millis(1)).await;
        sender.send("done").unwrap();
    });
    assert_eq!(receiver.recv().unwrap(), "done");
    task.await;
}

async fn a_task_gives_its_result(_: Context) {
    let tasks = [1, 2, 3].map(|number| spawn(async move { number * number }));
    let mut sum = 0;
    for task in tasks {
        sum += task.await;
    }
    assert_eq!(sum, 14);
}

async fn sleep_takes_its_time(_: Context) {
    let start = Instant::now();
    sleep(Duration::from_millis(20)).await;
    assert!(start.elapsed() >= Duration::from_millis(20));
}

async fn timeout_tells_what_took_too_long(_: Context) {
    assert_eq!(timeout(Duration::from_secs(30), async { 7 }).await.unwrap(), 7);
    assert!(timeout(Duration::from_millis(1), sleep(Duration::from_secs(1))).await.is_err());
}
