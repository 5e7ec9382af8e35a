// A Node worker beside Rust workers.
'use strict';

const http = require('http');

http.createServer((request, response) => {
  response.end(JSON.stringify({ pid: process.pid }));
}).listen(0, '127.0.0.1');
