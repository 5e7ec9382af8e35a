// Node's own primary with WORKERS workers that run app.js. Its policy is in
// NODE_CLUSTER_SCHED_POLICY: rr or none.
'use strict'

const cluster = require('node:cluster')
const path = require('node:path')

cluster.setupPrimary({ exec: path.join(__dirname, 'app.js') })
for (let worker = 0; worker < Number(process.env.WORKERS); worker++) {
  cluster.fork()
}
