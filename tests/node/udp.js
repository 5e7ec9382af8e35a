// Answers datagrams, beside a server that says when it is there.
//
//   node udp.js [hoard]    hoard: first without a descriptor to spare
'use strict';

const dgram = require('node:dgram');
const fs = require('node:fs');
const { listen } = require('./site.js');

function bind(then) {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (message, from) => {
    socket.send(`got ${message}`, from.port, from.address);
  });
  socket.on('error', then);
  socket.bind(0, '127.0.0.1', () => {
    console.error(`udp ${socket.address().port}`);
    then();
  });
}

if (process.argv[2] !== 'hoard') {
  bind(() => listen({ port: 0 }));
} else {
  listen({ port: 0 }).on('listening', () => {
    const hoard = [];
    try {
      for (;;) hoard.push(fs.openSync('/dev/null'));
    } catch {
      // All are taken.
    }
    bind((error) => {
      hoard.forEach((fd) => fs.closeSync(fd));
      console.error(`error ${error?.code}, again`);
      bind(() => {});
    });
  });
}
