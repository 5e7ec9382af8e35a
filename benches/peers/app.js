// An application for Node as it comes; PORT is where it listens. It knows
// nothing of a cluster, and is the same under Node's own and under handoff.
'use strict'

const http = require('node:http')

const body = Buffer.from('Hello, World!')

http.createServer((request, response) => {
  const found = request.url === '/plaintext'
  response.writeHead(found ? 200 : 404, {
    'Content-Type': 'text/plain',
    'Content-Length': found ? body.length : 0,
  })
  response.end(found ? body : undefined)
}).listen({
  port: Number(process.env.PORT),
  host: '127.0.0.1',
  backlog: 4096,
  // A worker that has it accepts by itself, whoever its primary is.
  reusePort: process.env.REUSE_PORT === '1',
})
