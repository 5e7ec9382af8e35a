// Is whatever stands in the file that it is given.
'use strict';

const fs = require('node:fs');
const { listen } = require('./site.js');

const source = fs.readFileSync(process.argv[2], 'utf8');
new Function('listen', 'require', source)(listen, require);
