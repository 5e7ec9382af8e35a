// Comes again and again with its first session, until two workers have
// resumed it.
'use strict';

const tls = require('node:tls');

const port = Number(process.argv[2]);
const resumed = new Set();

function come(session, left) {
  if (left === 0) return console.log(`resumed on ${resumed.size} workers`);
  // The older version, whose ticket may be used more than once.
  const socket = tls.connect({
    port, session, host: '127.0.0.1', rejectUnauthorized: false,
    maxVersion: 'TLSv1.2',
  });
  let text = '';
  let again = false;
  socket.on('secureConnect', () => { again = socket.isSessionReused(); });
  socket.write('GET /worker HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  socket.on('data', (part) => { text += part; });
  socket.on('error', (error) => console.log(String(error)));
  socket.on('close', () => {
    if (again) resumed.add(/"pid":(\d+)/.exec(text)[1]);
    const enough = resumed.size === 2;
    setTimeout(come, 20, session ?? mine, enough ? 0 : left - 1);
  });
  let mine;
  socket.on('session', (ticket) => { mine ??= ticket; });
}
come(undefined, 100);
