// A cluster's primary: KINDS is a list of `rust` (the program in the
// environment, with these words) and `node` (app.js).
//
//   node primary.js rr|none KINDS [WORD…]
'use strict';

const cluster = require('cluster');
const path = require('path');
const control = require('./control.js');

const [policy, kinds, ...words] = process.argv.slice(2);
cluster.schedulingPolicy =
  policy === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR;

const node = process.execPath;
const fork = (kind) => {
  if (kind === 'node') {
    cluster.setupPrimary({ exec: path.join(__dirname, 'app.js'), args: [] });
  } else {
    cluster.setupPrimary({ exec: words[0], args: words.slice(1) });
    // A cluster takes no other program than its own.
    process.execPath = process.env.HANDOFF;
  }
  const worker = cluster.fork();
  process.execPath = node;
  return worker;
};

const exits = {};
let onExit = () => {};
cluster.on('exit', (worker, code, signal) => {
  const { exitedAfterDisconnect } = worker;
  exits[worker.id] = { code, signal, meant: exitedAfterDisconnect };
  onExit();
});
const whenExited = (finish, id) => {
  onExit = () => exits[id] && finish(exits[id]);
  onExit();
};

const commands = {
  disconnect: (finish, id) => {
    cluster.workers[id].disconnect();
    whenExited(finish, id);
  },
  kill: (finish, id) => {
    cluster.workers[id].kill();
    whenExited(finish, id);
  },
  exit: whenExited,
};

// All ask for port 0 of one address, so they share what the first one gets.
const waiting = kinds.split(',');
const places = new Set();
const next = () => {
  const worker = fork(waiting.shift());
  let left = words.filter((word) => word === '--listen').length || 1;
  worker.on('listening', ({ address, port: real, addressType }) => {
    places.add(addressType === -1 ? `unix:${address}` :
      addressType === 6 ? `http://[${address}]:${real}` :
        `http://${address}:${real}`);
    if (--left > 0) return;
    if (waiting.length > 0) return next();
    control(commands, (where) => {
      console.error(`listening on ${[...places].join(' ')}, ${where}`);
    });
  });
};
next();
