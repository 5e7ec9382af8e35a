// The usual app over TLS; key and certificate are in the folder given.
'use strict';

const fs = require('node:fs');
const https = require('node:https');
const { join } = require('node:path');
const { answer } = require('./site.js');

const folder = process.argv[2];
const key = fs.readFileSync(join(folder, 'key'));
const cert = fs.readFileSync(join(folder, 'cert'));
https.createServer({ key, cert }, answer).listen(0);
