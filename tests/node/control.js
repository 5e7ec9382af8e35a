// A second server, over which a test tells this process what to do: the path
// is a command's name, the query its argument, the body its result.
'use strict';

const http = require('http');

module.exports = (commands, ready) => {
  const server = http.createServer((request, response) => {
    const [name, argument] = request.url.slice(1).split('?');
    const finish = (result) => response.end(JSON.stringify(result ?? null));
    commands[name](finish, argument);
  });
  server.listen(0, '127.0.0.1', () => {
    ready(`control at http://127.0.0.1:${server.address().port}`);
  });
};
