// Is whatever stands in the file that it is given.
'use strict';

const fs = require('node:fs');
const { listen } = require('./site.js');

new Function('listen', fs.readFileSync(process.argv[2], 'utf8'))(listen);
