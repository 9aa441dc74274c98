// amqplib talks to the broker whose URI is the first argument: what it is told is what RabbitMQ tells.

'use strict';

const assert = require('node:assert/strict');
const { createRequire } = require('node:module');

// It stands where scripts/clients has put it.
const amqp = createRequire(`${process.cwd()}/`)('amqplib');

const QUEUE = 'js.queue';

async function topology(channel) {
  await channel.assertExchange('js.events', 'direct', { durable: true });
  const declared = await channel.assertQueue(QUEUE, { durable: true, maxLength: 100 });
  assert.deepEqual(declared, { queue: QUEUE, messageCount: 0, consumerCount: 0 });
  await channel.bindQueue(QUEUE, 'js.events', 'key');
  await channel.checkQueue(QUEUE);
  const named = await channel.assertQueue('', { exclusive: true });
  assert.match(named.queue, /^amq\.gen-/);
}

async function publishAndConfirm(channel) {
  const returned = new Promise((resolve) => channel.once('return', resolve));
  for (let number = 0; number < 20; number += 1) {
    channel.publish('js.events', 'key', Buffer.from(`${number}`), { persistent: true, headers: { number } });
  }
  channel.publish('js.events', 'nowhere', Buffer.from('lost'), { mandatory: true });
  await channel.waitForConfirms();
  const message = await returned;
  assert.equal(message.fields.replyCode, 312);
  assert.equal(message.fields.replyText, 'NO_ROUTE');
  assert.equal(message.content.toString(), 'lost');
  assert.equal((await channel.checkQueue(QUEUE)).messageCount, 20);
}

async function get(channel) {
  const message = await channel.get(QUEUE);
  assert.equal(message.content.toString(), '0');
  assert.equal(message.properties.headers.number, 0);
  assert.equal(message.fields.messageCount, 19);
  channel.nack(message);
  const again = await channel.get(QUEUE);
  assert.equal(again.content.toString(), '0');
  assert.equal(again.fields.redelivered, true);
  channel.ack(again);
}

async function consume(channel) {
  await channel.prefetch(4);
  const seen = [];
  await new Promise((resolve, reject) => {
    channel
      .consume(QUEUE, (message) => {
        seen.push(message.content.toString());
        channel.ack(message);
        if (seen.length === 19) resolve();
      }, { consumerTag: 'js' })
      .catch(reject);
  });
  assert.deepEqual(seen, Array.from({ length: 19 }, (_, index) => `${index + 1}`));
  await channel.cancel('js');
  const left = await channel.checkQueue(QUEUE);
  assert.deepEqual([left.messageCount, left.consumerCount], [0, 0]);
  assert.equal(await channel.get(QUEUE), false);
}

async function refusal(connection, action) {
  const channel = await connection.createChannel();
  const told = new Promise((resolve) => channel.once('error', resolve));
  await assert.rejects(action(channel));
  return told;
}

async function errors(connection) {
  const missing = await refusal(connection, (channel) => channel.checkQueue('js.missing'));
  assert.equal(missing.code, 404);
  assert.match(missing.message, /NOT_FOUND - no queue 'js.missing' in vhost '\/'/);
  const different = await refusal(connection, (channel) => channel.assertQueue(QUEUE, { durable: true, maxLength: 5 }));
  assert.equal(different.code, 406);
  const text = "inequivalent arg 'x-max-length' for queue 'js.queue' in vhost '/': received '5' but current is '100'";
  assert.ok(different.message.includes(text), different.message);
  const exchange = await refusal(connection, (channel) => channel.bindQueue(QUEUE, 'js.nowhere', 'key'));
  assert.match(exchange.message, /no exchange 'js.nowhere' in vhost '\/'/);
}

async function wrongVirtualHost(uri) {
  const elsewhere = new URL(uri);
  elsewhere.pathname = '/js.nowhere';
  await assert.rejects(amqp.connect(elsewhere.href), /got <ConnectionClose channel:0>/);
}

async function main(uri) {
  const connection = await amqp.connect(uri);
  const channel = await connection.createConfirmChannel();
  await topology(channel);
  await publishAndConfirm(channel);
  await get(channel);
  await consume(channel);
  await errors(connection);
  await channel.deleteQueue(QUEUE);
  await channel.deleteExchange('js.events');
  await connection.close();
  await wrongVirtualHost(uri);
}

setTimeout(() => {
  console.error('it hangs');
  process.exit(1);
}, 60_000).unref();
main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
