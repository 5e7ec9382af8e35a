// Answers datagrams, beside a server that says when it is there.
'use strict';

const dgram = require('node:dgram');
const { listen } = require('./site.js');

const socket = dgram.createSocket('udp4');
socket.on('message', (message, from) => {
  socket.send(`got ${message}`, from.port, from.address);
});
socket.bind(0, '127.0.0.1', () => {
  console.error(`udp ${socket.address().port}`);
  listen({ port: 0 });
});
