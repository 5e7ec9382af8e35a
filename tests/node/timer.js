// Works off a queue, say: it listens nowhere.
'use strict';

setInterval(() => {}, 1000);
