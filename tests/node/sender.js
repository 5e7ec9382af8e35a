// A Node process that listens and sends what comes to a child: HOW is
// `socket` (each connection), `spawn` (the same, the child not being forked),
// `native` (its handle), `server` (the listener).
//
//   node sender.js HOW COMMAND [WORD…]
'use strict';

const { fork, spawn } = require('child_process');
const net = require('net');
const control = require('./control.js');

const [how, ...words] = process.argv.slice(2);
// The channel of one that is spawned need not be descriptor 3.
const child = how === 'spawn' ? spawn(process.env.HANDOFF, words, {
  stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'pipe', 'ipc'],
}) : fork(words[0], words.slice(1), { execPath: process.env.HANDOFF });
let exited;
let onExit = () => {};
child.on('exit', (code, signal) => {
  exited = { code, signal };
  onExit();
});
const whenExited = (finish) => {
  onExit = () => finish(exited);
  if (exited) onExit();
};

// An application's message that no JSON scanner has to like.
child.send('\ud800');

const server = net.createServer({ pauseOnConnect: true }, (socket) => {
  if (how === 'native') {
    child.send('a handle', socket._handle, () => socket.destroy());
  } else {
    child.send({ a: 'socket' }, socket);
  }
});

server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  control({
    count: (finish) => server.getConnections((error, count) => {
      finish(error ? String(error) : count);
    }),
    close: (finish) => server.close((error) => finish(String(error))),
    disconnect: (finish) => {
      child.disconnect();
      whenExited(finish);
    },
    terminate: (finish) => {
      child.kill();
      whenExited(finish);
    },
    exit: whenExited,
  }, (where) => {
    const ready = () => {
      console.error(`listening on http://127.0.0.1:${port}, ${where}`);
    };
    if (how !== 'server') return ready();
    // From here on only the child accepts.
    child.send('a server', server, () => server.close(ready));
  });
});
