// What most tests run: it answers as handoff's own workers do, and does to
// itself what the path says.
//
//   node site.js [{port, host, path, …}, …]    what to listen on, as JSON
'use strict';

const cluster = require('node:cluster');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');

const channel = Number(process.env.NODE_CHANNEL_FD ?? 3);
const heard = [];
process.on('message', (message) => heard.push(message));

const deeds = {
  exit: (code) => process.exit(Number(code)),
  throw: () => setImmediate(() => { throw new Error('on purpose'); }),
  hangup: () => process.disconnect(),
  leave: () => cluster.worker.disconnect(),
  kill: () => cluster.worker.kill(),
  spin: () => setTimeout(() => { for (;;); }, 50),
  // What is sent to it while there is that file is never read, but it lives
  // on.
  deafen: (file) => setTimeout(() => {
    const path = decodeURIComponent(file);
    fs.writeFileSync(path, '');
    while (fs.existsSync(path));
    fs.closeSync(channel);
    setInterval(() => {}, 1000);
  }, 50),
  send: (text) => process.send(JSON.parse(decodeURIComponent(text))),
  big: (size) => process.send('x'.repeat(Number(size))),
  surrogate: () => process.send('half \ud83d of one'),
  garbage: () => fs.writeSync(channel, 'no json at all\n'),
  flood: (bytes) => {
    const part = Buffer.alloc(1 << 20, 'x');
    const write = (left) => {
      if (left <= 0) return;
      try {
        left -= fs.writeSync(channel, part);
      } catch (error) {
        if (error.code !== 'EAGAIN') return;
      }
      setImmediate(write, left);
    };
    write(Number(bytes));
  },
  close: () => server.close(),
  relisten: () => server.close(() => server.listen(server.asked)),
  reopen: () => server.close(
    () => setTimeout(() => server.listen(server.asked), 300)),
  // Where it was, whatever was asked for.
  resume: () => {
    const { address: host, port } = server.address();
    server.close(() => server.listen({ host, port }));
  },
};

function answer(request, response) {
  const [path, query = ''] = request.url.split('?');
  const [, verb, word] = path.split('/');
  if (verb === 'echo' && request.method === 'POST') {
    const body = [];
    request.on('data', (part) => body.push(part));
    request.on('end', () => response.end(Buffer.concat(body)));
  } else if (verb === 'echo') {
    response.end(query);
  } else if (verb === 'sleep') {
    setTimeout(() => response.end(query), Number(word));
  } else if (verb === 'worker') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({
      pid: process.pid,
      id: cluster.worker?.id,
      index: process.env.HANDOFF_WORKER_INDEX,
      heard,
      names: Object.keys(process.env),
    }));
  } else if (verb === 'gift') {
    response.end('given');
    const socket = net.connect(server.address().port, '127.0.0.1', () => {
      process.send({ gift: true }, socket);
    });
  } else if (deeds[verb]) {
    response.end('done');
    response.on('finish', () => deeds[verb](word));
  } else {
    response.end('hello\n');
  }
}

function listen(asked, options = {}) {
  const server = http.createServer(answer);
  Object.assign(server, options, { asked });
  server.on('error', (error) => console.error(`error ${error.code}`));
  return server.listen(asked);
}

module.exports = { answer, listen };

let server;
if (require.main === module) {
  const asked = process.argv[2] ? JSON.parse(process.argv[2]) : [{ port: 0 }];
  for (const one of asked) {
    const it = listen(one, one.options);
    server ??= it;
  }
}
