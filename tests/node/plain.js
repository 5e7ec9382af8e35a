// The one-liner of every tutorial.
require('http').createServer((_, response) => response.end(`${process.pid}`)).listen(0);
