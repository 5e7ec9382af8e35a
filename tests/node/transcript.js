// Prints what an app's worker hears from its master, whoever that is.
//
//   node transcript.js [leave]    leave: the worker goes by itself
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');
const net = require('node:net');

function primary() {
  const worker = cluster.fork();
  worker.on('message', ({ port }) => {
    if (process.argv[2] === 'leave') return;
    visit(port, () => worker.disconnect());
  });
}

function visit(port, then) {
  http.get({ port, host: '127.0.0.1', agent: false }, (response) => {
    response.resume().on('end', then);
  });
}

// What differs by design: who counts, and what a server is called.
function told(message) {
  const { seq, key, ...rest } = message;
  rest.numbered = typeof seq;
  rest.named = typeof key;
  if (rest.ack !== undefined) rest.ack = typeof rest.ack;
  if (rest.sockname) rest.sockname = { ...rest.sockname, port: 'port' };
  return JSON.stringify(rest, Object.keys(rest).concat(
    ['address', 'family', 'port']).sort());
}

function worker() {
  const say = (line) => process.stderr.write(`HEARD ${line}\n`);
  process.on('internalMessage', (message, handle) => {
    if (message.cmd === 'NODE_HANDLE') return;
    say(`${told(message)}${handle ? ' and a handle' : ''}`);
  });
  process.on('disconnect', () => say('the end'));
  const server = http.createServer((request, response) => response.end('a'));
  // A path in use, an address that is not here, then what works.
  net.createServer().on('error', ({ code }) => {
    say(code);
    server.listen({ port: 0, host: '127.0.0.1' }, () => {
      const { port } = server.address();
      process.send({ port });
      if (process.argv[2] === 'leave') {
        visit(port, () => cluster.worker.disconnect());
      }
    });
  }).listen({ port: 9, host: '192.0.2.1' });
}

if (cluster.isPrimary) primary(); else worker();
