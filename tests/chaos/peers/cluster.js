// Node's own cluster as a careful operator would write it, with the answers
// of `handoff serve`.
//
//   node cluster.js ADDRESS PORT WORKERS
//
// A worker that ends is replaced at once. HUP is a rolling reload: a new
// worker listens before an old one goes, and so it is if TERM is sent to one.
// TERM to the primary is the graceful end of all.
'use strict';

const cluster = require('node:cluster');
const { once } = require('node:events');
const http = require('node:http');

const [host, port, workers] = process.argv.slice(2);

function lead() {
  const current = new Set(); // those that are to be there
  const fork = () => {
    const worker = cluster.fork();
    current.add(worker);
    return worker;
  };
  const replace = (worker) => {
    if (current.delete(worker)) fork();
  };
  cluster.on('disconnect', replace);
  cluster.on('exit', replace);

  // The channel may be at its end; then it has left already.
  const dismiss = (worker) => worker.send('leave', () => {});
  const relieve = async (old) => {
    const next = fork();
    await Promise.race([once(next, 'listening'), once(next, 'exit')]);
    if (current.delete(old)) dismiss(old);
  };
  cluster.on('message', relieve); // a worker says so that it was sent TERM

  const renew = async () => {
    for (const old of [...current]) await relieve(old);
  };
  let reload = Promise.resolve();
  let waiting = false;
  process.on('SIGHUP', () => {
    if (waiting) return; // the one that waits will do for this one too
    waiting = true;
    reload = reload.then(() => {
      waiting = false;
      return renew();
    });
  });

  process.on('SIGTERM', () => {
    current.clear();
    Object.values(cluster.workers).forEach(dismiss);
  });

  for (let number = 0; number < workers; number++) fork();
}

function work() {
  let leaving = false;
  const server = http.createServer((request, response) => {
    const [path, query = ''] = request.url.split('?');
    const answer = (text) => {
      if (leaving) response.setHeader('Connection', 'close');
      response.end(text);
    };
    const sleep = /^\/sleep\/(\d+)$/.exec(path);
    if (sleep) setTimeout(answer, Number(sleep[1]), query);
    else if (path === '/echo') answer(query);
    else if (path === '/worker') answer(`{"pid": ${process.pid}}`);
    else response.writeHead(404).end();
  });
  server.listen({ host, port: Number(port) });

  process.on('SIGTERM', () => process.send('relieve me', () => {}));
  // Idle connections are closed, each other one with its next answer; then
  // the channel is, and the process ends by itself.
  process.on('message', () => {
    leaving = true;
    cluster.worker.disconnect();
    server.closeIdleConnections(); // Node 18 would leave them open
  });
}

if (cluster.isPrimary) lead();
else work();
