// Node's own cluster as a careful operator would write it, with the answers
// of `handoff serve`.
//
//   node cluster.js ADDRESS PORT WORKERS
//
// A worker that ends, or says that it will, is replaced at once. HUP is a
// rolling reload: a new worker listens before an old one goes. TERM is a
// graceful end, of one worker or of all.
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

  const renew = async () => {
    for (const old of [...current]) {
      const next = fork();
      await Promise.race([once(next, 'listening'), once(next, 'exit')]);
      if (current.delete(old)) old.disconnect();
    }
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
    cluster.disconnect();
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

  process.on('SIGTERM', () => cluster.worker.disconnect());
  // No connection comes any more: those that are there are answered, those
  // that are idle closed.
  process.on('disconnect', () => {
    leaving = true;
    server.close();
    server.closeIdleConnections();
  });
}

if (cluster.isPrimary) lead();
else work();
