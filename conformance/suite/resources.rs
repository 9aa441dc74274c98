//! What channels and connections cost, and that they cost nothing once they are gone. Each case measures a process of its
//! own, by what Linux says of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

use conformance::suite::Subject;
use conformance::{Context, cases, wait};

use crate::facade::{Channel, Connection, ErrorKind, Heartbeat, Queue, THREADS_PER_CONNECTION, connect, spawn};
use crate::suite::support::{Result, SOON, config, open};

cases! {
    c18_f20_p28_ten_thousand_channels_come_and_go_and_leave_nothing_behind (alone) within 300,
    c18_f20_p28_two_thousand_channels_are_open_at_once_and_their_numbers_come_back (alone) within 300,
    p29_p30_two_hundred_connections_cost_little_and_leave_nothing_behind (alone) within 300,
    p16_p18_an_idle_connection_costs_next_to_nothing_while_its_thread_sleeps (alone),
}

/// What this process has at present.
#[derive(Debug, Clone, Copy)]
struct Usage {
    /// Memory that it has been given, in KiB.
    memory: usize,
    threads: usize,
    /// Open files, sockets among them.
    files: usize,
}

impl Usage {
    fn now() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("Linux says it");
            line.trim_end_matches("kB").trim().parse().expect("a number")
        };
        let files = fs::read_dir("/proc/self/fd")?.count();
        Ok(Self { memory: number("VmRSS:"), threads: number("Threads:"), files })
    }

    /// How much more memory than before, in bytes.
    fn memory_since(self, before: Self) -> usize {
        self.memory.saturating_sub(before.memory) * 1024
    }
}

/// What the stacks of this process's threads have been given of memory, in bytes: as deep as each has ever been.
fn stacks() -> Result<usize> {
    /// Of a thread that did not ask for another, in KiB; with or without the page that guards it.
    const SIZES: [usize; 2] = [2048, 2044];
    let mut sum = 0;
    let mut is_stack = false;
    for line in BufReader::new(fs::File::open("/proc/self/smaps")?).lines() {
        let line = line?;
        let number = |text: &str| text.trim_end_matches("kB").trim().parse::<usize>();
        if let Some(size) = line.strip_prefix("Size:") {
            is_stack = SIZES.contains(&number(size)?);
        } else if let Some(size) = line.strip_prefix("Rss:").filter(|_| is_stack) {
            sum += number(size)? * 1024;
        }
    }
    Ok(sum)
}

/// Channels that the broker has open for the case.
fn await_channels(node: &Subject, name: &str, count: usize) -> Result {
    let what = format!("{count} channels at the broker");
    Ok(wait::until_true(SOON, &what, || {
        node.list_channels()
            .is_ok_and(|all| all.iter().filter(|channel| channel.connection_name == name).count() == count)
    })?)
}

async fn open_and_close(connection: &Connection, tasks: usize, times: usize) -> Result {
    let mut running = Vec::new();
    for _ in 0..tasks {
        let connection = connection.clone();
        running.push(spawn(async move {
            for _ in 0..times {
                connection.channel().await?.close().await?;
            }
            Ok::<_, crate::facade::Error>(())
        }));
    }
    for task in running {
        task.await?;
    }
    Ok(())
}

async fn c18_f20_p28_ten_thousand_channels_come_and_go_and_leave_nothing_behind(context: Context) -> Result {
    const TASKS: usize = 8;
    let connection = open(&context).await?;
    open_and_close(&connection, TASKS, 100).await?;
    let before = Usage::now()?;
    open_and_close(&connection, TASKS, 10_000 / TASKS).await?;
    let grown = Usage::now()?.memory_since(before);
    // Less than 64 bytes each: no channel has left anything, and what an allocator does by the way has room.
    assert!(grown < 640_000, "{grown} bytes more than before");
    await_channels(context.node(), context.case(), 0)?;
    // Numbers come back soon after the broker's answer, so that few are in use at a time.
    let _channel = connection.channel().await?;
    let numbers: Vec<u64> = context.node().list_channels()?.iter().map(|channel| channel.number).collect();
    assert!(numbers.len() == 1 && numbers[0] <= 8 * TASKS as u64, "{numbers:?}");
    Ok(connection.close().await?)
}

async fn open_many(connection: &Connection, count: usize) -> Result<Vec<Channel>> {
    const TASKS: usize = 8;
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let connection = connection.clone();
        tasks.push(spawn(async move {
            let mut channels = Vec::new();
            for _ in 0..count / TASKS {
                channels.push(connection.channel().await?);
            }
            Ok::<_, crate::facade::Error>(channels)
        }));
    }
    let mut channels = Vec::new();
    for task in tasks {
        channels.extend(task.await?);
    }
    Ok(channels)
}

