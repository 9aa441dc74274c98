//! Each typed argument has the name and the value that brokers know.

use std::time::{Duration, SystemTime};

use amqp_proto::table;
use amqp_proto::wire::{FieldTable, FieldValue};
use proptest::prelude::*;

use super::{
    Arguments, Consume, DeadLetterStrategy, Exchange, LeaderLocator, Overflow, Queue, QueueMode, StreamOffset,
};

#[track_caller]
fn are(arguments: &Arguments, expected: &FieldTable) {
    assert_eq!(arguments.get().unwrap(), expected.as_ref());
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn f23_the_arguments_of_queues_have_their_names_and_values() {
    let queue = |set: fn(Queue) -> Queue| set(Queue::new("q")).arguments;
    are(&queue(|q| q), &table! {});
    are(&Queue::classic("q").arguments, &table! { "x-queue-type" => "classic" });
    are(&Queue::quorum("q").arguments, &table! { "x-queue-type" => "quorum" });
    are(&Queue::stream("q").arguments, &table! { "x-queue-type" => "stream" });
    are(&queue(|q| q.ttl(MINUTE)), &table! { "x-message-ttl" => 60_000_i64 });
    are(&queue(|q| q.expires(MINUTE)), &table! { "x-expires" => 60_000_i64 });
    are(&queue(|q| q.max_length(7)), &table! { "x-max-length" => 7_i64 });
    are(&queue(|q| q.max_length_bytes(7)), &table! { "x-max-length-bytes" => 7_i64 });
    are(&queue(|q| q.overflow(Overflow::DropHead)), &table! { "x-overflow" => "drop-head" });
    are(&queue(|q| q.overflow(Overflow::RejectPublish)), &table! { "x-overflow" => "reject-publish" });
    are(&queue(|q| q.overflow(Overflow::RejectPublishDlx)), &table! { "x-overflow" => "reject-publish-dlx" });
    are(&queue(|q| q.dead_letter_exchange("d")), &table! { "x-dead-letter-exchange" => "d" });
    are(&queue(|q| q.dead_letter_routing_key("d")), &table! { "x-dead-letter-routing-key" => "d" });
    let strategy = |strategy| Queue::new("q").dead_letter_strategy(strategy).arguments;
    are(&strategy(DeadLetterStrategy::AtLeastOnce), &table! { "x-dead-letter-strategy" => "at-least-once" });
    are(&strategy(DeadLetterStrategy::AtMostOnce), &table! { "x-dead-letter-strategy" => "at-most-once" });
    are(&queue(Queue::single_active_consumer), &table! { "x-single-active-consumer" => true });
    are(&queue(|q| q.max_priority(9)), &table! { "x-max-priority" => 9_i64 });
    are(&queue(|q| q.delivery_limit(5)), &table! { "x-delivery-limit" => 5_i64 });
    are(&queue(|q| q.initial_group_size(3)), &table! { "x-quorum-initial-group-size" => 3_i64 });
    are(&queue(|q| q.target_group_size(5)), &table! { "x-quorum-target-group-size" => 5_i64 });
    are(&queue(|q| q.initial_cluster_size(3)), &table! { "x-initial-cluster-size" => 3_i64 });
    are(&queue(|q| q.max_age(MINUTE)), &table! { "x-max-age" => "60s" });
    are(&queue(|q| q.stream_max_segment_size(9)), &table! { "x-stream-max-segment-size-bytes" => 9_i64 });
    are(&queue(|q| q.stream_filter_size(32)), &table! { "x-stream-filter-size-bytes" => 32_i64 });
    are(&queue(|q| q.queue_version(2)), &table! { "x-queue-version" => 2_i64 });
    are(&queue(|q| q.queue_mode(QueueMode::Lazy)), &table! { "x-queue-mode" => "lazy" });
    are(&queue(|q| q.queue_mode(QueueMode::Default)), &table! { "x-queue-mode" => "default" });
    are(&queue(|q| q.consumer_timeout(MINUTE)), &table! { "x-consumer-timeout" => 60_000_i64 });
    let locator = |locator| Queue::new("q").leader_locator(locator).arguments;
    are(&locator(LeaderLocator::ClientLocal), &table! { "x-queue-leader-locator" => "client-local" });
    are(&locator(LeaderLocator::Balanced), &table! { "x-queue-leader-locator" => "balanced" });
    are(&queue(|q| q.argument("x-mine", 1)), &table! { "x-mine" => 1 });
    // The last one counts.
    are(
        &queue(|q| q.max_length(7).ttl(MINUTE).max_length(8)),
        &table! {
            "x-max-length" => 8_i64,
            "x-message-ttl" => 60_000_i64,
        },
    );
}

#[test]
fn f23_the_arguments_of_exchanges_and_consumers_have_their_names_and_values() {
    are(&Exchange::direct("e").alternate_exchange("other").arguments, &table! { "alternate-exchange" => "other" });
    are(&Consume::new("q").priority(-3).arguments, &table! { "x-priority" => -3_i32 });
}

#[test]
fn f40_the_arguments_of_stream_consumers_have_their_names_and_values() {
    let offset = |offset| Consume::new("q").stream_offset(offset).arguments;
    are(&offset(StreamOffset::First), &table! { "x-stream-offset" => "first" });
    are(&offset(StreamOffset::Last), &table! { "x-stream-offset" => "last" });
    are(&offset(StreamOffset::Next), &table! { "x-stream-offset" => "next" });
    are(&offset(StreamOffset::Offset(17)), &table! { "x-stream-offset" => 17_i64 });
    let time = SystemTime::UNIX_EPOCH + MINUTE;
    are(&offset(StreamOffset::Timestamp(time)), &table! { "x-stream-offset" => FieldValue::Timestamp(60) });
    let before = SystemTime::UNIX_EPOCH - MINUTE;
    are(&offset(StreamOffset::Timestamp(before)), &table! { "x-stream-offset" => FieldValue::Timestamp(0) });
    are(&offset(StreamOffset::interval("7D")), &table! { "x-stream-offset" => "7D" });
    are(&offset(StreamOffset::ago(MINUTE)), &table! { "x-stream-offset" => "60s" });
    let filtered = Consume::new("q").stream_filter("a").stream_filter("b").stream_match_unfiltered();
    are(
        &filtered.arguments,
        &table! {
            "x-stream-filter" => vec![FieldValue::from("a"), FieldValue::from("b")],
            "x-stream-match-unfiltered" => true,
        },
    );
}

proptest! {
    /// Whatever is asked for, a number is one, and never negative.
    #[test]
    fn f23_numbers_that_no_broker_can_count_become_the_largest_there_is(count: u64, millis: u64) {
        let largest = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let queue = Queue::new("q").max_length(count).ttl(Duration::from_millis(millis)).argument("x", "y");
        are(&queue.arguments, &table! {
            "x-max-length" => largest(count),
            "x-message-ttl" => largest(millis),
            "x" => "y",
        });
        are(&Consume::new("q").stream_offset(StreamOffset::Offset(count)).arguments, &table! {
            "x-stream-offset" => largest(count),
        });
    }
}
