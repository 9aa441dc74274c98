#!/usr/bin/env bash
# The tools of rabbitmq-c talk to the broker whose URI is the first argument: what they are told is what RabbitMQ tells.
set -euo pipefail
uri=$1
queue=tools.queue

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# expect WANTED GOT
expect() {
  [[ $2 == "$1" ]] || fail "expected $1, got $2"
}

# refused TEXT COMMAND...
refused() {
  local text=$1 said
  shift
  if said=$("$@" 2>&1); then fail "not refused: $*"; fi
  [[ $said == *"$text"* ]] || fail "expected $text, got $said"
}

expect $queue "$(amqp-declare-queue --url="$uri" --durable --queue=$queue)"
generated=$(amqp-declare-queue --url="$uri" --queue='')
[[ $generated == amq.gen-* ]] || fail "the broker chose the name $generated"

amqp-publish --url="$uri" --routing-key=$queue --persistent --content-type=text/plain --body='one'
printf '%s\n' two three | amqp-publish --url="$uri" --routing-key=$queue --line-buffered
expect one "$(amqp-get --url="$uri" --queue=$queue)"
# What its lines are, and that they are acked: what is left afterwards.
expect $'two\nthree' "$(amqp-consume --url="$uri" --queue=$queue --count=2 --prefetch-count=1 cat)"
if amqp-get --url="$uri" --queue=$queue >/dev/null; then fail "something is left"; fi

amqp-publish --url="$uri" --routing-key=$queue --body='deleted'
expect 1 "$(amqp-delete-queue --url="$uri" --queue=$queue)"
expect 0 "$(amqp-delete-queue --url="$uri" --queue="$generated")"
refused "NOT_FOUND - no queue '$queue' in vhost '/'" amqp-get --url="$uri" --queue=$queue
refused "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'" \
  amqp-declare-queue --url="$uri" --queue=amq.mine
refused ACCESS_REFUSED amqp-declare-queue --url="${uri/guest:guest/guest:wrong}" --queue=$queue