async fn c18_f20_p28_two_thousand_channels_are_open_at_once_and_their_numbers_come_back(context: Context) -> Result {
    const CHANNELS: usize = 2000;
    // A broker that is busy takes its time to close so many.
    let connection = connect(config(&context).close_timeout(SOON)).await?;
    let most = usize::from(connection.tuning().channel_max);
    open_many(&connection, 16).await?;
    let before = Usage::now()?;

    let mut channels = open_many(&connection, CHANNELS).await?;
    assert_eq!(channels.len(), CHANNELS);
    let grown = Usage::now()?.memory_since(before);
    assert!(grown < CHANNELS * 4096, "{grown} bytes for {CHANNELS} channels");
    await_channels(context.node(), context.case(), CHANNELS)?;
    // The first and the last, and every number up to the limit.
    while channels.len() < most {
        channels.push(connection.channel().await?);
    }
    for channel in [&channels[0], &channels[CHANNELS - 1], &channels[most - 1]] {
        channel.queue_declare(Queue::server_named()).await?;
    }
    let error = connection.channel().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::ChannelsExhausted { channel_max } if usize::from(*channel_max) == most),
        "{error}"
    );

    let full = Usage::now()?;
    for _ in 0..2 {
        for channel in channels.drain(..) {
            channel.close().await?;
        }
        await_channels(context.node(), context.case(), 0)?;
        channels = open_many(&connection, CHANNELS).await?;
    }
    let grown = Usage::now()?.memory_since(full);
    assert!(grown < CHANNELS * 256, "{grown} bytes more than when there were as many before");
    Ok(connection.close().await?)
}

async fn p29_p30_two_hundred_connections_cost_little_and_leave_nothing_behind(context: Context) -> Result {
    const CONNECTIONS: usize = 200;
    // What is needed once is there: threads of a runtime, buffers of a resolver.
    let first = open(&context).await?;
    first.channel().await?;
    let (before, stacks_before) = (Usage::now()?, stacks()?);
    let mut most = None;
    for round in 0..4 {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let connection = open(&context).await?;
            connection.channel().await?.close().await?;
            connections.push(connection);
        }
        assert_eq!(context.node().connections_named(context.case())?.len(), CONNECTIONS + 1);
        let now = Usage::now()?;
        // What it holds is much the same in all runtimes: about 30 KB. A thread has a stack besides, so far as it was used:
        // about 12 KB of it if it was optimized, and without that, as here, 110.
        let in_stacks = stacks()?.saturating_sub(stacks_before);
        let held = now.memory_since(before).saturating_sub(in_stacks) / CONNECTIONS;
        assert!(held < 64 * 1024, "{held} bytes for a connection in round {round}");
        let most_in_stacks = CONNECTIONS * THREADS_PER_CONNECTION * 160 * 1024 + (1 << 20);
        assert!(
            in_stacks < most_in_stacks,
            "{in_stacks} bytes of stacks for {CONNECTIONS} connections in round {round}"
        );
        assert!(now.threads <= before.threads + CONNECTIONS * THREADS_PER_CONNECTION + 8, "{now:?} {before:?}");
        // The allocator finds its pattern in the first round; what grows from then on is a leak.
        if round > 0 {
            let limit = *most.get_or_insert(now.memory) + CONNECTIONS * 4;
            assert!(now.memory < limit, "{now:?}: more than {limit} KiB, in round {round}");
        }

        // Half of them by a word, half by nothing but being dropped.
        for connection in connections.drain(..CONNECTIONS / 2) {
            connection.close().await?;
        }
        drop(connections);
        wait::until_true(SOON, "the connections to go at the broker", || {
            context.node().connections_named(context.case()).is_ok_and(|all| all.len() == 1)
        })?;
        wait::until_true(SOON, "their threads and sockets to go here", || {
            Usage::now().is_ok_and(|now| now.threads <= before.threads + 8 && now.files <= before.files + 4)
        })?;
    }
    Ok(first.close().await?)
}

/// The time that this process has kept a core busy.
fn busy() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").expect("the program's name in parentheses");
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // There are a hundred in a second, whatever the machine (USER_HZ).
    Ok(Duration::from_millis(ticks * 10))
}

async fn p16_p18_an_idle_connection_costs_next_to_nothing_while_its_thread_sleeps(context: Context) -> Result {
    let connection = connect(config(&context).heartbeat(Heartbeat::seconds(1))).await?;
    let before = busy()?;
    // More than three intervals, of which two would do for the broker to give a silent client up.
    thread::sleep(Duration::from_millis(3500));
    let spent = busy()? - before;
    assert!(connection.is_open());
    assert_eq!(context.node().connections_named(context.case())?.len(), 1);
    assert!(spent < Duration::from_millis(350), "{spent:?} of work in 3.5 s of nothing to do");
    connection.channel().await?;
    Ok(connection.close().await?)
}
